"""How a profile breaks down the time of a run."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any

import pytest
import swarmstate
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from langgraph.graph import START, MessagesState, StateGraph
from swarmstate import Store
from typing_extensions import TypedDict

from tests.profiling.graphs import NAP, SlowStore, anap, built, by_name, call, nap, work


@pytest.mark.parametrize("is_async", [False, True])
def test_the_rows_add_up_to_the_time_of_the_run(is_async: bool) -> None:
    graph = built(SwarmStateSaver(), one=anap if is_async else nap, two=lambda state: {})
    call(graph, is_async)
    with swarmstate.profile() as profile:
        started = time.perf_counter()
        call(graph, is_async)
        elapsed = time.perf_counter() - started
    rows = by_name(profile)
    assert list(rows) == [
        "framework",
        "node one",
        "node two",
        "encode",
        "decode",
        "store I/O",
        "waiting",
    ]
    assert profile.runs == 1
    assert NAP < profile.seconds <= elapsed
    assert profile.seconds == pytest.approx(sum(row.seconds for row in profile.rows()))
    assert rows["node one"].calls == rows["node two"].calls == 1
    assert NAP <= rows["node one"].seconds <= profile.seconds
    assert rows["framework"].seconds > 0 < rows["encode"].seconds


@pytest.mark.parametrize("is_async", [False, True])
def test_a_slow_store_is_named(is_async: bool) -> None:
    store = SlowStore(Store())
    graph = built(SwarmStateSaver(store), one=lambda state: {})
    call(graph, is_async)
    store.seconds = NAP
    with swarmstate.profile() as profile:
        # With "sync", each checkpoint is waited for.
        call(graph, is_async, durability="sync")
    rows = by_name(profile)
    trips = rows["store I/O"].calls
    assert trips >= 3
    assert rows["store I/O"].busy >= trips * NAP
    # A read and at least two checkpoints, in sequence.
    assert rows["store I/O"].seconds >= 3 * NAP


@pytest.mark.parametrize("is_async", [False, True])
def test_what_goes_on_beside_a_node_takes_no_time_but_was_busy(is_async: bool) -> None:
    store = SlowStore(Store())

    def long_nap(state: Any) -> None:
        time.sleep(10 * NAP)

    async def long_anap(state: Any) -> None:
        await asyncio.sleep(10 * NAP)

    graph = built(SwarmStateSaver(store), one=long_anap if is_async else long_nap)
    call(graph, is_async)
    store.seconds = NAP
    with swarmstate.profile() as profile:
        call(graph, is_async)
    rows = by_name(profile)
    # The checkpoint of the input is written while the node runs.
    assert rows["store I/O"].busy - rows["store I/O"].seconds >= NAP / 2
    assert rows["node one"].seconds >= 10 * NAP


class SlowSerializer(JsonPlusSerializer):
    """A serializer that works for a while on a conversation."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        if isinstance(obj, list) and obj:
            work(NAP)
        return super().dumps_typed(obj)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        found = super().loads_typed(data)
        if isinstance(found, list) and found:
            work(2 * NAP)
        return found


@pytest.mark.parametrize("is_async", [False, True])
def test_encoding_and_decoding_are_told_apart(is_async: bool) -> None:
    saver = SwarmStateSaver(serde=SlowSerializer())
    graph = built(saver, one=lambda state: {"messages": [("ai", "Hello")]})
    with swarmstate.profile() as profile:
        call(graph, is_async)
        rows = by_name(profile)
        assert rows["encode"].busy >= NAP
        call(graph, is_async)
    rows = by_name(profile)
    assert rows["decode"].seconds >= 2 * NAP
    assert rows["decode"].calls == 2


@pytest.mark.parametrize("is_async", [False, True])
def test_nodes_at_once_share_the_time(is_async: bool) -> None:
    builder = StateGraph(MessagesState)
    for name in ("left", "right"):
        builder.add_node(name, anap if is_async else nap)
        builder.add_edge(START, name)
    graph = builder.compile()
    with swarmstate.profile() as profile:
        call(graph, is_async)
    rows = by_name(profile)
    both = rows["node left"].seconds + rows["node right"].seconds
    assert NAP <= both <= profile.seconds
    assert rows["node left"].busy >= NAP <= rows["node right"].busy
    assert rows["node left"].busy + rows["node right"].busy > both


@pytest.mark.parametrize("is_async", [False, True])
def test_nodes_of_subgraphs_are_part_of_their_node(is_async: bool) -> None:
    inner = built(None, deep=anap if is_async else nap)
    graph = built(SwarmStateSaver(), outer=inner)
    with swarmstate.profile() as profile:
        call(graph, is_async)
    rows = by_name(profile)
    assert rows["node outer / deep"].seconds >= NAP
    assert rows["node outer"].calls == rows["node outer / deep"].calls == 1


@pytest.mark.parametrize("is_async", [False, True])
def test_the_framework_works_or_waits(is_async: bool) -> None:
    def worked(left: int, right: int) -> int:
        work(NAP)
        return left + right

    def slept(left: int, right: int) -> int:
        time.sleep(NAP)
        return left + right

    for reducer, name in ((worked, "framework"), (slept, "waiting")):
        # Reducers run between nodes.
        builder = StateGraph(TypedDict("State", {"n": Annotated[int, reducer]}))  # type: ignore[operator]  # created here
        builder.add_node("one", lambda state: {"n": 1})
        builder.add_edge(START, "one")
        graph = builder.compile()
        with swarmstate.profile() as profile:
            asyncio.run(graph.ainvoke({"n": 1})) if is_async else graph.invoke({"n": 1})
        assert by_name(profile)[name].seconds >= NAP


def test_other_savers_and_other_runnables() -> None:
    with swarmstate.profile() as profile:
        RunnableLambda(lambda value: value).invoke(1)
        assert profile.runs == 0
        call(built(InMemorySaver(), one=nap), False)
    rows = by_name(profile)
    assert profile.runs == 1
    assert "encode" not in rows
    assert rows["node one"].seconds >= NAP

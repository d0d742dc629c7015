"""What accelerated runs store, when they store it, and what happens if storing fails."""

from __future__ import annotations

import concurrent.futures
import gc
import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import swarmstate
from langgraph.checkpoint.swarmstate import SwarmStateSaver, accelerate, deaccelerate
from langgraph.checkpoint.swarmstate.acceleration import saving
from langgraph.checkpoint.swarmstate.testing import graphs
from langgraph.graph import START, StateGraph
from langgraph.types import Command, Send
from swarmstate.errors import EncodeError, SwarmStateError
from swarmstate.observability import Summary

from tests.acceleration.runs import say

CONFIG: Any = {"configurable": {"thread_id": "t"}}


@pytest.fixture(autouse=True)
def _accelerated() -> Iterator[None]:
    with accelerate() as acceleration:
        assert "saving" in acceleration.applied
        yield


@pytest.fixture
def _unhelped(monkeypatch: pytest.MonkeyPatch) -> None:
    # Without helpers, only the end of the run writes.
    monkeypatch.setattr(saving._HELPERS, "submit", lambda help: None)


class CountingStore(swarmstate.Store):
    """Counts writes, and can be made to fail.

    Attributes:
        writes: The number of batches of each write.
        failing: Whether writes fail.
    """

    def __new__(cls) -> CountingStore:
        return super().__new__(cls)

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[int] = []
        self.failing = False

    def write(self, batches: Sequence[swarmstate.Batch]) -> None:
        self.writes.append(len(batches))
        if self.failing:
            raise SwarmStateError("the disk is full")
        super().write(batches)


def test_a_short_run_is_written_together() -> None:
    store = CountingStore()
    graph = graphs.agent(SwarmStateSaver(store))
    for turn in range(5):
        graph.invoke(say(f"question {turn}"), CONFIG)
    # Each turn stores 7 checkpoints and the writes of 6 tasks.
    assert sum(store.writes) >= 5 * 13
    assert len(store.writes) < 5 * 13 / 2


def test_with_sync_durability_each_superstep_is_stored_before_the_next() -> None:
    store = CountingStore()
    saver = SwarmStateSaver(store)
    seen: list[int | None] = []

    def count(state: Any) -> Any:
        found = saver.get_tuple(CONFIG)
        seen.append(found and found.checkpoint["channel_values"].get("n"))
        return {"n": state["n"] + 1}

    builder: Any = StateGraph(graphs.PlainState)
    builder.add_node("count", count)
    builder.add_edge(START, "count")
    builder.add_conditional_edges("count", lambda state: "count" if state["n"] < 4 else "__end__")
    builder.compile(checkpointer=saver).invoke({"n": 0}, CONFIG, durability="sync")
    assert seen == [0, 1, 2, 3]


def test_a_long_node_does_not_hold_back_what_came_before() -> None:
    saver = SwarmStateSaver()
    stored = threading.Event()

    def wait(state: Any) -> Any:
        while not stored.is_set():
            found = saver.get_tuple(CONFIG)
            if found and found.metadata["step"] == 0:
                stored.set()
        return {"n": 2}

    builder: Any = StateGraph(graphs.PlainState)
    builder.add_node("wait", wait)
    builder.add_edge(START, "wait")
    assert builder.compile(checkpointer=saver).invoke({"n": 1}, CONFIG)["n"] == 2


def test_a_task_that_outlasts_its_run_is_stored_when_the_run_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    has_given_up = threading.Event()
    wait = concurrent.futures.wait

    def noted(futures: Any, **options: Any) -> Any:
        # This is how LangGraph waits for unfinished tasks when a run ends.
        if not options:
            has_given_up.set()
        return wait(futures, **options)

    def outlast(state: Any) -> Any:
        has_given_up.wait()
        return {"n": 2}

    monkeypatch.setattr(concurrent.futures, "wait", noted)
    builder: Any = StateGraph(graphs.PlainState)
    builder.add_node("outlast", outlast)
    builder.add_edge(START, "outlast")
    graph = builder.compile(checkpointer=SwarmStateSaver())
    graph.step_timeout = 0.01
    with pytest.raises(TimeoutError):
        graph.invoke({"n": 1}, CONFIG)
    assert [task.result for task in graph.get_state(CONFIG).tasks] == [{"n": 2}]


def test_what_a_node_changes_in_place_does_not_change_earlier_checkpoints() -> None:
    saver = SwarmStateSaver()

    def change(state: Any) -> Any:
        state["log"].append("in place")
        return {"n": 2}

    builder: Any = StateGraph(graphs.PlainState)
    builder.add_node("change", change)
    builder.add_edge(START, "change")
    graph = builder.compile(checkpointer=saver)
    graph.invoke({"n": 1, "log": ["given"]}, CONFIG)
    logs = [state.values.get("log") for state in graph.get_state_history(CONFIG)]
    assert logs == [["given", "in place"], ["given"], []]


def test_a_value_that_cannot_be_stored_is_an_error_and_stores_nothing_of_it() -> None:
    saver = SwarmStateSaver()

    def bad(state: Any) -> Any:
        return {"log": [threading.Lock()]}

    builder: Any = StateGraph(graphs.PlainState)
    builder.add_node("before", lambda state: {"n": 2})
    builder.add_node("bad", bad)
    builder.add_node("after", lambda state: {"n": 3})
    builder.add_edge(START, "before")
    builder.add_edge("before", "bad")
    builder.add_edge("bad", "after")
    graph = builder.compile(checkpointer=saver)
    with pytest.raises(EncodeError, match="log"):
        graph.invoke({"n": 1, "log": []}, CONFIG)
    state = graph.get_state(CONFIG)
    assert (state.values, state.next) == ({"n": 2, "log": []}, ("bad",))


@pytest.mark.usefixtures("_unhelped")
@pytest.mark.parametrize("failing", [False, True])
def test_what_is_written_again_is_what_was_handed_over(failing: bool) -> None:
    class Store(CountingStore):
        def write(self, batches: Sequence[swarmstate.Batch]) -> None:
            try:
                super().write(batches)
            finally:
                self.failing = False

    def change(state: Any) -> Any:
        state["log"].append("in place")
        return {"n": 2}

    store = Store()
    store.failing = failing
    builder: Any = StateGraph(graphs.PlainState)
    builder.add_node("change", change)
    builder.add_edge(START, "change")
    graph = builder.compile(checkpointer=SwarmStateSaver(store))
    graph.invoke({"n": 1, "log": ["given"]}, CONFIG)
    logs = [state.values.get("log") for state in graph.get_state_history(CONFIG)]
    assert logs == [["given", "in place"], ["given"], []]
    assert (len(store.writes) > 1) is failing


@pytest.mark.usefixtures("_unhelped")
def test_a_checkpoint_is_as_it_was_where_the_one_before_must_be_looked_at() -> None:
    store = swarmstate.Store()
    # The thread has a field without a value, which a newly started saver does not know.
    graphs.once(SwarmStateSaver(store)).invoke({"log": ["given"], "once": "x"}, CONFIG)

    def change(state: Any) -> Any:
        state["log"].append("in place")

    builder: Any = StateGraph(graphs.PlainState)
    builder.add_node("change", change)
    builder.add_edge(START, "change")
    graph = builder.compile(checkpointer=SwarmStateSaver(store))
    graph.invoke({"n": 1}, CONFIG)
    logs = [state.values["log"] for state in graph.get_state_history(CONFIG, limit=3)]
    assert [len(log) for log in logs] == [5, 4, 4]


@pytest.mark.usefixtures("_unhelped")
def test_what_cannot_be_stored_does_not_change_earlier_checkpoints() -> None:
    def bad(state: Any) -> Any:
        state["log"].append(threading.Lock())
        return {"n": 2}

    builder: Any = StateGraph(graphs.PlainState)
    builder.add_node("bad", bad)
    builder.add_edge(START, "bad")
    graph = builder.compile(checkpointer=SwarmStateSaver())
    with pytest.raises(EncodeError, match="log"):
        graph.invoke({"n": 1, "log": ["given"]}, CONFIG)
    logs = [state.values.get("log") for state in graph.get_state_history(CONFIG)]
    assert logs == [["given"], []]


def test_a_store_that_fails_fails_the_run_and_the_thread_goes_on_later() -> None:
    store = CountingStore()
    graph = graphs.counter(SwarmStateSaver(store), 3)
    graph.invoke({"n": 0}, CONFIG)
    store.failing = True
    with pytest.raises(SwarmStateError, match="the disk is full"):
        graph.invoke({"n": 0}, CONFIG)
    store.failing = False
    assert graph.get_state(CONFIG).values["n"] == 3
    assert graph.invoke({"n": 3}, CONFIG)["log"] == [f"count {n}" for n in (1, 2, 3, 4, 5, 6)]
    states = [state.values.get("n") for state in graph.get_state_history(CONFIG)]
    assert states == [6, 5, 4, 3, 3, 3, 2, 1, 0, None]


def test_pruning_beside_a_run_loses_nothing() -> None:
    saver = SwarmStateSaver()
    graph = graphs.agent(saver)

    def prune() -> None:
        while not done.is_set():
            saver.prune(["t"])

    done = threading.Event()
    pruner = threading.Thread(target=prune)
    pruner.start()
    try:
        for turn in range(20):
            graph.invoke(say(f"question {turn} " + "x" * 3_000), CONFIG)
    finally:
        done.set()
        pruner.join()
    assert len(graph.get_state(CONFIG).values["messages"]) == 20 * 6


def test_writes_of_many_parallel_tasks_are_all_stored(tmp_path: Path) -> None:
    with SwarmStateSaver(tmp_path / "agents.db") as saver:
        graph = graphs.fan_out(saver, [], asks=frozenset({7}))
        graph.invoke({"items": list(range(60))}, CONFIG)
        found = saver.get_tuple(CONFIG)
        assert found is not None
        assert len({task for task, *_ in found.pending_writes or ()}) == 60
        answered = graph.invoke(Command(resume="seven"), CONFIG)
    assert answered["results"][7] == "7: seven"
    assert len(answered["results"]) == 60


def test_a_run_that_has_ended_leaves_nothing_to_the_collector() -> None:
    # Without a budget: otherwise the saver keeps what it recognizes until the next put.
    saver = SwarmStateSaver(memory_budget=0)
    graph = graphs.agent(saver)
    graph.invoke(say("before"), CONFIG)
    gc.collect()
    gc.disable()
    try:
        given = say("question " + "x" * 3_000)
        message = weakref.ref(given["messages"][0])
        graph.invoke(given, CONFIG)
        del given
        assert message() is None
    finally:
        gc.enable()


def test_a_forked_child_runs_graphs_too(tmp_path: Path) -> None:
    graph = graphs.agent(SwarmStateSaver())
    graph.invoke(say("before"), CONFIG)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            builder: Any = StateGraph(graphs.PlainState)
            builder.add_node("work", lambda state: {"n": state["n"] + 1})
            builder.add_edge(START, "work")
            graph = builder.compile(checkpointer=SwarmStateSaver(tmp_path / "child.db"))
            code = 0 if graph.invoke({"n": 1}, CONFIG)["n"] == 2 else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_undone_while_a_run_is_under_way() -> None:
    saver = SwarmStateSaver()

    def undo(state: Any) -> Any:
        deaccelerate()
        return {"n": 2}

    builder: Any = StateGraph(graphs.PlainState)
    builder.add_node("undo", undo)
    builder.add_node("after", lambda state: {"n": state["n"] + 1})
    builder.add_edge(START, "undo")
    builder.add_edge("undo", "after")
    graph = builder.compile(checkpointer=saver)
    assert graph.invoke({"n": 1}, CONFIG)["n"] == 3
    assert graph.get_state(CONFIG).values["n"] == 3


def test_a_saver_of_ones_own_is_asked_as_langgraph_asks_it() -> None:
    class Own(SwarmStateSaver):
        def put_writes(self, *args: Any, **options: Any) -> None:
            asked.append(args[2])
            super().put_writes(*args, **options)

    asked: list[str] = []
    graph = graphs.counter(Own(), 2)
    graph.invoke({"n": 0}, CONFIG)
    assert len(asked) == 3


def test_sends_keep_their_order(tmp_path: Path) -> None:
    builder: Any = StateGraph(graphs.PlainState)
    builder.add_node("one", lambda state: {"log": [state["log"][0]]})
    builder.add_conditional_edges(
        START, lambda state: [Send("one", {"log": [str(n)]}) for n in range(20)], ["one"]
    )
    graph = builder.compile(checkpointer=SwarmStateSaver())
    assert graph.invoke({"n": 1, "log": []}, CONFIG)["log"] == [str(n) for n in range(20)]


def test_a_measured_saver_is_measured() -> None:
    summary = Summary()
    graph = graphs.counter(SwarmStateSaver(metrics=summary), 2)
    graph.invoke({"n": 0}, CONFIG)
    counts = {operation: stats.calls for (_, operation), stats in summary.stats().items()}
    # The input and three supersteps, and the writes of the start and two nodes.
    assert (counts["checkpoint.put"], counts["checkpoint.put_writes"]) == (4, 3)


def test_a_profiled_saver_is_profiled() -> None:
    graph = graphs.counter(SwarmStateSaver(), 2)
    with swarmstate.profile() as profile:
        graph.invoke({"n": 0}, CONFIG)
    assert "encode" in {row.name for row in profile.rows()}

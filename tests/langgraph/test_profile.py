"""Where a profile says that the time of runs went, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any
from xml.etree import ElementTree

import pytest
import swarmstate
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from langgraph.config import get_stream_writer
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.pregel import Pregel, _runner
from swarmstate import BaseStore, Store
from swarmstate.layers import StoreLayer
from swarmstate.observability import Profile, ProfileRow, Summary
from typing_extensions import TypedDict

REPLACED = {
    (owner, name): each
    for owner in (SwarmStateSaver, Pregel, _runner)
    for name, each in vars(owner).items()
    if callable(each)
}
NAP = 0.02


class SlowStore(StoreLayer):
    """A store whose every round trip takes a while, in which nobody works."""

    def __init__(self, store: BaseStore) -> None:
        super().__init__(store)
        self.seconds = 0.0

    def read(self, queries: Any) -> Any:
        time.sleep(self.seconds)
        return super().read(queries)

    def write(self, batches: Any) -> None:
        time.sleep(self.seconds)
        super().write(batches)

    async def aread(self, queries: Any) -> Any:
        await asyncio.sleep(self.seconds)
        return await super().aread(queries)

    async def awrite(self, batches: Any) -> None:
        await asyncio.sleep(self.seconds)
        await super().awrite(batches)


def work(seconds: float) -> None:
    """Use the processor."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def nap(state: Any) -> None:
    time.sleep(NAP)


async def anap(state: Any) -> None:
    await asyncio.sleep(NAP)


def built(saver: BaseCheckpointSaver[Any] | None, **nodes: Any) -> Any:
    """A graph of nodes one after another."""
    builder = StateGraph(MessagesState)
    before = START
    for name, node in nodes.items():
        builder.add_node(name, node)
        builder.add_edge(before, name)
        before = name
    return builder.compile(checkpointer=saver)


def call(graph: Any, is_async: bool, thread: str = "1", **options: Any) -> Any:
    given = {"messages": [("user", "Hi")]}
    config = {"configurable": {"thread_id": thread}}
    if is_async:
        return asyncio.run(graph.ainvoke(given, config, **options))
    return graph.invoke(given, config, **options)


def by_name(profile: Profile) -> dict[str, ProfileRow]:
    return {row.name: row for row in profile.rows()}


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Any:
    yield
    assert {(owner, name): vars(owner)[name] for owner, name in REPLACED} == REPLACED


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
        # Each checkpoint is waited for.
        call(graph, is_async, durability="sync")
    rows = by_name(profile)
    trips = rows["store I/O"].calls
    assert trips >= 3
    assert rows["store I/O"].busy >= trips * NAP
    # A read and two or more checkpoints, one after another.
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
    """A serializer that takes a while for a conversation, and works."""

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
def test_the_framework_works_or_waits(is_async: bool) -> None:
    def worked(left: int, right: int) -> int:
        work(NAP)
        return left + right

    def slept(left: int, right: int) -> int:
        time.sleep(NAP)
        return left + right

    for reducer, name in ((worked, "framework"), (slept, "waiting")):
        # Reducers run between nodes.
        builder = StateGraph(TypedDict("State", {"n": Annotated[int, reducer]}))  # type: ignore[operator]  # made anew
        builder.add_node("one", lambda state: {"n": 1})
        builder.add_edge(START, "one")
        graph = builder.compile()
        with swarmstate.profile() as profile:
            asyncio.run(graph.ainvoke({"n": 1})) if is_async else graph.invoke({"n": 1})
        assert by_name(profile)[name].seconds >= NAP


def test_chunks_of_a_stream_may_be_fetched_by_several_threads() -> None:
    def worked(left: int, right: int) -> int:
        work(NAP)
        return left + right

    builder = StateGraph(TypedDict("State", {"n": Annotated[int, worked]}))  # type: ignore[operator]  # made anew
    builder.add_node("one", lambda state: {"n": 1})
    builder.add_edge(START, "one")
    graph = builder.compile()
    with swarmstate.profile() as profile:
        chunks = iter(graph.stream({"n": 1}, stream_mode="values"))
        fetched: list[Any] = [None]
        while fetched[-1] != "end":
            thread = threading.Thread(target=lambda: fetched.append(next(chunks, "end")))
            thread.start()
            thread.join()
    assert by_name(profile)["framework"].seconds >= NAP


@pytest.mark.parametrize("is_async", [False, True])
def test_what_is_done_with_chunks_is_no_part_of_a_run(is_async: bool) -> None:
    graph = built(SwarmStateSaver(), one=lambda state: {}, two=lambda state: {})
    given = {"messages": [("user", "Hi")]}
    config = {"configurable": {"thread_id": "1"}}
    seen: list[Any] = []

    def sync() -> None:
        for chunk in graph.stream(given, config):
            seen.append(chunk)
            time.sleep(NAP)
            assert swarmstate.observability.current_activity.get() is None

    async def main() -> None:
        async for chunk in graph.astream(given, config):
            seen.append(chunk)
            await asyncio.sleep(NAP)
            assert swarmstate.observability.current_activity.get() is None

    with swarmstate.profile() as profile:
        started = time.perf_counter()
        asyncio.run(main()) if is_async else sync()
        elapsed = time.perf_counter() - started
    assert len(seen) == 2
    assert 0 < profile.seconds <= elapsed - 2 * NAP


def test_a_stream_that_is_left_early_is_a_run() -> None:
    graph = built(SwarmStateSaver(), one=lambda state: {}, two=nap)
    with swarmstate.profile() as profile:
        for _ in graph.stream({"messages": [("user", "Hi")]}, {"configurable": {"thread_id": "1"}}):
            break
    assert profile.runs == 1
    assert "node two" not in by_name(profile)


def test_a_profile_may_be_left_in_another_context() -> None:
    async def profiled() -> AsyncIterator[Profile]:
        with swarmstate.profile() as profile:
            yield profile

    async def main() -> None:
        profiles = profiled()

        async def enter() -> Profile:
            return await anext(profiles)

        profile = await asyncio.create_task(enter())

        async def leave() -> None:
            with pytest.raises(StopAsyncIteration):
                await anext(profiles)

        await asyncio.create_task(leave())
        assert profile.runs == 0

    asyncio.run(main())


def test_what_others_replace_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    # Put back at the end, whatever happened.
    monkeypatch.setattr(Pregel, "invoke", original := Pregel.invoke)
    with swarmstate.profile():
        ours: Any = Pregel.invoke
        assert ours is not original

        def theirs(*args: Any, **options: Any) -> Any:
            return ours(*args, **options)

        setattr(Pregel, "invoke", theirs)  # noqa: B010  # mypy takes no assignment to a method
    found: Any = Pregel.invoke
    assert found is theirs


def test_who_closes_a_stream_closes_its_run() -> None:
    ended = []

    async def stops() -> None:
        async def one(state: Any) -> dict[str, Any]:
            get_stream_writer()("started")
            try:
                await asyncio.sleep(60)
            finally:
                ended.append("node")
            return {}

        graph = built(SwarmStateSaver(), one=one)
        config: Any = {"configurable": {"thread_id": "1"}}
        stream = graph.astream({"messages": [("user", "Hi")]}, config, stream_mode="custom")
        assert await anext(stream) == "started"
        await stream.aclose()
        ended.append("stream")

    with swarmstate.profile():
        asyncio.run(stops())
    assert ended == ["node", "stream"]


@pytest.mark.parametrize("is_async", [False, True])
def test_nodes_of_subgraphs_are_part_of_their_node(is_async: bool) -> None:
    inner = built(None, deep=anap if is_async else nap)
    graph = built(SwarmStateSaver(), outer=inner)
    with swarmstate.profile() as profile:
        call(graph, is_async)
    rows = by_name(profile)
    assert rows["node outer / deep"].seconds >= NAP
    assert rows["node outer"].calls == rows["node outer / deep"].calls == 1


def test_runs_of_many_threads_and_tasks() -> None:
    graph = built(SwarmStateSaver(), one=nap, two=anap)

    async def together() -> None:
        given = {"messages": [("user", "Hi")]}
        await asyncio.gather(
            *(graph.ainvoke(given, {"configurable": {"thread_id": str(n)}}) for n in range(5))
        )

    sync = built(SwarmStateSaver(), one=nap)
    with swarmstate.profile() as here, ThreadPoolExecutor(4) as pool:
        asyncio.run(together())
        list(pool.map(lambda n: call(sync, False, str(n)), range(4)))
    assert here.runs == 5
    assert by_name(here)["node one"].calls == by_name(here)["node two"].calls == 5
    with swarmstate.profile(everywhere=True) as everywhere, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: call(sync, False, str(n)), range(4)))
    assert everywhere.runs == 4
    assert by_name(everywhere)["encode"].calls >= 4 * 3
    call(sync, False)
    assert everywhere.runs == 4


def test_only_what_began_inside_is_profiled() -> None:
    inside, outside = threading.Event(), threading.Event()

    def wait(state: Any) -> None:
        inside.set()
        assert outside.wait(60)

    graph = built(SwarmStateSaver(), one=wait)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(call, graph, False)
        assert inside.wait(60)
        with swarmstate.profile(everywhere=True) as profile:
            outside.set()
            running.result()
    assert profile.runs == 0
    assert str(profile) == "no run has ended"
    ElementTree.fromstring(profile.to_svg())


def test_a_task_that_outlives_the_run_that_began_it_has_runs_of_its_own() -> None:
    graph = built(SwarmStateSaver(), inner=anap)
    requests: asyncio.Queue[asyncio.Future[None]] = asyncio.Queue()
    tasks = []

    async def serve() -> None:
        while True:
            request = await requests.get()
            await graph.ainvoke({"messages": []}, {"configurable": {"thread_id": "1"}})
            request.set_result(None)

    async def begin(state: Any) -> None:
        tasks.append(asyncio.create_task(serve()))

    async def ask() -> None:
        request = asyncio.get_running_loop().create_future()
        requests.put_nowait(request)
        await request

    async def main() -> tuple[Profile, Profile, list[ProfileRow]]:
        with swarmstate.profile(everywhere=True) as first:
            await built(None, outer=begin).ainvoke({"messages": []})
            await ask()
        before = first.rows()
        with swarmstate.profile(everywhere=True) as second:
            await ask()
            await ask()
        tasks[0].cancel()
        return first, second, before

    first, second, before = asyncio.run(main())
    assert first.runs == 2
    assert by_name(first)["node inner"].calls == 1
    assert second.runs == by_name(second)["node inner"].calls == 2
    # What goes on after a run is no part of it.
    assert first.rows() == before


def test_profiles_within_each_other_each_have_their_runs() -> None:
    graph = built(SwarmStateSaver(), one=nap)
    with swarmstate.profile() as outer:
        call(graph, False)
        with swarmstate.profile() as inner:
            call(graph, False)
        call(graph, False)
    assert (outer.runs, inner.runs) == (2, 1)


def test_a_profile_of_everything_ends_while_another_one_goes_on() -> None:
    graph = built(SwarmStateSaver(), one=nap)
    with swarmstate.profile() as here, ThreadPoolExecutor(1) as pool:
        with swarmstate.profile(everywhere=True) as everything:
            pool.submit(call, graph, False).result()
        pool.submit(call, graph, False).result()
    assert (here.runs, everything.runs) == (0, 1)


def test_a_saver_may_get_another_store_and_serializer_in_a_profile() -> None:
    class Counting(JsonPlusSerializer):
        count = 0

        def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
            self.count += 1
            return super().dumps_typed(obj)

    first, second, serde = Store(), Store(), Counting()
    saver = SwarmStateSaver(first)
    graph = built(saver, one=nap)
    with swarmstate.profile() as profile:
        call(graph, False)
        before = first.keys("langgraph:1")
        saver.store = second
        call(graph, False)
        assert second.namespaces("langgraph:") == ["langgraph:1"]
        assert first.keys("langgraph:1") == before
        saver.serde = serde
        call(graph, False)
    assert serde.count > 0
    assert profile.runs == 3


@pytest.mark.parametrize("is_async", [False, True])
def test_a_run_that_fails_is_told_and_fails(is_async: bool) -> None:
    def broken(state: Any) -> None:
        raise ZeroDivisionError

    graph = built(SwarmStateSaver(), one=nap, two=broken)
    with swarmstate.profile() as profile:
        with pytest.raises(ZeroDivisionError):
            call(graph, is_async)
        call(built(None, three=nap), is_async)
    rows = by_name(profile)
    assert profile.runs == 2
    assert rows["node two"].calls == rows["node three"].calls == 1


def test_other_savers_and_other_runnables() -> None:
    with swarmstate.profile() as profile:
        RunnableLambda(lambda value: value).invoke(1)
        assert profile.runs == 0
        call(built(InMemorySaver(), one=nap), False)
    rows = by_name(profile)
    assert profile.runs == 1
    assert "encode" not in rows
    assert rows["node one"].seconds >= NAP


def test_a_saver_that_is_asked_outside_of_runs_answers_as_ever() -> None:
    saver = SwarmStateSaver()
    graph = built(saver, one=lambda state: {})
    for number in range(3):
        call(graph, False, str(number))

    async def ask() -> list[Any]:
        thread: Any = {"configurable": {"thread_id": "1"}}
        return [
            saver.get_tuple(config=thread),
            await saver.aget_tuple(config=thread),
            list(saver.list(config=None, limit=4)),
            [each async for each in saver.alist(config=None, limit=4)],
            list(saver.history(config=thread)),
            [each async for each in saver.ahistory(config=thread)],
        ]

    with swarmstate.profile() as profile:
        found = asyncio.run(ask())
    assert found == asyncio.run(ask())
    assert len(found[2]) == 4
    assert profile.runs == 0


def test_a_measured_saver_is_profiled_and_goes_on_being_measured() -> None:
    def counted(profiled: bool) -> dict[tuple[str, str], tuple[int, int]]:
        summary = Summary()
        graph = built(SwarmStateSaver(metrics=summary), one=lambda state: {})
        if profiled:
            with swarmstate.profile() as profile:
                call(graph, False)
            assert by_name(profile)["encode"].calls >= 3
        else:
            call(graph, False)
        return {key: (each.calls, each.round_trips) for key, each in summary.stats().items()}

    assert counted(profiled=True) == counted(profiled=False)


def test_states_are_the_same_with_and_without(tmp_path: Path) -> None:
    saver = SwarmStateSaver(tmp_path / "agents.db")
    graph = built(saver, one=lambda state: {"messages": [("ai", "x" * 5000)]})
    for _ in range(3):
        call(graph, False, "plain")
        with swarmstate.profile():
            call(graph, False, "profiled")
        with swarmstate.profile():
            call(graph, True, "profiled")
        call(graph, True, "plain")

    def said(thread: str) -> list[list[str]]:
        history = graph.get_state_history({"configurable": {"thread_id": thread}})
        return [[each.content for each in state.values["messages"]] for state in history if state]

    assert said("plain") == said("profiled")
    assert saver.stats("plain").checkpoints == saver.stats("profiled").checkpoints
    saver.close()


def test_a_drawing_is_sound_whatever_nodes_are_called() -> None:
    graph = built(SwarmStateSaver(), **{"\x1bone\x00": nap})
    with swarmstate.profile() as profile:
        call(graph, False)
    drawing = ElementTree.fromstring(profile.to_svg())
    assert "node \ufffdone\ufffd: " in "".join(drawing.itertext())


def test_a_drawing_cuts_wide_names_to_the_room_they_have() -> None:
    wide = "\u5ba2" * 100
    graph = built(SwarmStateSaver(), **{wide: nap})
    with swarmstate.profile() as profile:
        call(graph, False)
    svg = "{http://www.w3.org/2000/svg}"
    [block] = [
        group
        for group in ElementTree.fromstring(profile.to_svg()).iter(f"{svg}g")
        if wide in str(group.findtext(f"{svg}title"))
    ]
    rect, label = block.find(f"{svg}rect"), str(block.findtext(f"{svg}text", ""))
    assert rect is not None
    # Such a letter is as wide as it is high: 12 pixels, or a little less.
    assert label.count("\u5ba2") * 11 <= float(rect.attrib["width"])


def test_the_table_and_the_drawing_tell_the_same() -> None:
    graph = built(SwarmStateSaver(), **{'<one> & "two"': nap})
    with swarmstate.profile() as profile:
        call(graph, False)
        call(graph, False)
    table = str(profile).splitlines()
    assert table[0] == f"2 runs, {profile.seconds / 2 * 1e3:.2f} ms each"
    assert [line.split("  ")[0] for line in table[2:]] == [row.name for row in profile.rows()]
    shares = [float(line.split("%")[0].split()[-1]) for line in table[2:]]
    assert sum(shares) == pytest.approx(100, abs=0.5)
    drawing = ElementTree.fromstring(profile.to_svg())
    assert profile._repr_html_() == profile.to_svg()
    svg = "{http://www.w3.org/2000/svg}"
    blocks = {
        str(group.findtext(f"{svg}title")).rpartition(": ")[0]: group.find(f"{svg}rect")
        for group in drawing.iter(f"{svg}g")
    }
    node = blocks['node <one> & "two"']
    assert node is not None
    share = by_name(profile)['node <one> & "two"'].seconds / profile.seconds
    assert float(node.attrib["width"]) == pytest.approx(940 * share, abs=0.1)
    assert {"framework", "checkpoint.put", "checkpoint.get", "encode", "store I/O"} <= set(blocks)


def test_nothing_is_drawn_below_itself() -> None:
    store = SlowStore(Store())
    graph = built(SwarmStateSaver(store), one=lambda state: {})
    store.seconds = NAP
    with swarmstate.profile() as profile:
        call(graph, False, durability="sync")
    drawing = ElementTree.fromstring(profile.to_svg())
    rows = {rect.get("y") for rect in drawing.iter("{http://www.w3.org/2000/svg}rect")}
    # The background, what the run consists of, and what a checkpointer's methods do.
    assert len(rows - {None}) == 2


@pytest.mark.parametrize(
    ("missing", "advice"),
    [
        ("langgraph.checkpoint", "pip install langgraph-checkpoint-swarmstate"),
        ("langgraph.pregel", "pip install langgraph"),
    ],
)
def test_what_is_missing_is_named(missing: str, advice: str) -> None:
    script = (
        f"import sys; sys.modules['{missing}'] = None\n"
        "import swarmstate\n"
        "try:\n"
        "    with swarmstate.profile(): pass\n"
        "except ModuleNotFoundError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.rstrip().endswith(f"run: {advice}")


def test_another_langgraph_is_refused_and_nothing_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patched:
        patched.delattr(_runner, "run_with_retry")
        with pytest.raises(RuntimeError, match="run_with_retry in the installed LangGraph"):
            swarmstate.profile().__enter__()

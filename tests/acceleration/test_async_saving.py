"""What accelerated async runs store, when they store it, and what happens if storing fails."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import pytest
import swarmstate
from langgraph.channels import Topic
from langgraph.checkpoint.swarmstate import SwarmStateSaver, accelerate, deaccelerate
from langgraph.checkpoint.swarmstate.testing import graphs
from langgraph.graph import START, StateGraph
from langgraph.types import Command
from swarmstate.errors import EncodeError, StoreClosedError, SwarmStateError
from swarmstate.observability import Summary
from typing_extensions import TypedDict

from tests.acceleration.runs import say

CONFIG: Any = {"configurable": {"thread_id": "t"}}


@pytest.fixture(autouse=True)
def _accelerated() -> Iterator[None]:
    with accelerate() as acceleration:
        assert "async_saving" in acceleration.applied
        yield


class SlowStore(swarmstate.Store):
    """Yields to other tasks while it writes, counts writes, and can be made to fail.

    Attributes:
        writes: The number of batches of each write.
        failing: Whether writes fail.
        gate: Writes wait until it is set, if there is one.
        reached: Set when a write waits.
    """

    def __new__(cls) -> SlowStore:
        return super().__new__(cls)

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[int] = []
        self.failing = False
        self.gate: asyncio.Event | None = None
        self.reached = asyncio.Event()

    async def awrite(self, batches: Sequence[swarmstate.Batch]) -> None:
        self.writes.append(len(batches))
        await asyncio.sleep(0)
        if self.gate is not None:
            self.reached.set()
            await self.gate.wait()
        if self.failing:
            raise SwarmStateError("the disk is full")
        await super().awrite(batches)


def worker(node: Any, saver: Any) -> Any:
    """Return a graph of one node."""
    builder: Any = StateGraph(graphs.PlainState)
    builder.add_node("work", node)
    builder.add_edge(START, "work")
    return builder.compile(checkpointer=saver)


def test_a_short_run_is_written_together() -> None:
    store = SlowStore()
    graph = graphs.agent(SwarmStateSaver(store))

    async def talk() -> None:
        for turn in range(5):
            await graph.ainvoke(say(f"question {turn}"), CONFIG)

    asyncio.run(talk())
    # Each turn stores 7 checkpoints and the writes of 6 tasks.
    assert sum(store.writes) >= 5 * 13
    assert len(store.writes) < 5 * 13 / 2


def test_with_sync_durability_each_superstep_is_stored_before_the_next() -> None:
    saver = SwarmStateSaver(SlowStore())
    seen: list[int | None] = []

    async def count(state: Any) -> Any:
        found = await saver.aget_tuple(CONFIG)
        seen.append(found and found.checkpoint["channel_values"].get("n"))
        return {"n": state["n"] + 1}

    builder: Any = StateGraph(graphs.PlainState)
    builder.add_node("count", count)
    builder.add_edge(START, "count")
    builder.add_conditional_edges("count", lambda state: "count" if state["n"] < 4 else "__end__")
    graph = builder.compile(checkpointer=saver)
    asyncio.run(graph.ainvoke({"n": 0}, CONFIG, durability="sync"))
    assert seen == [0, 1, 2, 3]


def test_a_long_node_does_not_hold_back_what_came_before() -> None:
    saver = SwarmStateSaver(SlowStore())

    async def wait(state: Any) -> Any:
        while True:
            found = await saver.aget_tuple(CONFIG)
            if found and found.metadata["step"] == 0:
                return {"n": 2}
            await asyncio.sleep(0)

    assert asyncio.run(worker(wait, saver).ainvoke({"n": 1}, CONFIG))["n"] == 2


def test_a_value_that_cannot_be_stored_is_an_error_and_stores_nothing_of_it() -> None:
    async def bad(state: Any) -> Any:
        return {"log": [threading.Lock()]}

    graph = worker(bad, SwarmStateSaver(SlowStore()))
    with pytest.raises(EncodeError, match="log"):
        asyncio.run(graph.ainvoke({"n": 1, "log": []}, CONFIG))
    state = graph.get_state(CONFIG)
    assert (state.values, state.next) == ({"n": 1, "log": []}, ("work",))


def test_what_is_written_again_is_what_was_handed_over() -> None:
    class Store(SlowStore):
        async def awrite(self, batches: Sequence[swarmstate.Batch]) -> None:
            try:
                await super().awrite(batches)
            finally:
                self.failing = False

    async def change(state: Any) -> Any:
        state["log"].append("in place")
        return {"n": 2}

    store = Store()
    store.failing = True
    graph = worker(change, SwarmStateSaver(store))
    asyncio.run(graph.ainvoke({"n": 1, "log": ["given"]}, CONFIG))
    logs = [state.values.get("log") for state in graph.get_state_history(CONFIG)]
    assert logs == [["given", "in place"], ["given"], []]
    assert len(store.writes) > 1


def test_a_checkpoint_is_as_it_was_in_memory_too() -> None:
    class State(TypedDict):
        log: Annotated[list[str], Topic(str, accumulate=True)]

    # A topic adds to its own list, here before the run first yields to other tasks.
    builder = StateGraph(State).add_node("work", lambda state: {}).add_edge(START, "work")
    graph = builder.compile(checkpointer=SwarmStateSaver())

    async def run() -> Any:
        await graph.ainvoke({"log": ["first"]}, CONFIG)
        await graph.ainvoke({"log": ["second"]}, CONFIG)
        second = graph.get_state_history(CONFIG, filter={"source": "input"}, limit=1)
        return await graph.ainvoke(None, next(second).config)

    assert asyncio.run(run()) == {"log": ["first", "second"]}


def test_a_run_fails_if_its_memory_is_closed_meanwhile() -> None:
    store = swarmstate.Store()
    builder: Any = StateGraph(dict)
    builder.add_node("work", lambda state: store.close())
    graph = builder.add_edge(START, "work").compile(checkpointer=SwarmStateSaver(store))
    with pytest.raises(StoreClosedError):
        asyncio.run(graph.ainvoke({"n": 1}, CONFIG))


def test_a_checkpoint_is_as_it_was_where_the_one_before_must_be_looked_at() -> None:
    store = SlowStore()
    # The thread has a field without a value, which a newly started saver does not know.
    graphs.once(SwarmStateSaver(store)).invoke({"log": ["given"], "once": "x"}, CONFIG)

    async def change(state: Any) -> Any:
        state["log"].append("in place")

    graph = worker(change, SwarmStateSaver(store))
    asyncio.run(graph.ainvoke({"n": 1}, CONFIG))
    logs = [state.values["log"] for state in graph.get_state_history(CONFIG, limit=3)]
    assert [len(log) for log in logs] == [5, 4, 4]


def test_what_cannot_be_stored_does_not_change_earlier_checkpoints() -> None:
    async def bad(state: Any) -> Any:
        state["log"].append(threading.Lock())
        return {"n": 2}

    graph = worker(bad, SwarmStateSaver(SlowStore()))
    with pytest.raises(EncodeError, match="log"):
        asyncio.run(graph.ainvoke({"n": 1, "log": ["given"]}, CONFIG))
    logs = [state.values.get("log") for state in graph.get_state_history(CONFIG)]
    assert logs == [["given"], []]


def test_a_store_that_fails_fails_the_run_and_the_thread_goes_on_later() -> None:
    store = SlowStore()
    graph = graphs.counter(SwarmStateSaver(store), 3)

    async def go_on() -> Any:
        await graph.ainvoke({"n": 0}, CONFIG)
        store.failing = True
        with pytest.raises(SwarmStateError, match="the disk is full"):
            await graph.ainvoke({"n": 0}, CONFIG)
        store.failing = False
        assert (await graph.aget_state(CONFIG)).values["n"] == 3
        return await graph.ainvoke({"n": 3}, CONFIG)

    assert asyncio.run(go_on())["log"] == [f"count {n}" for n in (1, 2, 3, 4, 5, 6)]
    states = [state.values.get("n") for state in graph.get_state_history(CONFIG)]
    assert states == [6, 5, 4, 3, 3, 3, 2, 1, 0, None]


@pytest.mark.parametrize("durability", ["sync", "async"])
def test_a_cancelled_run_leaves_what_it_did_and_no_tasks(durability: Any) -> None:
    store = SlowStore()
    graph = graphs.counter(SwarmStateSaver(store), 3)

    async def cancel() -> None:
        store.gate = asyncio.Event()
        run = asyncio.create_task(graph.ainvoke({"n": 0}, CONFIG, durability=durability))
        await store.reached.wait()
        run.cancel()
        store.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert asyncio.all_tasks() == {asyncio.current_task()}
        state = await graph.aget_state(CONFIG)
        assert state.metadata is not None
        left = (await graph.ainvoke(None, CONFIG))["n"] if state.next else state.values["n"]
        assert left == 3

    asyncio.run(cancel())


def test_a_loop_that_ends_amid_a_write_ends() -> None:
    store = SlowStore()
    graph = graphs.counter(SwarmStateSaver(store), 3)

    async def leave() -> None:
        store.gate = asyncio.Event()
        run = asyncio.create_task(graph.ainvoke({"n": 0}, CONFIG))
        await store.reached.wait()
        assert not run.done()

    asyncio.run(leave())
    store.gate = None
    assert asyncio.run(graph.ainvoke({"n": 0}, CONFIG))["n"] == 3


@pytest.mark.parametrize("durability", ["sync", "async"])
def test_a_loop_that_ends_at_any_moment_ends(durability: Any) -> None:
    async def leave(turns: int) -> bool:
        graph = graphs.counter(SwarmStateSaver(SlowStore()), 2)
        run = asyncio.create_task(graph.ainvoke({"n": 0}, CONFIG, durability=durability))
        for _ in range(turns):
            await asyncio.sleep(0)
        return run.done()

    turns = 0
    while not asyncio.run(leave(turns)):
        turns += 1
    assert turns > 20


def test_a_run_that_is_cancelled_twice_waits_no_longer_for_a_store_that_hangs() -> None:
    store = SlowStore()
    graph = graphs.counter(SwarmStateSaver(store), 3)

    async def cancel() -> None:
        store.gate = asyncio.Event()
        run = asyncio.create_task(graph.ainvoke({"n": 0}, CONFIG))
        await store.reached.wait()
        for _ in range(2):
            run.cancel()
            for _ in range(20):
                await asyncio.sleep(0)
        assert run.done()
        store.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await run

    asyncio.run(cancel())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks are not eager before")
def test_loops_with_eager_tasks() -> None:
    graph = graphs.agent(SwarmStateSaver(SlowStore()))

    async def talk() -> Any:
        asyncio.get_running_loop().set_task_factory(vars(asyncio)["eager_task_factory"])
        for turn in range(2):
            await graph.ainvoke(say(f"question {turn}"), CONFIG)
        return (await graph.aget_state(CONFIG)).values["messages"]

    assert len(asyncio.run(talk())) == 12


def test_loops_in_threads_at_once(tmp_path: Path) -> None:
    with SwarmStateSaver(tmp_path / "agents.db") as saver:
        graph = graphs.agent(saver)

        async def talk(thread: str) -> int:
            config: Any = {"configurable": {"thread_id": thread}}
            for turn in range(5):
                await graph.ainvoke(say(f"{thread} {turn}"), config)
            return len((await graph.aget_state(config)).values["messages"])

        async def both(name: str) -> list[int]:
            return await asyncio.gather(*(talk(f"{name}{n}") for n in range(4)))

        with ThreadPoolExecutor() as pool:
            found = list(pool.map(lambda name: asyncio.run(both(name)), "abcd"))
    assert found == [[30] * 4] * 4


def test_writes_of_many_parallel_tasks_are_all_stored(tmp_path: Path) -> None:
    with SwarmStateSaver(tmp_path / "agents.db") as saver:
        graph = graphs.fan_out(saver, [], asks=frozenset({7}))
        asyncio.run(graph.ainvoke({"items": list(range(60))}, CONFIG))
        found = saver.get_tuple(CONFIG)
        assert found is not None
        assert len({task for task, *_ in found.pending_writes or ()}) == 60
        answered = asyncio.run(graph.ainvoke(Command(resume="seven"), CONFIG))
    assert answered["results"][7] == "7: seven"
    assert len(answered["results"]) == 60


def test_a_run_that_has_ended_leaves_nothing_to_the_collector() -> None:
    # Without a budget: otherwise the saver keeps what it recognizes until the next put.
    graph = graphs.agent(SwarmStateSaver(SlowStore(), memory_budget=0))

    async def talk() -> None:
        await graph.ainvoke(say("before"), CONFIG)
        gc.collect()
        gc.disable()
        try:
            given = say("question " + "x" * 3_000)
            message = weakref.ref(given["messages"][0])
            await graph.ainvoke(given, CONFIG)
            del given
            assert message() is None
        finally:
            gc.enable()

    asyncio.run(talk())


def test_undone_while_a_run_is_under_way() -> None:
    async def undo(state: Any) -> Any:
        deaccelerate()
        return {"n": 2}

    graph = worker(undo, SwarmStateSaver(SlowStore()))
    assert asyncio.run(graph.ainvoke({"n": 1}, CONFIG))["n"] == 2
    assert graph.get_state(CONFIG).values["n"] == 2


def test_a_saver_of_ones_own_is_asked_as_langgraph_asks_it() -> None:
    class Own(SwarmStateSaver):
        async def aput_writes(self, *args: Any, **options: Any) -> None:
            asked.append(args[2])
            await super().aput_writes(*args, **options)

    asked: list[str] = []
    asyncio.run(graphs.counter(Own(SlowStore()), 2).ainvoke({"n": 0}, CONFIG))
    assert len(asked) == 3


def test_a_measured_saver_is_measured() -> None:
    summary = Summary()
    graph = graphs.counter(SwarmStateSaver(SlowStore(), metrics=summary), 2)
    asyncio.run(graph.ainvoke({"n": 0}, CONFIG))
    counts = {operation: stats.calls for (_, operation), stats in summary.stats().items()}
    # The input and three supersteps, and the writes of the start and two nodes.
    assert (counts["checkpoint.put"], counts["checkpoint.put_writes"]) == (4, 3)


def test_a_profiled_saver_is_profiled() -> None:
    graph = graphs.counter(SwarmStateSaver(SlowStore()), 2)
    with swarmstate.profile() as profile:
        asyncio.run(graph.ainvoke({"n": 0}, CONFIG))
    assert "encode" in {row.name for row in profile.rows()}

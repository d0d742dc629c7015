"""What a metered saver reports about its operations; an unmetered saver is untouched."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from langgraph.checkpoint.swarmstate.testing import Driver
from langgraph.checkpoint.swarmstate.testing.checkpoints import Branch
from swarmstate import Store
from swarmstate.layers import MeteredStore
from swarmstate.observability import Measurement, TracingSink

from tests.langgraph.helpers.metrics import THREAD, Recorder, arun_everything, built, run_everything

EVERYTHING = {
    "checkpoint.get": 1,
    "checkpoint.put": 3,
    "checkpoint.put_writes": 2,
    "checkpoint.list": 1,
    "checkpoint.history": 1,
    "checkpoint.delta_history": 1,
    "checkpoint.copy_thread": 1,
    "checkpoint.stats": 1,
    "checkpoint.prune": 1,
    "checkpoint.delete_for_runs": 1,
    "checkpoint.threads": 1,
    "checkpoint.delete_thread": 1,
}


@pytest.mark.parametrize("is_async", [False, True])
def test_every_operation_is_told_with_its_round_trips(is_async: bool) -> None:
    sink = Recorder()
    with SwarmStateSaver(metrics=sink) as saver:
        if is_async:
            asyncio.run(arun_everything(saver))
        else:
            run_everything(saver)
    told: dict[str, int] = {}
    for each in sink.operations():
        told[each.operation] = told.get(each.operation, 0) + 1
    assert told == EVERYTHING
    trips = sink.round_trips()
    assert sum(each.round_trips or 0 for each in sink.operations()) == len(trips)
    for column in ("requests", "records", "read_bytes", "written_bytes"):
        of_operations = sum(getattr(each, column) for each in sink.operations())
        assert of_operations == sum(getattr(each, column) for each in trips), column
    puts = [each for each in sink.operations() if each.operation == "checkpoint.put"]
    assert [each.round_trips for each in puts] == [1, 1, 1]
    assert all(each.written_bytes > 0 < each.seconds for each in puts)
    assert {each.store for each in sink.seen} == {"Store"}


def test_what_only_needs_names_reads_no_values() -> None:
    """Otherwise a listing or a regular clean-up would cost as much as all that was ever said."""
    sink = Recorder()
    with SwarmStateSaver(metrics=sink) as saver:
        driver = Driver(saver, "sync")
        # Large values are stored apart, and so are large writes, but only next to large values.
        large, small = Branch(driver, "large"), Branch(driver, "small")
        for n in range(3):
            large.put(log=["said " * 2_000 + str(each) for each in range(n + 1)])
            small.put(log=[])
            for branch in (large, small):
                driver.put_writes(branch.config, [("log", ["went on " * 2_000])], "task")
        written = sum(each.written_bytes for each in sink.operations())
        sink.seen.clear()
        assert list(saver.threads()) == ["small", "large"]
        assert len(list(saver.history(None))) == 6
        assert saver.prune(["large", "small"], keep_last=3).checkpoints == 0
        saver.delete_for_runs(["unknown"])
    told = {each.operation: each.read_bytes for each in sink.operations()}
    assert len(told) == 4
    assert all(read < written / 10 for read in told.values()), (told, written)


class Broken(TracingSink):
    """Fails wherever it can."""

    def __init__(self, begins: bool) -> None:
        self._begins = begins

    def record(self, measurement: Measurement, /) -> None:
        raise RuntimeError("the collector is gone")

    def begin(self, store: str, operation: str, /) -> Any:
        if not self._begins:
            raise RuntimeError("the collector is gone")
        return self

    def enter(self) -> None:
        raise RuntimeError("the collector is gone")

    leave = enter
    end = record


@pytest.mark.parametrize("begins", [False, True])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_failing_sink_fails_no_operation(
    begins: bool, is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.ERROR, logger="swarmstate"),
        SwarmStateSaver(metrics=Broken(begins)) as saver,
    ):
        asyncio.run(arun_everything(saver)) if is_async else run_everything(saver)
    # Once from the saver and once from its store.
    assert len(caplog.records) == 2
    assert all("the metrics sink Broken of store Store failed" in r.message for r in caplog.records)


def test_an_operation_lasts_as_long_as_it_works() -> None:
    sink, store = Recorder(), Store()
    with SwarmStateSaver(MeteredStore(store, sink), metrics=sink) as saver:
        graph = built(saver)
        for number in range(20):
            graph.invoke({"messages": [("user", str(number))]}, THREAD)
        sink.seen.clear()
        started = perf_counter()
        listing = saver.list(THREAD)
        next(listing)
        paused = perf_counter()
        assert len(list(SwarmStateSaver(store).list(THREAD))) == 60
        pause = perf_counter() - paused
        assert len(list(listing)) == 59
        elapsed = perf_counter() - started
    [listed] = sink.operations()
    trips = sum(each.seconds for each in sink.round_trips())
    assert trips <= listed.seconds <= elapsed - pause


def test_round_trips_of_other_stores_are_none_of_the_operation() -> None:
    sink, below = Recorder(), Recorder()
    store = MeteredStore(MeteredStore(Store(), below, label="below"), sink, label="above")
    with SwarmStateSaver(store, metrics=sink) as saver:
        built(saver).invoke({"messages": [("user", "Hi")]}, THREAD)
    assert sum(each.round_trips or 0 for each in sink.operations()) == len(sink.round_trips())
    assert len(below.seen) == len(sink.round_trips()) > 0


def test_concurrent_operations_count_their_own_round_trips(tmp_path: Path) -> None:
    sink = Recorder()
    with SwarmStateSaver(tmp_path / "agents.db", metrics=sink) as saver:
        graph = built(saver)

        def turn(number: int) -> None:
            thread = {"configurable": {"thread_id": str(number)}}
            graph.invoke({"messages": [("user", "Hi")]}, thread)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(turn, range(8)))

        async def together() -> None:
            await asyncio.gather(
                *(
                    graph.ainvoke(
                        {"messages": [("user", "Hi")]}, {"configurable": {"thread_id": str(number)}}
                    )
                    for number in range(8, 16)
                )
            )

        asyncio.run(together())
    puts = [each for each in sink.operations() if each.operation == "checkpoint.put"]
    assert len(puts) == 48
    assert {each.round_trips for each in puts} == {1}
    assert {each.attributes["gen_ai.conversation.id"] for each in puts} == set(map(str, range(16)))

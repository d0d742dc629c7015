"""What a metered store reports, and that metering affects nobody."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from typing import Any

import pytest
from swarmstate import Batch, Expect, Query, Range, Store
from swarmstate.errors import ConflictError, StoreClosedError
from swarmstate.layers import MeteredStore, metered
from swarmstate.observability import (
    GuardedSink,
    Measurement,
    MeteredOperation,
    Sinks,
    Summary,
    TracingSink,
)


class Recorder:
    def __init__(self) -> None:
        self.seen: list[Measurement] = []

    def record(self, measurement: Measurement, /) -> None:
        self.seen.append(measurement._replace(seconds=0.0))
        assert measurement.seconds > 0


def test_each_round_trip_is_told() -> None:
    sink = Recorder()
    store = MeteredStore(Store(), sink, label="main")
    store.write([Batch("n", put={"a": b"123"}, put_if_absent={"b": b"4"}, delete=["c"])])
    store.read([Query("n", keys=["a", "none"], ranges=[Range()]), Query("m", keys=["x"])])
    store.namespaces()
    store.copy("n", "m")
    assert sink.seen == [
        Measurement("main", "write", 0.0, 1, 3, 0, 4),
        Measurement("main", "read", 0.0, 2, 3, 7, 0),
        Measurement("main", "namespaces", 0.0, 1, 1, 0, 0),
        Measurement("main", "copy", 0.0, 1, 0, 0, 0),
    ]


def test_async_calls_and_the_value_plane_are_told_alike() -> None:
    async def main(store: MeteredStore) -> None:
        await store.aset("n", "a", "v")
        assert await store.aget("n", "a") == "v"
        await store.anamespaces()
        await store.acopy("n", "m")

    sink, other = Recorder(), Recorder()
    asyncio.run(main(MeteredStore(Store(), sink)))
    store = MeteredStore(Store(), other)
    store.set("n", "a", "v")
    store.get("n", "a")
    store.namespaces()
    store.copy("n", "m")
    assert sink.seen == other.seen
    assert [seen.operation for seen in sink.seen] == ["write", "read", "namespaces", "copy"]
    assert {seen.store for seen in sink.seen} == {"Store"}


def test_errors_are_told_and_raised() -> None:
    sink = Recorder()
    store = MeteredStore(Store(), sink)
    with pytest.raises(ConflictError) as raised:
        store.write([Batch("n", put={"a": b"1"}, expect=Expect("", "z"))])
    with pytest.raises(TypeError):
        store.write([Batch("n", put={"a": "text"})])  # type: ignore[dict-item]  # invalid on purpose
    assert sink.seen[0].error is raised.value
    assert [type(seen.error) for seen in sink.seen] == [ConflictError, TypeError]


def test_what_fails_is_told_as_what_it_was() -> None:
    sink, below = Recorder(), Store()
    store = MeteredStore(below, sink, namespaces=True)
    with pytest.raises(TypeError):
        store.read([None])  # type: ignore[list-item]  # invalid on purpose
    with pytest.raises(TypeError):
        store.write([Batch("n", put={"a": "text"})])  # type: ignore[dict-item]  # invalid on purpose
    below.close()
    with pytest.raises(StoreClosedError):
        store.read([Query("n", keys=["a"]), Query("m", keys=["a"])])
    with pytest.raises(StoreClosedError):
        store.namespaces()
    # Invalid requests never reach the store, so they do not count as requests.
    told = [(seen.operation, seen.requests, seen.namespaces) for seen in sink.seen]
    assert told == [
        ("read", 0, ()),
        ("write", 0, ()),
        ("read", 2, ("n", "m")),
        ("namespaces", 1, ()),
    ]
    assert {(seen.records, seen.read_bytes, seen.written_bytes) for seen in sink.seen} == {
        (0, 0, 0)
    }


def test_a_failing_sink_fails_nothing_and_is_reported_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken:
        def record(self, measurement: Measurement, /) -> None:
            raise RuntimeError("the collector is gone")

    store = MeteredStore(Store(), Broken(), label="main")
    with caplog.at_level(logging.ERROR, logger="swarmstate"):
        for index in range(3):
            store.set("n", str(index), index)
        assert store.keys("n") == ["0", "1", "2"]
    [record] = caplog.records
    assert "Broken of store main" in record.message
    assert "the collector is gone" in str(record.exc_info)


def test_a_failing_sink_keeps_nothing_from_the_others(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def record(self, measurement: Measurement, /) -> None:
            raise RuntimeError("the collector is gone")

    class Broken2(Broken):
        pass

    first, last = Recorder(), Recorder()
    store = MeteredStore(Store(), Sinks(first, Broken(), Broken2(), last), label="main")
    with caplog.at_level(logging.ERROR, logger="swarmstate"):
        store.set("n", "a", 1)
        store.set("n", "b", 2)
    assert first.seen == last.seen
    assert len(first.seen) == 2
    told = [record.message for record in caplog.records]
    assert [message.partition(";")[0] for message in told] == [
        "the metrics sink Broken of store main failed",
        "the metrics sink Broken2 of store main failed",
    ]


def test_an_interrupt_within_a_sink_is_not_kept_back() -> None:
    class Slow:
        def record(self, measurement: Measurement, /) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        MeteredStore(Store(), Slow()).get("n", "a")


def test_spans_of_several_sinks_are_left_in_the_opposite_order() -> None:
    """The state that the last sink replaced must be restored first."""
    told: list[str] = []

    class Tracer(TracingSink):
        def __init__(self, name: str) -> None:
            self.name = name

        def record(self, measurement: Measurement, /) -> None:
            raise AssertionError("expected the span to be told")

        def begin(self, store: str, operation: str, /) -> Tracer:
            return self

        def enter(self) -> None:
            told.append(f"enter {self.name}")

        def leave(self) -> None:
            told.append(f"leave {self.name}")

        def end(self, measurement: Measurement, /) -> None:
            told.append(f"end {self.name}")

    MeteredStore(Store(), Sinks(Tracer("a"), Tracer("b"))).get("n", "k")
    assert told == ["enter a", "enter b", "leave b", "leave a", "end a", "end b"]


def test_an_operation_counts_the_round_trips_of_those_within_it() -> None:
    recorder = Recorder()
    sink, store = GuardedSink(recorder), MeteredStore(Store(), Summary(), label="s")
    with MeteredOperation(sink, store, "outer", {}) as outer:
        store.get("n", "a")
        with MeteredOperation(sink, store, "inner", {}) as inner:
            store.get("n", "a")
        inner.end()
        store.get("n", "a")
    outer.end()
    told = [(each.operation, each.round_trips) for each in recorder.seen]
    assert told == [("inner", 1), ("outer", 3)]


_FORKING = """
import os, sys
from swarmstate import observability

sink = getattr(observability, sys.argv[1])()
with sink._lock:
    child = os.fork()
    if child == 0:
        os._exit(not sink._lock.acquire(blocking=False))
_, status = os.waitpid(child, 0)
assert status == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.parametrize("sink", ["Summary", "PrometheusSink"])
def test_a_forked_child_does_not_wait_for_who_tells_a_sink_in_its_parent(sink: str) -> None:
    done = subprocess.run([sys.executable, "-c", _FORKING, sink], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_without_a_sink_the_store_is_what_it_was() -> None:
    store = Store()
    assert metered(store, None, label="main") is store


def test_with_a_sink_the_store_is_metered_as_asked() -> None:
    told: list[Measurement] = []

    class Full:
        def record(self, measurement: Measurement, /) -> None:
            told.append(measurement)

    metered(Store(), Full(), label="main", namespaces=True).read([Query("n", keys=["a"])])
    metered(Store(), Full()).read([Query("n", keys=["a"])])
    assert [(each.store, each.namespaces) for each in told] == [("main", ("n",)), ("Store", ())]


def test_a_label_is_a_text() -> None:
    label: Any = 5
    for made in (MeteredStore, metered):
        with pytest.raises(TypeError, match="expected label to be a str, found 5"):
            made(Store(), Summary(), label=label)


def test_a_summary_adds_up() -> None:
    summary = Summary()
    for index in range(1, 1001):
        error = ValueError() if index % 100 == 0 else None
        summary.record(Measurement("s", "read", index / 1000, 2, 3, 10, 0, error))
    summary.record(Measurement("s", "write", 0.0, written_bytes=5))
    stats = summary.stats()
    read = stats["s", "read"]
    assert (read.calls, read.errors, read.requests, read.records) == (1000, 10, 2000, 3000)
    assert (read.read_bytes, read.written_bytes) == (10_000, 0)
    assert read.seconds == pytest.approx(500.5)
    for percentile, exact in [(read.p50, 0.5), (read.p95, 0.95), (read.p99, 0.99)]:
        assert exact <= percentile <= exact * 1.0906
    assert read.longest == 1.0
    assert stats["s", "write"].written_bytes == 5
    assert str(summary).count("\n") == 2
    summary.reset()
    assert summary.stats() == {}


def test_percentiles_of_few() -> None:
    summary = Summary()
    for seconds in (0.001, 0.1, 0.01):
        summary.record(Measurement("s", "read", seconds, round_trips=0))
    [stats] = summary.stats().values()
    assert 0.01 <= stats.p50 <= 0.01 * 1.0906
    assert stats.p95 == stats.p99 == stats.longest == 0.1
    assert stats.round_trips == 0


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 1e-6, 5000.0, 1e9])
def test_latencies_of_any_size_have_a_place(seconds: float) -> None:
    summary = Summary()
    summary.record(Measurement("s", "read", seconds))
    [stats] = summary.stats().values()
    assert stats.longest == stats.p50 == stats.p99 == seconds

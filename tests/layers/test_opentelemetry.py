"""What stores report to OpenTelemetry, as an exporter of its SDK sees it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import time_ns
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv.attributes.db_attributes import DB_OPERATION_NAME, DB_SYSTEM_NAME
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.semconv.metrics.db_metrics import DB_CLIENT_OPERATION_DURATION
from opentelemetry.trace import SpanKind, StatusCode
from swarmstate import Batch, DiskStore, Expect, Query, Range, Store
from swarmstate.errors import ConflictError
from swarmstate.layers import CompressedStore, MeteredStore, ShardedStore
from swarmstate.observability import Measurement, OpenTelemetrySink, Summary
from swarmstate_postgres import PostgresStore
from swarmstate_redis import RedisStore


class Collector:
    """SDK providers that keep what they receive."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self._spans = InMemorySpanExporter()
        self.meters = MeterProvider(metric_readers=[self._reader], shutdown_on_exit=False)
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))

    def sink(self, **options: Any) -> OpenTelemetrySink:
        return OpenTelemetrySink(
            meter_provider=self.meters, tracer_provider=self.tracers, **options
        )

    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._spans.get_finished_spans()

    def points(self) -> dict[str, list[Any]]:
        """Return the points of each metric, by its name and unit."""
        data = self._reader.get_metrics_data()
        if data is None:
            return {}
        return {
            f"{metric.name} {metric.unit}": list(metric.data.data_points)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def close(self) -> None:
        self.meters.shutdown()
        self.tracers.shutdown()


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


def attributes(of: ReadableSpan) -> Mapping[str, Any]:
    assert of.attributes is not None
    return of.attributes


def test_metrics_have_the_names_of_the_conventions(collector: Collector) -> None:
    store = MeteredStore(Store(), collector.sink(), label="agents")
    store.write([Batch("n", put={"a": b"123", "b": b"4"})])
    store.read([Query("n", ranges=[Range()])])
    store.read([Query("n", keys=["a"]), Query("m", keys=["a"])])
    points = collector.points()
    common = {DB_SYSTEM_NAME: "swarmstate", "swarmstate.store": "agents"}
    reads, writes = (common | {DB_OPERATION_NAME: name} for name in ("read", "write"))

    durations: list[HistogramDataPoint] = points[f"{DB_CLIENT_OPERATION_DURATION} s"]
    counts = [(point.attributes, point.count) for point in durations]
    assert sorted(counts, key=lambda each: each[1]) == [(writes, 1), (reads, 2)]
    assert all(0 < point.sum < 60 for point in durations)
    conventional = {0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0}
    assert conventional < set(durations[0].explicit_bounds)
    for name, read, written in [("swarmstate.records {record}", 3, 2), ("swarmstate.io By", 7, 4)]:
        found = [(point.attributes, point.value) for point in points[name]]
        assert sorted(found, key=lambda each: each[1]) == sorted(
            [(reads, read), (writes, written)], key=lambda each: each[1]
        )
    assert collector.spans() == ()


def test_failures_have_an_error_type_and_say_nothing_more(collector: Collector) -> None:
    store = MeteredStore(Store(), collector.sink(spans=True))
    with pytest.raises(ConflictError):
        store.write([Batch("thread of zoe", put={"a": b"1"}, expect=Expect("", "z"))])
    with pytest.raises(TypeError):
        store.write([Batch("n", put={"a": "text"})])  # type: ignore[dict-item]  # invalid on purpose
    points = collector.points()[f"{DB_CLIENT_OPERATION_DURATION} s"]
    errors = ["TypeError", "swarmstate.errors.ConflictError"]
    assert sorted(point.attributes[ERROR_TYPE] for point in points) == errors
    spans = collector.spans()
    assert sorted(attributes(span)[ERROR_TYPE] for span in spans) == errors
    assert {span.status.status_code for span in spans} == {StatusCode.ERROR}
    store.read([Query("n", keys=["a"])])
    succeeded = collector.spans()[-1]
    assert succeeded.status.status_code is StatusCode.UNSET
    assert ERROR_TYPE not in attributes(succeeded)
    # No random identifier can contain this name: "z" is not a hexadecimal digit.
    assert "zoe" not in "".join(span.to_json() for span in spans)


def test_spans_are_children_with_the_times_of_the_round_trip(collector: Collector) -> None:
    async def main() -> None:
        store = MeteredStore(Store(), collector.sink(spans=True))
        await store.aset("secret", "key", "value")
        with tracer.start_as_current_span("turn"):
            await asyncio.gather(store.aget("secret", "key"), store.anamespaces())

    tracer = collector.tracers.get_tracer("application")
    before = time_ns()
    asyncio.run(main())
    after = time_ns()
    spans = {span.name: span for span in collector.spans()}
    assert set(spans) == {"swarmstate.write", "swarmstate.read", "swarmstate.namespaces", "turn"}
    turn = spans["turn"].get_span_context()
    assert turn is not None
    assert spans["swarmstate.write"].parent is None
    for name in ("swarmstate.read", "swarmstate.namespaces"):
        parent = spans[name].parent
        assert parent is not None
        assert parent.span_id == turn.span_id
    for span in spans.values():
        assert span.start_time is not None
        assert span.end_time is not None
        assert before <= span.start_time <= span.end_time <= after
    read = spans["swarmstate.read"]
    assert read.kind is SpanKind.CLIENT
    assert attributes(read)["swarmstate.requests"] == 1
    assert attributes(read)["swarmstate.records"] == 1
    assert attributes(read)["swarmstate.io"] == len(b"\xa5value")
    assert "secret" not in "".join(span.to_json() for span in spans.values())


@pytest.mark.parametrize("is_async", [False, True])
def test_a_round_trip_is_the_parent_of_what_it_is_made_of(
    collector: Collector, is_async: bool
) -> None:
    below = MeteredStore(Store(), collector.sink(spans=True), label="below")
    store = MeteredStore(CompressedStore(below), collector.sink(spans=True), label="above")
    for _ in range(2):
        asyncio.run(store.aget("n", "k")) if is_async else store.get("n", "k")
    inner, outer, *_ = spans = collector.spans()
    labels = [attributes(span)["swarmstate.store"] for span in spans]
    assert labels == ["below", "above"] * 2
    above = outer.get_span_context()
    assert above is not None
    assert inner.parent is not None
    assert inner.parent.span_id == above.span_id
    assert [span.parent for span in spans[1::2]] == [None, None]


def test_a_span_lasts_as_long_as_was_measured(collector: Collector) -> None:
    collector.sink(spans=True).record(Measurement("s", "read", 0.25))
    [span] = collector.spans()
    assert (span.name, attributes(span)["swarmstate.store"]) == ("swarmstate.read", "s")
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name == "swarmstate"
    assert span.start_time is not None
    assert span.end_time is not None
    assert span.end_time - span.start_time == 250_000_000


def test_namespaces_are_told_to_spans_alone_and_only_if_asked_for(collector: Collector) -> None:
    store = MeteredStore(Store(), collector.sink(spans=True), namespaces=True)
    store.read([Query("a", keys=["k"]), Query("b", keys=["k"]), Query("a", keys=["l"])])
    store.copy("a", "c")
    store.write([Batch("a", clear=True)])
    told = [attributes(span)["swarmstate.namespaces"] for span in collector.spans()]
    assert told == [("a", "b"), ("a", "c"), ("a",)]
    for points in collector.points().values():
        assert all("swarmstate.namespaces" not in point.attributes for point in points)


def test_the_system_is_that_of_the_store_below(tmp_path: Path) -> None:
    disk = DiskStore(tmp_path / "agents.db")
    metered = MeteredStore(CompressedStore(disk), Summary())
    assert metered.system == "sqlite"
    assert ShardedStore({"a": disk, "b": metered}).system == "sqlite"
    assert ShardedStore({"a": disk, "b": Store()}).system == "swarmstate"
    assert (PostgresStore.system, RedisStore.system) == ("postgresql", "redis")
    disk.close()


@pytest.mark.parametrize("buckets", [(1.0, 1.0), (2.0, 1.0), (0.0, 1.0), (float("inf"),)])
def test_buckets_that_are_none_are_refused(buckets: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="ascending"):
        OpenTelemetrySink(buckets=buckets)


def test_without_the_api_the_message_says_what_to_install() -> None:
    # A separate process in which OpenTelemetry cannot be imported.
    script = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from swarmstate.observability import OpenTelemetrySink\n"
        "try:\n"
        "    OpenTelemetrySink()\n"
        "except ModuleNotFoundError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "pip install 'swarmstate-core[opentelemetry]'" in done.stdout

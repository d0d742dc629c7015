"""What a measured saver tells of its operations, and that an unmeasured one is not touched."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.swarmstate import SwarmStateSaver, SwarmStateSerializer
from langgraph.graph import START, MessagesState, StateGraph
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes.gen_ai_attributes import GEN_AI_CONVERSATION_ID
from opentelemetry.semconv.attributes.db_attributes import DB_SYSTEM_NAME
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client.parser import text_string_to_metric_families
from swarmstate import DiskStore, Store
from swarmstate.errors import InvalidConfigError, InvalidNameError
from swarmstate.layers import MeteredStore
from swarmstate.observability import (
    Measurement,
    OpenTelemetrySink,
    PrometheusSink,
    Sinks,
    Summary,
    TracingSink,
)

SECRET = "the launch code is 0000"
THREAD: Any = {"configurable": {"thread_id": "zoe"}}


class Recorder:
    def __init__(self) -> None:
        self.seen: list[Measurement] = []

    def record(self, measurement: Measurement, /) -> None:
        self.seen.append(measurement)

    def operations(self) -> list[Measurement]:
        return [each for each in self.seen if each.round_trips is not None]

    def round_trips(self) -> list[Measurement]:
        return [each for each in self.seen if each.round_trips is None]


class Traces:
    """A sink of OpenTelemetry's, and the spans that it made."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self.sink = OpenTelemetrySink(
            spans=True, meter_provider=self.meters, tracer_provider=self.tracers
        )

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self._spans.get_finished_spans() if span.name == name]

    def all(self) -> tuple[ReadableSpan, ...]:
        return self._spans.get_finished_spans()


@pytest.fixture
def traces() -> Iterator[Traces]:
    traces = Traces()
    yield traces
    traces.meters.shutdown()
    traces.tracers.shutdown()


def built(saver: SwarmStateSaver) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("say", lambda state: {"messages": [("ai", SECRET * 200)]})
    builder.add_edge(START, "say")
    return builder.compile(checkpointer=saver)


def run_everything(saver: SwarmStateSaver) -> None:
    graph = built(saver)
    graph.invoke({"messages": [("user", SECRET)]}, THREAD)
    assert len(list(graph.get_state_history(THREAD))) == 3
    assert len(list(saver.history(THREAD))) == 3
    saver.get_delta_channel_history(config=THREAD, channels=["messages"])
    saver.copy_thread("zoe", "eve")
    assert saver.stats("zoe").checkpoints == 3
    saver.prune(["eve"])
    saver.delete_for_runs(["nobody"])
    assert sorted(saver.threads()) == ["eve", "zoe"]
    saver.delete_thread("zoe")


async def arun_everything(saver: SwarmStateSaver) -> None:
    graph = built(saver)
    await graph.ainvoke({"messages": [("user", SECRET)]}, THREAD)
    assert len([each async for each in graph.aget_state_history(THREAD)]) == 3
    assert len([each async for each in saver.ahistory(THREAD)]) == 3
    await saver.aget_delta_channel_history(config=THREAD, channels=["messages"])
    await saver.acopy_thread("zoe", "eve")
    assert (await saver.astats("zoe")).checkpoints == 3
    await saver.aprune(["eve"])
    await saver.adelete_for_runs(["nobody"])
    assert sorted(await saver.athreads()) == ["eve", "zoe"]
    await saver.adelete_thread("zoe")


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


@pytest.mark.parametrize("is_async", [False, True])
def test_spans_name_thread_namespace_bytes_and_round_trips(traces: Traces, is_async: bool) -> None:
    with SwarmStateSaver(metrics=traces.sink) as saver:
        asyncio.run(arun_everything(saver)) if is_async else run_everything(saver)
    for span in traces.named("swarmstate.checkpoint.put"):
        assert span.attributes is not None
        assert span.attributes[GEN_AI_CONVERSATION_ID] == "zoe"
        assert span.attributes["swarmstate.checkpoint.namespace"] == ""
        assert span.attributes["swarmstate.round_trips"] == 1
        assert span.attributes["swarmstate.operation"] == "checkpoint.put"
        assert int(str(span.attributes["swarmstate.io"])) > 100
        assert span.attributes[DB_SYSTEM_NAME] == "swarmstate"
        assert span.kind is SpanKind.INTERNAL
    assert len(traces.named("swarmstate.checkpoint.put")) == 3
    [copied] = traces.named("swarmstate.checkpoint.copy_thread")
    assert (copied.attributes or {})[GEN_AI_CONVERSATION_ID] == "zoe"


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("others", [[], [Summary()]])
def test_round_trips_are_children_of_operations_and_these_of_the_turn(
    traces: Traces, is_async: bool, others: list[Any]
) -> None:
    tracer = traces.tracers.get_tracer("application")
    sink: Any = Sinks(*others, traces.sink, *others) if others else traces.sink
    with SwarmStateSaver(metrics=sink) as saver:
        graph = built(saver)
        with tracer.start_as_current_span("turn") as turn:
            if is_async:
                asyncio.run(graph.ainvoke({"messages": [("user", "Hi")]}, THREAD))
            else:
                graph.invoke({"messages": [("user", "Hi")]}, THREAD)
    names = {span.get_span_context().span_id: span.name for span in traces.all()}  # type: ignore[union-attr]  # they have one
    parents: dict[str, set[str]] = {}
    for span in traces.all():
        of = {names[span.parent.span_id]} if span.parent is not None else set()
        parents.setdefault(span.name, set()).update(of)
    assert parents.pop("turn") == set()
    assert parents.pop("swarmstate.write") <= {
        "swarmstate.checkpoint.put",
        "swarmstate.checkpoint.put_writes",
    }
    assert parents.pop("swarmstate.read") == {"swarmstate.checkpoint.get"}
    assert set(parents) == {
        f"swarmstate.checkpoint.{name}" for name in ("get", "put", "put_writes")
    }
    assert all(names == {"turn"} for names in parents.values())
    assert len({span.get_span_context().trace_id for span in traces.all()}) == 1  # type: ignore[union-attr]  # they have one
    assert turn.is_recording() is False


def test_what_fails_is_told_with_its_type_alone(traces: Traces) -> None:
    other = Recorder()
    with SwarmStateSaver(metrics=Sinks(traces.sink, other)) as saver:
        with pytest.raises(InvalidConfigError):
            saver.get_tuple({"configurable": {}})
        with pytest.raises(InvalidConfigError):
            saver.put_writes(THREAD, [("messages", SECRET)], "task")
        checkpoint = {**empty_checkpoint(), "channel_values": {"c": lambda: SECRET}}
        with pytest.raises(TypeError):
            saver.put(THREAD, checkpoint, {}, {})  # type: ignore[arg-type]  # nearly one
    assert [type(each.error).__name__ for each in other.operations()] == [
        "InvalidConfigError",
        "InvalidConfigError",
        "EncodeError",
    ]
    for span in traces.all():
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description is None
        assert str((span.attributes or {})[ERROR_TYPE]).startswith("swarmstate.errors.")
        assert span.events == ()


def test_names_that_no_store_takes_are_told_as_exporters_take_them(traces: Traces) -> None:
    # Broken JSON has half a character.
    hostile = {"configurable": {"thread_id": "\ud800", "checkpoint_ns": "\udfff"}}
    with SwarmStateSaver(metrics=traces.sink) as saver:
        with pytest.raises(InvalidNameError):
            saver.get_tuple(hostile)  # type: ignore[arg-type]  # a part of one
        with pytest.raises(InvalidNameError):
            saver.delete_thread("\ud800")
    for name in ("get", "delete_thread"):
        [span] = traces.named(f"swarmstate.checkpoint.{name}")
        told = span.attributes or {}
        assert told[GEN_AI_CONVERSATION_ID] == "\\ud800"
        assert told.get("swarmstate.checkpoint.namespace", "\\udfff") == "\\udfff"


def test_no_state_is_told(traces: Traces) -> None:
    prometheus, summary = PrometheusSink(), Summary()
    with SwarmStateSaver(metrics=Sinks(traces.sink, prometheus, summary)) as saver:
        run_everything(saver)
    told = [span.to_json() for span in traces.all()]
    metrics = traces.reader.get_metrics_data()
    assert metrics is not None
    told.append(metrics.to_json())
    # The thread is named in spans, which are found by it, and nowhere else.
    assert "zoe" not in told[-1] + prometheus.render() + str(summary)
    told += [prometheus.render(), str(summary)]
    assert "launch" not in "".join(told)


def test_metrics_of_operations_have_names_of_their_own(traces: Traces) -> None:
    prometheus = PrometheusSink()
    with SwarmStateSaver(metrics=Sinks(traces.sink, prometheus)) as saver:
        built(saver).invoke({"messages": [("user", "Hi")]}, THREAD)
    data = traces.reader.get_metrics_data()
    assert data is not None
    metrics = {
        metric["name"]: metric
        for resource in json.loads(data.to_json())["resource_metrics"]
        for scope in resource["scope_metrics"]
        for metric in scope["metrics"]
    }
    points = {name: metric["data"]["data_points"] for name, metric in metrics.items()}
    assert {name: metric["unit"] for name, metric in metrics.items() if "operation." in name} == {
        "db.client.operation.duration": "s",
        "swarmstate.operation.duration": "s",
        "swarmstate.operation.round_trips": "{round_trip}",
        "swarmstate.operation.io": "By",
    }
    families = {each.name: each for each in text_string_to_metric_families(prometheus.render())}
    for name, in_prometheus in [
        ("swarmstate.operation.round_trips", "swarmstate_operation_round_trips"),
        ("swarmstate.operation.io", "swarmstate_operation_io_bytes"),
    ]:
        by_name = {
            point["attributes"]["swarmstate.operation"]: point["value"] for point in points[name]
        }
        samples = {
            sample.labels["swarmstate_operation"]: sample.value
            for sample in families[in_prometheus].samples
            if sample.name.endswith("_total") and sample.value
        }
        assert by_name == samples
        assert set(by_name) <= {"checkpoint.get", "checkpoint.put", "checkpoint.put_writes"}
    counts = {
        sample.labels["swarmstate_operation"]: sample.value
        for sample in families["swarmstate_operation_duration_seconds"].samples
        if sample.name.endswith("_count")
    }
    assert counts == {"checkpoint.get": 1, "checkpoint.put": 3, "checkpoint.put_writes": 2}
    trips = sum(point["count"] for point in points["db.client.operation.duration"])
    assert trips == sum(point["value"] for point in points["swarmstate.operation.round_trips"])


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
    # Once by the saver and once by its store.
    assert len(caplog.records) == 2
    assert all("the metrics sink Broken of store Store failed" in r.message for r in caplog.records)


def test_a_listing_that_pauses_is_one_operation_without_its_pauses(traces: Traces) -> None:
    other = Recorder()
    with SwarmStateSaver(metrics=Sinks(traces.sink, other)) as saver:
        graph = built(saver)
        for number in range(20):
            graph.invoke({"messages": [("user", str(number))]}, THREAD)
        listing = saver.list(THREAD)
        next(listing)
        saver.get_tuple(THREAD)
        next(listing)
        assert not [each for each in other.operations() if each.operation == "checkpoint.list"]
        listing.close()  # type: ignore[attr-defined]  # a generator
    [listed] = [each for each in other.operations() if each.operation == "checkpoint.list"]
    assert listed.error is None
    assert listed.round_trips == 3
    # What went on in the pause is no part of it.
    [span] = traces.named("swarmstate.checkpoint.list")
    got = traces.named("swarmstate.checkpoint.get")[-1]
    assert got.parent is None
    assert span.parent is None


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


def test_without_a_sink_nothing_is_different() -> None:
    with SwarmStateSaver(metrics=None) as saver, SwarmStateSaver(metrics=Summary()) as measured:
        assert type(saver) is SwarmStateSaver
        assert type(saver.store) is Store
        assert isinstance(measured, SwarmStateSaver)
        assert type(measured) is not SwarmStateSaver
        assert "put" in vars(type(measured))
        assert type(saver).put is vars(SwarmStateSaver)["put"]


def test_a_measured_store_is_measured_once_and_keeps_its_label() -> None:
    sink = Recorder()
    store = MeteredStore(Store(), sink, label="agents")
    with SwarmStateSaver(store, metrics=sink) as saver:
        assert saver.store is store
        saver.get_tuple(THREAD)
    assert [(each.store, each.operation) for each in sink.seen] == [
        ("agents", "read"),
        ("agents", "checkpoint.get"),
    ]


def test_copies_of_a_measured_saver_are_measured(tmp_path: Path) -> None:
    sink = Recorder()
    serde = SwarmStateSerializer(allowed_msgpack_modules=[("somewhere", "A")])
    saver = SwarmStateSaver(DiskStore(tmp_path / "agents.db"), metrics=sink, serde=serde)
    other = saver.with_allowlist([("somewhere", "B")])
    assert other is not saver
    other.get_tuple(THREAD)
    assert [each.operation for each in sink.operations()] == ["checkpoint.get"]
    saver.store.close()


def test_subclasses_are_measured_as_they_are() -> None:
    class Mine(SwarmStateSaver):
        def get_tuple(self, config: Any) -> Any:
            seen.append(config)
            return super().get_tuple(config)

    seen: list[Any] = []
    sink = Recorder()
    with Mine(metrics=sink) as saver:
        assert isinstance(saver, Mine)
        saver.get_tuple(THREAD)
    assert seen == [THREAD]
    assert [each.operation for each in sink.operations()] == ["checkpoint.get"]


def test_savers_of_one_class_have_one_measured_class() -> None:
    with SwarmStateSaver(metrics=Summary()) as one, SwarmStateSaver(metrics=Summary()) as other:
        assert type(one) is type(other)
        assert type(one).__doc__ == SwarmStateSaver.__doc__


def test_arguments_by_name_are_told_like_others() -> None:
    sink = Recorder()
    with SwarmStateSaver(metrics=sink) as saver:
        saver.get_tuple(config=THREAD)
        saver.delete_thread(thread_id="zoe")
    assert [each.attributes[GEN_AI_CONVERSATION_ID] for each in sink.operations()] == ["zoe"] * 2


@pytest.mark.parametrize("found", [True, Summary, "prometheus"])
def test_what_is_no_sink_is_refused(found: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"expected a sink of metrics.*a method record"):
        SwarmStateSaver(tmp_path / "agents.db", metrics=found)
    assert not (tmp_path / "agents.db").exists()
    with pytest.raises(TypeError, match="expected a sink of metrics"):
        MeteredStore(Store(), found)
    with pytest.raises(TypeError, match="expected a sink of metrics"):
        Sinks(Summary(), found)


class Full(Store):
    def write(self, batches: Any) -> None:
        raise OSError("the disk is full")


def test_what_failed_leaves_nothing_to_the_collector() -> None:
    class Given:
        pass

    saver = SwarmStateSaver(Full(), metrics=Summary())
    gc.collect()
    gc.disable()
    try:
        given = Given()
        left = weakref.ref(given)
        config: Any = {"configurable": {"thread_id": "zoe", "checkpoint_ns": "", "given": given}}
        with contextlib.suppress(OSError):
            saver.put(config, empty_checkpoint(), {}, {})
        del given, config
        assert left() is None
    finally:
        gc.enable()


def test_a_metered_saver_is_named_after_what_it_is() -> None:
    class Audited(SwarmStateSaver):
        pass

    with SwarmStateSaver(metrics=Summary()) as saver, Audited(metrics=Summary()) as audited:
        assert f"{SwarmStateSaver.__module__}.MeteredSwarmStateSaver" in repr(type(saver))
        assert f"{__name__}.MeteredAudited" in repr(type(audited))
        assert repr(audited) == f"MeteredAudited({audited.store!r})"

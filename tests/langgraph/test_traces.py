"""OpenTelemetry spans and instruments for saver operations."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from opentelemetry.semconv._incubating.attributes.gen_ai_attributes import GEN_AI_CONVERSATION_ID
from opentelemetry.semconv.attributes.db_attributes import DB_SYSTEM_NAME
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client.parser import text_string_to_metric_families
from swarmstate.errors import InvalidConfigError, InvalidNameError
from swarmstate.observability import PrometheusSink, Sinks, Summary

from tests.langgraph.helpers.metrics import (
    SECRET,
    THREAD,
    Recorder,
    Traces,
    arun_everything,
    built,
    run_everything,
)


@pytest.fixture
def traces() -> Iterator[Traces]:
    traces = Traces()
    yield traces
    traces.meters.shutdown()
    traces.tracers.shutdown()


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
    names = {span.get_span_context().span_id: span.name for span in traces.all()}  # type: ignore[union-attr]  # never None here
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
    assert len({span.get_span_context().trace_id for span in traces.all()}) == 1  # type: ignore[union-attr]  # never None here
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
            saver.put(THREAD, checkpoint, {}, {})  # type: ignore[arg-type]  # a plain dict
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
    # Broken JSON may contain half a surrogate pair.
    hostile = {"configurable": {"thread_id": "\ud800", "checkpoint_ns": "\udfff"}}
    with SwarmStateSaver(metrics=traces.sink) as saver:
        with pytest.raises(InvalidNameError):
            saver.get_tuple(hostile)  # type: ignore[arg-type]  # a partial config
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
    # Only spans name the thread, so that they can be found by it.
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
    # The operations during the pause are not part of the listing.
    [span] = traces.named("swarmstate.checkpoint.list")
    got = traces.named("swarmstate.checkpoint.get")[-1]
    assert got.parent is None
    assert span.parent is None

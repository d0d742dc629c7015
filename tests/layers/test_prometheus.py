"""What stores report to Prometheus, parsed by its own client."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client.parser import text_string_to_metric_families
from swarmstate import Batch, Expect, Query, Store
from swarmstate.errors import ConflictError
from swarmstate.layers import MeteredStore
from swarmstate.observability import Measurement, OpenTelemetrySink, PrometheusSink

DURATION = "db_client_operation_duration_seconds"


def samples(sink: PrometheusSink) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Return the labels and values of each series, by its name."""
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(sink.render()):
        assert family.documentation
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def test_a_store_is_read_by_prometheus() -> None:
    sink = PrometheusSink()
    store = MeteredStore(Store(), sink, label="agents")
    store.write([Batch("thread of zoe", put={"a": b"123", "b": b"4"})])
    store.read([Query("thread of zoe", keys=["a"])])
    with pytest.raises(ConflictError):
        store.write([Batch("thread of zoe", put={"c": b"55"}, expect=Expect("", "z"))])

    common = {"db_system_name": "swarmstate", "swarmstate_store": "agents"}
    read = common | {"db_operation_name": "read"}
    written = common | {"db_operation_name": "write"}
    failed = written | {"error_type": "swarmstate.errors.ConflictError"}
    found = samples(sink)
    assert found[f"{DURATION}_count"] == [(read, 1), (written, 1), (failed, 1)]
    assert found["swarmstate_records_total"] == [(read, 1), (written, 2), (failed, 1)]
    assert found["swarmstate_io_bytes_total"] == [(read, 3), (written, 4), (failed, 2)]
    assert all(0 < seconds < 60 for _, seconds in found[f"{DURATION}_sum"])
    assert "zoe" not in sink.render()
    types = {each.name: each.type for each in text_string_to_metric_families(sink.render())}
    assert types == {
        DURATION: "histogram",
        "swarmstate_records": "counter",
        "swarmstate_io_bytes": "counter",
    }


def test_buckets_hold_what_is_at_most_their_bound() -> None:
    sink = PrometheusSink(buckets=[0.001, 0.5, 1])
    for seconds in (0.0, 0.001, 0.002, 0.5, 1.0, 1.5, 1e9):
        sink.record(Measurement("s", "read", seconds))
    found = samples(sink)
    buckets = {labels["le"]: count for labels, count in found[f"{DURATION}_bucket"]}
    assert buckets == {"0.001": 2, "0.5": 4, "1.0": 5, "+Inf": 7}
    assert found[f"{DURATION}_sum"][0][1] == 1e9 + 3.003


def test_nothing_measured_is_valid_and_empty() -> None:
    assert samples(PrometheusSink()) == {}


@given(label=st.text(st.characters(exclude_categories=["Cs"])))
def test_labels_of_any_text_come_back(label: str) -> None:
    sink = PrometheusSink()
    sink.record(Measurement(label, "read", 0.1, system="a\\nb\"\n'}, {"))
    for found in samples(sink).values():
        for labels, _ in found:
            assert labels["swarmstate_store"] == label
            assert labels["db_system_name"] == "a\\nb\"\n'}, {"


def test_threads_lose_nothing() -> None:
    sink = PrometheusSink()

    def work(_: int) -> None:
        for _ in range(500):
            sink.record(Measurement("s", "read", 0.25, records=2))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    found = samples(sink)
    assert [value for _, value in found[f"{DURATION}_count"]] == [4000]
    assert [value for _, value in found[f"{DURATION}_sum"]] == [1000]
    assert [value for _, value in found["swarmstate_records_total"]] == [8000]


def test_names_are_those_that_opentelemetry_gives_in_prometheus() -> None:
    def named(attributes: Mapping[str, object] | None) -> set[str]:
        return {name.replace(".", "_") for name in attributes or {}}

    sink, reader = PrometheusSink(), InMemoryMetricReader()
    meters = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    measurement = Measurement("s", "read", 0.1, 1, 1, 1, 0, ValueError())
    for each in (sink, OpenTelemetrySink(meter_provider=meters)):
        each.record(measurement)
    data = reader.get_metrics_data()
    assert data is not None
    units = {"s": "_seconds", "By": "_bytes", "{record}": ""}
    told = {
        metric.name.replace(".", "_") + units[metric.unit or ""]: named(point.attributes)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    }
    rendered = {
        family.name: set(family.samples[0].labels) - {"le"}
        for family in text_string_to_metric_families(sink.render())
    }
    assert rendered == told
    meters.shutdown()

"""What it costs to measure a store: one round trip with each sink, and with metering turned off."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Any

from swarmstate import DiskStore, Query, Store
from swarmstate.base import BaseStore
from swarmstate.layers import metered
from swarmstate.observability import MetricsSink, OpenTelemetrySink, PrometheusSink, Summary

from benchmarks.report import Table, ratio, seconds
from benchmarks.rounds import Rounds, WrongResultError, at

_LABELS = {
    "bare": "the store itself",
    "off": "metered, without a sink",
    "summary": "Summary",
    "prometheus": "PrometheusSink",
    "opentelemetry": "OpenTelemetrySink",
    "spans": "OpenTelemetrySink, with spans",
}
CONTENDER_NAMES = tuple(_LABELS)
PARAMETERS = {"reads": 20_000}
_CASES = {"memory": "read in memory", "file": "read of a file"}


def _sink(contender: str) -> MetricsSink | None:
    """Return a sink; those of OpenTelemetry report to its SDK, which exports nothing."""
    if contender == "off":
        return None
    if contender == "summary":
        return Summary()
    if contender == "prometheus":
        return PrometheusSink()
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider

    return OpenTelemetrySink(
        spans=contender == "spans",
        meter_provider=MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False),
        tracer_provider=TracerProvider(shutdown_on_exit=False),
    )


def measure(contender: str, folder: Path, *, reads: int) -> dict[str, float]:
    """Return the seconds of one read of each kind of store."""
    timings = {}
    stores: dict[str, BaseStore] = {"memory": Store(), "file": DiskStore(folder / "metered.db")}
    for case, store in stores.items():
        with store:
            store.set("namespace", "key", "value")
            tried = store if contender == "bare" else metered(store, _sink(contender))
            timings[case] = _time(tried, reads)
    return timings


def _time(store: BaseStore, reads: int) -> float:
    """Return the seconds of one read."""
    queries = [Query("namespace", keys=["key"])]
    started = perf_counter()
    for _ in range(reads):
        results = store.read(queries)
    taken = (perf_counter() - started) / reads
    if results[0].values != [b"\xa5value"]:
        raise WrongResultError(f"expected the value that was set, found {results[0].values}")
    return taken


def tables(rounds: Rounds, parameters: dict[str, Any]) -> list[Table]:
    """Return one table of all sinks."""
    headings = [heading for name in _CASES.values() for heading in (name, "÷ bare")]
    table = Table("Metering: one read", ["sink", *headings])
    for name in rounds.results:
        row = [_LABELS[name]]
        for case in _CASES:
            row.append(seconds(rounds.median(name, at(case))))
            row.append(ratio(rounds.ratio(name, "bare", at(case))))
        table.add(*row)
    return [table]

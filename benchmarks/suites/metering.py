"""The cost of metering: a round trip and a saver's turn, with no sink and with each sink."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from pathlib import Path
from time import perf_counter
from typing import Any

from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.swarmstate import SwarmStateSaver
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
_STRETCHES = 20
_CASES = {
    "memory": "read in memory",
    "file": "read from a file",
    "saver": "put and get by a saver in memory",
}


def _sink(contender: str) -> MetricsSink | None:
    """Return a sink; OpenTelemetry's report to its SDK, which exports nothing."""
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
    """Return the seconds of one read of each kind of store, and of a put and get of a saver."""
    timings = {}
    stores: dict[str, BaseStore] = {"memory": Store(), "file": DiskStore(folder / "metered.db")}
    for case, store in stores.items():
        with store:
            store.set("namespace", "key", "value")
            tried = store if contender == "bare" else metered(store, _sink(contender))
            timings[case] = _time(tried, reads)
    bare = contender == "bare"
    with SwarmStateSaver() if bare else SwarmStateSaver(metrics=_sink(contender)) as saver:
        timings["saver"] = _time_saver(saver, max(1, reads // 10))
    return timings


def _time_saver(saver: SwarmStateSaver, times: int) -> float:
    """Return the seconds of one put and one get of a small checkpoint."""
    config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    stored: list[int] = []

    def step() -> None:
        nonlocal config
        checkpoint = {**empty_checkpoint(), "channel_values": {"step": len(stored)}}
        config = saver.put(config, checkpoint, {"step": len(stored)}, {})  # type: ignore[arg-type]  # a plain dict
        found = saver.get_tuple(config)
        assert found is not None
        stored.append(found.checkpoint["channel_values"]["step"])

    taken = _best(step, times)
    if stored != list(range(len(stored))):
        raise WrongResultError("expected each checkpoint to be read as it was put")
    return taken


def _time(store: BaseStore, reads: int) -> float:
    """Return the seconds of one read."""
    queries = [Query("namespace", keys=["key"])]
    taken = _best(lambda: store.read(queries), reads)
    [result] = store.read(queries)
    if result.values != [b"\xa5value"]:
        raise WrongResultError(f"expected the value that was set, found {result.values}")
    return taken


def _best(call: Callable[[], object], times: int) -> float:
    """Return the seconds of a call in the best of some stretches, the least disturbed one."""
    stretch = max(1, times // _STRETCHES)
    best = inf
    for _ in range(_STRETCHES):
        started = perf_counter()
        for _ in range(stretch):
            call()
        best = min(best, (perf_counter() - started) / stretch)
    return best


def tables(rounds: Rounds, parameters: dict[str, Any]) -> list[Table]:
    """Return one table with all sinks."""
    headings = [heading for name in _CASES.values() for heading in (name, "÷ bare")]
    table = Table("Metering: one read; one put and get of a checkpoint", ["sink", *headings])
    for name in rounds.results:
        row = [_LABELS[name]]
        for case in _CASES:
            row.append(seconds(rounds.median(name, at(case))))
            row.append(ratio(rounds.ratio(name, "bare", at(case))))
        table.add(*row)
    return [table]

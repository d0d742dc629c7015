"""Metrics for Prometheus, as text."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from threading import Lock
from typing import ClassVar, NamedTuple

from swarmstate.forking import renew_in_children
from swarmstate.observability._conventions import BUCKETS, check_buckets, error_type
from swarmstate.observability._measurement import Measurement

__all__ = ["PrometheusSink"]


class _Family(NamedTuple):
    """The names of the metrics for one kind of measurement."""

    operation: str
    duration: tuple[str, str]
    counted: tuple[str, str]
    size: tuple[str, str]


_ROUND_TRIPS = _Family(
    "db_operation_name",
    ("db_client_operation_duration_seconds", "Duration of database client operations."),
    ("swarmstate_records_total", "Records read, written or deleted by key."),
    ("swarmstate_io_bytes_total", "Size of the values read or written."),
)
_OPERATIONS = _Family(
    "swarmstate_operation",
    (
        "swarmstate_operation_duration_seconds",
        "Duration of operations, such as those of a checkpointer.",
    ),
    ("swarmstate_operation_round_trips_total", "Round trips made by operations."),
    ("swarmstate_operation_io_bytes_total", "Size of the values read or written by operations."),
)


class _Series:
    """The measurements under one set of labels."""

    def __init__(self, labels: str, buckets: int) -> None:
        self.labels = labels
        # One count per bucket, the last for +Inf; not cumulative.
        self.counts = [0] * (buckets + 1)
        self.seconds = 0.0
        # Counts records for round trips, and round trips for operations.
        self.counted = self.size = 0


class PrometheusSink:
    """A sink whose totals Prometheus scrapes: `render()` is the response.

    The metrics are those of `OpenTelemetrySink`, under the names that OpenTelemetry's
    exporters use in Prometheus:

    - `db_client_operation_duration_seconds`: a histogram of round trips;
    - `swarmstate_records_total`: the number of records read, written or deleted by key;
    - `swarmstate_io_bytes_total`: the size of the values read or written.

    Their labels are `db_system_name`, `db_operation_name`, `swarmstate_store` and, on
    failure, `error_type`. Operations of adapters, such as a checkpointer, have the following
    metrics, with `swarmstate_operation` in place of `db_operation_name`:

    - `swarmstate_operation_duration_seconds`: a histogram of operations;
    - `swarmstate_operation_round_trips_total`: the number of round trips they made;
    - `swarmstate_operation_io_bytes_total`: the size of the values these read or wrote.

    Namespaces and thread ids are never reported.

    The totals are those of one process; each process needs its own sink and address. May be
    shared by any number of stores and threads.

    Args:
        buckets: The upper bounds of the histograms' buckets, in seconds; +Inf is
            added.

    Attributes:
        content_type: The `Content-Type` of the result of `render()`.

    Raises:
        ValueError: The buckets are not ascending.
    """

    content_type: ClassVar[str] = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self, *, buckets: Sequence[float] = BUCKETS) -> None:
        self._buckets = check_buckets(buckets)
        self._bounds = [*map(repr, self._buckets), "+Inf"]
        self._series: dict[tuple[bool, str, str, str, str], _Series] = {}
        self._renew()
        renew_in_children(self, PrometheusSink._renew)

    def _renew(self) -> None:
        """Replace the lock in a forked child, which keeps the parent's measurements."""
        self._lock = Lock()

    def record(self, measurement: Measurement, /) -> None:
        """Add a measurement."""
        error = measurement.error
        kind = "" if error is None else error_type(error)
        round_trips = measurement.round_trips
        about = measurement.store, measurement.system, measurement.operation, kind
        key = (round_trips is not None, *about)
        with self._lock:
            series = self._series.get(key)
            if series is None:
                family = _ROUND_TRIPS if round_trips is None else _OPERATIONS
                labels = _labels(family.operation, *about)
                series = self._series[key] = _Series(labels, len(self._buckets))
            series.counts[bisect_left(self._buckets, measurement.seconds)] += 1
            series.seconds += measurement.seconds
            series.counted += measurement.records if round_trips is None else round_trips
            series.size += measurement.read_bytes + measurement.written_bytes

    def render(self) -> str:
        """Return everything in Prometheus' text format, version 0.0.4.

        See https://prometheus.io/docs/instrumenting/exposition_formats/.
        """
        with self._lock:
            lines = [
                line
                for is_operation, family in ((False, _ROUND_TRIPS), (True, _OPERATIONS))
                for line in self._render(is_operation, family)
            ]
        return "\n".join(lines) + "\n"

    def _render(self, is_operation: bool, family: _Family) -> Iterable[str]:
        every = [each for key, each in sorted(self._series.items()) if key[0] is is_operation]
        # Metrics of operations appear only if some were measured.
        if not every and is_operation:
            return
        name, help_text = family.duration
        yield f"# HELP {name} {help_text}"
        yield f"# TYPE {name} histogram"
        for series in every:
            yield from self._histogram(name, series)
        yield from _counter(*family.counted, ((each.labels, each.counted) for each in every))
        yield from _counter(*family.size, ((each.labels, each.size) for each in every))

    def _histogram(self, name: str, series: _Series) -> Iterable[str]:
        counts = list(accumulate(series.counts))
        for bound, count in zip(self._bounds, counts, strict=True):
            yield f'{name}_bucket{{{series.labels},le="{bound}"}} {count}'
        yield f"{name}_sum{{{series.labels}}} {series.seconds!r}"
        yield f"{name}_count{{{series.labels}}} {counts[-1]}"


def _counter(name: str, help_text: str, samples: Iterable[tuple[str, int]]) -> Iterable[str]:
    yield f"# HELP {name} {help_text}"
    yield f"# TYPE {name} counter"
    for labels, value in samples:
        yield f"{name}{{{labels}}} {value}"


def _labels(name: str, store: str, system: str, operation: str, error: str) -> str:
    labels = {"db_system_name": system, name: operation, "swarmstate_store": store}
    if error:
        labels["error_type"] = error
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

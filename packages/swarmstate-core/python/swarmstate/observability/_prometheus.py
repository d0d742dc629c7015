"""Metrics for Prometheus, as text."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from threading import Lock
from typing import ClassVar

from swarmstate.observability._conventions import BUCKETS, check_buckets, error_type
from swarmstate.observability._measurement import Measurement

__all__ = ["PrometheusSink"]

_DURATION = "db_client_operation_duration_seconds"


class _Series:
    """What was measured under one set of labels."""

    def __init__(self, labels: str, buckets: int) -> None:
        self.labels = labels
        # The last is that of +Inf; none holds what is in the ones below it.
        self.counts = [0] * (buckets + 1)
        self.seconds = 0.0
        self.records = self.size = 0


class PrometheusSink:
    """A sink whose sums Prometheus fetches: `render()` is the answer to its request.

    The metrics are those of `OpenTelemetrySink`, under the names that OpenTelemetry's
    exporters give them in Prometheus:

    - `db_client_operation_duration_seconds`: a histogram of round trips;
    - `swarmstate_records_total`: how many records were read, written or deleted by key;
    - `swarmstate_io_bytes_total`: the size of the values that were read or written.

    Their labels are `db_system_name`, `db_operation_name`, `swarmstate_store` and, of what
    failed, `error_type`. Namespaces are never told.

    The sums are of one process; each has a sink and an address of its own. May be
    shared by any number of stores and threads.

    Args:
        buckets: The upper bounds of the histogram's buckets, in seconds; +Inf is
            added.

    Attributes:
        content_type: The `Content-Type` of what `render()` returns.

    Raises:
        ValueError: The buckets are not ascending.
    """

    content_type: ClassVar[str] = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self, *, buckets: Sequence[float] = BUCKETS) -> None:
        self._buckets = check_buckets(buckets)
        self._bounds = [*map(repr, self._buckets), "+Inf"]
        self._lock = Lock()
        self._series: dict[tuple[str, str, str, str], _Series] = {}

    def record(self, measurement: Measurement, /) -> None:
        """Add a measurement."""
        error = measurement.error
        kind = "" if error is None else error_type(error)
        key = (measurement.store, measurement.system, measurement.operation, kind)
        with self._lock:
            series = self._series.get(key)
            if series is None:
                series = self._series[key] = _Series(_labels(*key), len(self._buckets))
            series.counts[bisect_left(self._buckets, measurement.seconds)] += 1
            series.seconds += measurement.seconds
            series.records += measurement.records
            series.size += measurement.read_bytes + measurement.written_bytes

    def render(self) -> str:
        """Return everything in Prometheus' text format, version 0.0.4.

        See https://prometheus.io/docs/instrumenting/exposition_formats/.
        """
        with self._lock:
            every = [series for _, series in sorted(self._series.items())]
            lines = [
                f"# HELP {_DURATION} Duration of database client operations.",
                f"# TYPE {_DURATION} histogram",
            ]
            for series in every:
                lines += self._histogram(series)
            lines += _counter(
                "swarmstate_records_total",
                "Records that were read, written or deleted by key.",
                ((series.labels, series.records) for series in every),
            )
            lines += _counter(
                "swarmstate_io_bytes_total",
                "Size of the values that were read or written.",
                ((series.labels, series.size) for series in every),
            )
        return "\n".join(lines) + "\n"

    def _histogram(self, series: _Series) -> Iterable[str]:
        counts = list(accumulate(series.counts))
        for bound, count in zip(self._bounds, counts, strict=True):
            yield f'{_DURATION}_bucket{{{series.labels},le="{bound}"}} {count}'
        yield f"{_DURATION}_sum{{{series.labels}}} {series.seconds!r}"
        yield f"{_DURATION}_count{{{series.labels}}} {counts[-1]}"


def _counter(name: str, help_text: str, samples: Iterable[tuple[str, int]]) -> Iterable[str]:
    yield f"# HELP {name} {help_text}"
    yield f"# TYPE {name} counter"
    for labels, value in samples:
        yield f"{name}{{{labels}}} {value}"


def _labels(store: str, system: str, operation: str, error: str) -> str:
    labels = {
        "db_system_name": system,
        "db_operation_name": operation,
        "swarmstate_store": store,
    }
    if error:
        labels["error_type"] = error
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

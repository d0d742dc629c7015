"""Measurements, added up in memory."""

from __future__ import annotations

import math
from threading import Lock
from typing import NamedTuple

from swarmstate.forking import renew_in_children
from swarmstate.observability._measurement import Measurement

__all__ = ["OperationStats", "Summary"]

# Buckets of latencies: each is 2^(1/8), about 9%, wider than the previous one, and the last begins
# at about 3,900 seconds. So a histogram stays small, and its percentiles are accurate to 9%.
_SHORTEST = 1e-6
_PER_OCTAVE = 8
_BUCKETS = 32 * _PER_OCTAVE + 1


class OperationStats(NamedTuple):
    """The measurements of one operation of a store, or of an adapter that uses it.

    Attributes:
        calls: The number of calls, including failed ones.
        errors: How many of them failed.
        requests: How many queries or batches they carried.
        records: How many records were read or written.
        read_bytes: The size of the values read.
        written_bytes: The size of the values written.
        round_trips: The number of round trips; if the calls are round trips, the
            same as `calls`.
        seconds: How long the calls took in total.
        p50: Half of the calls took at most this many seconds; up to 9% too high.
        p95: The same for 95% of them.
        p99: The same for 99% of them.
        longest: How long the longest call took.
    """

    calls: int
    errors: int
    requests: int
    records: int
    read_bytes: int
    written_bytes: int
    round_trips: int
    seconds: float
    p50: float
    p95: float
    p99: float
    longest: float


class _Totals:
    """The running totals of one operation of one store."""

    def __init__(self) -> None:
        self.calls = self.errors = self.requests = self.records = 0
        self.read_bytes = self.written_bytes = self.round_trips = 0
        self.seconds = self.longest = 0.0
        self.buckets = [0] * _BUCKETS

    def add(self, measurement: Measurement) -> None:
        self.calls += 1
        self.errors += measurement.error is not None
        self.requests += measurement.requests
        self.records += measurement.records
        self.read_bytes += measurement.read_bytes
        self.written_bytes += measurement.written_bytes
        self.round_trips += 1 if measurement.round_trips is None else measurement.round_trips
        self.seconds += measurement.seconds
        self.longest = max(self.longest, measurement.seconds)
        octaves = math.log2(max(measurement.seconds, _SHORTEST) / _SHORTEST)
        self.buckets[min(math.ceil(octaves * _PER_OCTAVE), _BUCKETS - 1)] += 1

    def percentile(self, share: float) -> float:
        """Return the upper bound of the bucket that contains the `share`-th latency."""
        left = math.ceil(self.calls * share)
        for index, count in enumerate(self.buckets[:-1]):
            left -= count
            if left <= 0:
                return min(_SHORTEST * math.pow(2, index / _PER_OCTAVE), self.longest)
        # The last bucket has no upper bound.
        return self.longest

    def stats(self) -> OperationStats:
        return OperationStats(
            self.calls,
            self.errors,
            self.requests,
            self.records,
            self.read_bytes,
            self.written_bytes,
            self.round_trips,
            self.seconds,
            self.percentile(0.50),
            self.percentile(0.95),
            self.percentile(0.99),
            self.longest,
        )


class Summary:
    """A sink that adds up measurements, for a quick view of what a process does.

    Takes about 2 kB per store and operation, however much is measured. Any number of
    stores and threads can share it.
    """

    def __init__(self) -> None:
        self._totals: dict[tuple[str, str], _Totals] = {}
        self._renew()
        renew_in_children(self, Summary._renew)

    def _renew(self) -> None:
        """Replace the lock in a forked child, which keeps the parent's measurements."""
        self._lock = Lock()

    def record(self, measurement: Measurement, /) -> None:
        """Add a measurement."""
        key = measurement.store, measurement.operation
        with self._lock:
            totals = self._totals.get(key)
            if totals is None:
                totals = self._totals[key] = _Totals()
            totals.add(measurement)

    def stats(self) -> dict[tuple[str, str], OperationStats]:
        """Return the measurements so far, by `(store, operation)`."""
        with self._lock:
            return {key: totals.stats() for key, totals in sorted(self._totals.items())}

    def reset(self) -> None:
        """Discard all measurements."""
        with self._lock:
            self._totals.clear()

    def __str__(self) -> str:
        """Return a table, one line per store and operation."""
        lines = [
            f"{'store':<16} {'operation':<22} {'calls':>8} {'errors':>6} {'trips':>8} "
            f"{'read':>12} {'written':>12} {'p50 ms':>8} {'p95 ms':>8} {'p99 ms':>8}"
        ]
        for (store, operation), stats in self.stats().items():
            lines.append(
                f"{store:<16} {operation:<22} {stats.calls:>8,} {stats.errors:>6,} "
                f"{stats.round_trips:>8,} {stats.read_bytes:>12,} {stats.written_bytes:>12,} "
                f"{stats.p50 * 1e3:>8.3f} {stats.p95 * 1e3:>8.3f} {stats.p99 * 1e3:>8.3f}"
            )
        return "\n".join(lines)

"""Telling several sinks, none of which may do harm."""

from __future__ import annotations

import logging

from swarmstate.observability._measurement import Measurement, MetricsSink

__all__ = ["Sinks", "log_failure"]

_log = logging.getLogger("swarmstate")


def log_failure(sink: MetricsSink, store: str) -> None:
    """Log the exception that is being handled as the first, and only one told, of a sink."""
    _log.exception(
        "the metrics sink %s of store %s failed; later failures are not reported",
        type(sink).__name__,
        store,
    )


class Sinks:
    """A sink that tells several others, in their order.

    What one of them raises is logged once by the logger `swarmstate`; the others, and the
    operation, go on.

    Args:
        *sinks: The others.
    """

    def __init__(self, *sinks: MetricsSink) -> None:
        self._sinks = sinks
        self._failed: set[int] = set()

    def record(self, measurement: Measurement, /) -> None:
        """Pass a measurement on to each."""
        for index, sink in enumerate(self._sinks):
            try:
                sink.record(measurement)
            except Exception:
                if index not in self._failed:
                    self._failed.add(index)
                    log_failure(sink, measurement.store)

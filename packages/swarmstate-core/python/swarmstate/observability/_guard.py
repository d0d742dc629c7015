"""Call sinks so that their failures do no harm."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from swarmstate.observability._measurement import Measurement, MetricsSink, Span, TracingSink

__all__ = ["GuardedSink"]

T = TypeVar("T")

_log = logging.getLogger("swarmstate")


def check_sink(sink: object) -> None:
    """Check that an object is a sink.

    Raises:
        TypeError: It is not.
    """
    if isinstance(sink, type) or not callable(getattr(sink, "record", None)):
        found = f"the class {sink.__name__}" if isinstance(sink, type) else repr(sink)
        raise TypeError(
            f"expected a metrics sink, such as Summary(), found {found:.200}: a sink is an "
            "object with a record method"
        )


class GuardedSink:
    """A sink that never raises; the logger `swarmstate` logs its first exception.

    Args:
        sink: The sink.

    Raises:
        TypeError: It is not a sink.
    """

    def __init__(self, sink: MetricsSink) -> None:
        check_sink(sink)
        self.sink = sink
        self._tracing = sink if isinstance(sink, TracingSink) else None
        self._has_failed = False

    def begin(self, store: str, operation: str) -> Span | None:
        """Return the span of an operation, or None if the sink makes none."""
        if self._tracing is None:
            return None
        return self.call(store, self._tracing.begin, store, operation)

    def end(self, span: Span | None, measurement: Measurement) -> None:
        """Report the measurement of an operation, whose span, if any, has been left."""
        tell = self.sink.record if span is None else span.end
        self.call(measurement.store, tell, measurement)

    def call(self, store: str, function: Callable[..., T], /, *args: object) -> T | None:
        """Call a function of the sink, or of its span, and return its result; None if it raises."""
        try:
            return function(*args)
        except Exception:
            if not self._has_failed:
                self._has_failed = True
                _log.exception(
                    "the metrics sink %s of store %s failed; later failures are not reported",
                    type(self.sink).__name__,
                    store,
                )
            return None

"""A sink that forwards measurements to several others."""

from __future__ import annotations

from swarmstate.observability._guard import GuardedSink
from swarmstate.observability._measurement import Measurement, MetricsSink, Span, TracingSink

__all__ = ["Sinks"]


class Sinks(TracingSink):
    """A sink that forwards to several others, in order.

    If one of them raises, the logger `swarmstate` logs it once; the others, and the
    operation, continue.

    Args:
        *sinks: The other sinks.
    """

    def __init__(self, *sinks: MetricsSink) -> None:
        self._sinks = [GuardedSink(sink) for sink in sinks]

    def record(self, measurement: Measurement, /) -> None:
        """Forward a measurement to each sink."""
        for sink in self._sinks:
            sink.end(None, measurement)

    def begin(self, store: str, operation: str, /) -> Span | None:
        """Combine the spans of the sinks that return one."""
        spans = [(sink, sink.begin(store, operation)) for sink in self._sinks]
        return None if all(span is None for _, span in spans) else _Spans(store, spans)


class _Spans:
    """The spans of several sinks; a sink without one gets the measurement at the end."""

    def __init__(self, store: str, spans: list[tuple[GuardedSink, Span | None]]) -> None:
        self._store = store
        self._spans = spans

    def enter(self) -> None:
        for sink, span in self._spans:
            if span is not None:
                sink.call(self._store, span.enter)

    def leave(self) -> None:
        for sink, span in reversed(self._spans):
            if span is not None:
                sink.call(self._store, span.leave)

    def end(self, measurement: Measurement, /) -> None:
        for sink, span in self._spans:
            sink.end(span, measurement)

"""Metrics and spans for OpenTelemetry; needs `swarmstate-core[opentelemetry]`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import time_ns
from typing import TYPE_CHECKING, NamedTuple

from swarmstate._core import __version__
from swarmstate.observability._conventions import BUCKETS, check_buckets, error_type
from swarmstate.observability._measurement import Measurement, Span, TracingSink

if TYPE_CHECKING:
    from contextvars import Token

    from opentelemetry import trace
    from opentelemetry.context import Context
    from opentelemetry.metrics import Counter, Histogram, MeterProvider
    from opentelemetry.trace import TracerProvider
    from opentelemetry.util.types import AttributeValue

__all__ = ["OpenTelemetrySink"]


class _Instruments(NamedTuple):
    """The metrics for one kind of measurement: round trips or operations."""

    duration: Histogram
    # Counts records for round trips, and round trips for operations.
    counted: Counter
    size: Counter


class OpenTelemetrySink(TracingSink):
    """A sink that reports to OpenTelemetry, following its conventions for database clients.

    Round trips have the following metrics. Their attributes are `db.system.name`,
    `db.operation.name` ("read", "write", "namespaces" or "copy"), `swarmstate.store` (the
    label of the store) and, on failure, `error.type` (the full name of the exception's
    class):

    - `db.client.operation.duration`: a histogram, in seconds;
    - `swarmstate.records`: the number of records read, written or deleted by key;
    - `swarmstate.io`: the number of bytes of values read or written.

    Operations of adapters, such as a checkpointer, have the following metrics, with
    `swarmstate.operation` ("checkpoint.put") in place of `db.operation.name`:

    - `swarmstate.operation.duration`: a histogram, in seconds;
    - `swarmstate.operation.round_trips`: the number of round trips they made;
    - `swarmstate.operation.io`: the number of bytes of values these read or wrote.

    A read is one round trip, however many queries it carries, and so is a write. The
    content of values, keys and error messages is never reported. Namespaces are
    attributes of spans if the `MeteredStore` includes them, but never of metrics. Thread
    ids, in the operations of a checkpointer, are attributes of spans only.

    May be shared by any number of stores, threads and event loops.

    Args:
        spans: Also create spans, as children of the current span: for operations, such as
            "swarmstate.checkpoint.put", and for each of their round trips, such as
            "swarmstate.read", with the kind client. Beside the attributes of the metrics,
            all spans have `swarmstate.requests` (the number of queries or batches),
            `swarmstate.records` and `swarmstate.io`. Operations also have
            `swarmstate.round_trips`; those of a checkpointer `gen_ai.conversation.id`
            (the thread) and `swarmstate.checkpoint.namespace`; round trips, if known,
            `swarmstate.namespaces`.
        buckets: The upper bounds of the histograms' buckets, in seconds; a view of the
            meter provider takes precedence. The default adds four buckets below a
            millisecond to those of the conventions.
        meter_provider: Where the metrics go; None is the global one.
        tracer_provider: Where the spans go; None is the global one.

    Raises:
        ModuleNotFoundError: `opentelemetry-api` is not installed.
        ValueError: The buckets are not ascending.
    """

    def __init__(
        self,
        *,
        spans: bool = False,
        buckets: Sequence[float] = BUCKETS,
        meter_provider: MeterProvider | None = None,
        tracer_provider: TracerProvider | None = None,
    ) -> None:
        try:
            from opentelemetry import context, metrics, trace
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"expected opentelemetry-api to be installed, found no module {error.name!r}; "
                "run: pip install 'swarmstate-core[opentelemetry]'",
                name=error.name,
            ) from error

        meter = metrics.get_meter("swarmstate", __version__, meter_provider)
        bounds = check_buckets(buckets)

        def histogram(name: str, description: str) -> Histogram:
            return meter.create_histogram(
                name, "s", description, explicit_bucket_boundaries_advisory=bounds
            )

        self._round_trips = _Instruments(
            histogram("db.client.operation.duration", "Duration of database client operations."),
            meter.create_counter(
                "swarmstate.records",
                "{record}",
                "Records read, written or deleted by key.",
            ),
            meter.create_counter("swarmstate.io", "By", "Size of the values read or written."),
        )
        self._operations = _Instruments(
            histogram(
                "swarmstate.operation.duration",
                "Duration of operations, such as those of a checkpointer.",
            ),
            meter.create_counter(
                "swarmstate.operation.round_trips",
                "{round_trip}",
                "Round trips made by operations.",
            ),
            meter.create_counter(
                "swarmstate.operation.io",
                "By",
                "Size of the values read or written by operations.",
            ),
        )
        self._tracer = (
            trace.get_tracer("swarmstate", __version__, tracer_provider) if spans else None
        )
        self._trace = trace
        self._context = context

    def record(self, measurement: Measurement, /) -> None:
        """Report a measurement; with `spans`, also create a span that ends now."""
        attributes = self._count(measurement)
        if self._tracer is not None:
            end = time_ns()
            span = self._start(
                measurement.store,
                measurement.operation,
                end - round(measurement.seconds * 1e9),
            )
            self._finish(span, measurement, attributes, end)

    def begin(self, store: str, operation: str, /) -> Span | None:
        """Start a span if `spans` is set."""
        return None if self._tracer is None else _Span(self, self._start(store, operation))

    def _start(self, store: str, operation: str, start_time: int | None = None) -> trace.Span:
        assert self._tracer is not None
        kind = self._trace.SpanKind
        return self._tracer.start_span(
            f"swarmstate.{operation}",
            kind=kind.INTERNAL if "." in operation else kind.CLIENT,
            # Samplers see only the attributes known at the start.
            attributes={"swarmstate.store": store},
            start_time=start_time,
            record_exception=False,
        )

    def _count(self, measurement: Measurement) -> dict[str, AttributeValue]:
        """Add a measurement to the metrics, and return their attributes."""
        is_operation = measurement.round_trips is not None
        attributes: dict[str, AttributeValue] = {
            "db.system.name": measurement.system,
            "swarmstate.operation" if is_operation else "db.operation.name": measurement.operation,
            "swarmstate.store": measurement.store,
        }
        if measurement.error is not None:
            attributes["error.type"] = error_type(measurement.error)
        if is_operation:
            instruments, counted = self._operations, measurement.round_trips or 0
        else:
            instruments, counted = self._round_trips, measurement.records
        size = measurement.read_bytes + measurement.written_bytes
        instruments.duration.record(measurement.seconds, attributes)
        if counted:
            instruments.counted.add(counted, attributes)
        if size:
            instruments.size.add(size, attributes)
        return attributes

    def _finish(
        self,
        span: trace.Span,
        measurement: Measurement,
        attributes: Mapping[str, AttributeValue],
        end_time: int | None = None,
    ) -> None:
        span.set_attributes(
            {
                **attributes,
                **measurement.attributes,
                "swarmstate.requests": measurement.requests,
                "swarmstate.records": measurement.records,
                "swarmstate.io": measurement.read_bytes + measurement.written_bytes,
            }
        )
        if measurement.round_trips is not None:
            span.set_attribute("swarmstate.round_trips", measurement.round_trips)
        if measurement.namespaces:
            span.set_attribute("swarmstate.namespaces", measurement.namespaces)
        if measurement.error is not None:
            # Without a description, because error messages contain namespaces.
            span.set_status(self._trace.StatusCode.ERROR)
        span.end(end_time)


class _Span:
    """An OpenTelemetry span, current while it is entered."""

    def __init__(self, sink: OpenTelemetrySink, span: trace.Span) -> None:
        self._sink = sink
        self._span = span
        self._outer: Token[Context] | None = None

    def enter(self) -> None:
        context = self._sink._trace.set_span_in_context(self._span)
        self._outer = self._sink._context.attach(context)

    def leave(self) -> None:
        if self._outer is not None:
            self._sink._context.detach(self._outer)
            self._outer = None

    def end(self, measurement: Measurement, /) -> None:
        self._sink._finish(self._span, measurement, self._sink._count(measurement))

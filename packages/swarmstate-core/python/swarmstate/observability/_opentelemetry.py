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
    """The metrics of one kind of measurement: of round trips, or of operations."""

    duration: Histogram
    # Of round trips their records, of operations their round trips.
    counted: Counter
    size: Counter


class OpenTelemetrySink(TracingSink):
    """A sink that reports through OpenTelemetry, by its conventions for database clients.

    Metrics of round trips, each with `db.system.name`, `db.operation.name` ("read",
    "write", "namespaces" or "copy"), `swarmstate.store` (the label of the store) and, of
    what failed, `error.type` (the full name of the exception's class):

    - `db.client.operation.duration`: a histogram, in seconds;
    - `swarmstate.records`: how many records were read, written or deleted by key;
    - `swarmstate.io`: how many bytes of values were read or written.

    Metrics of operations of adapters, such as those of a checkpointer, with
    `swarmstate.operation` ("checkpoint.put") in place of `db.operation.name`:

    - `swarmstate.operation.duration`: a histogram, in seconds;
    - `swarmstate.operation.round_trips`: how many round trips they made;
    - `swarmstate.operation.io`: how many bytes of values these read or wrote.

    A read is one round trip, however many queries it carries, and so is a write.
    What values, keys and errors say is never reported. Namespaces are attributes of
    spans if the `MeteredStore` was asked for them, and never of metrics; so are the
    ids of threads, of operations of a checkpointer.

    May be shared by any number of stores, threads and event loops.

    Args:
        spans: Also make spans, children of the span that is current where they begin:
            "swarmstate.checkpoint.put" and so on of operations, and of each of their
            round trips "swarmstate.read" and so on, of kind client. With the attributes
            of the metrics they have `swarmstate.requests` (how many queries or batches
            there were), `swarmstate.records`, `swarmstate.io`; operations
            `swarmstate.round_trips`, and of a checkpointer `gen_ai.conversation.id` (the
            thread) and `swarmstate.checkpoint.namespace`; round trips, if known,
            `swarmstate.namespaces`.
        buckets: The upper bounds of the histograms' buckets, in seconds; a view of the
            meter provider comes first. Beside the conventions' there are four
            below a millisecond by default.
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
                "Records that were read, written or deleted by key.",
            ),
            meter.create_counter(
                "swarmstate.io", "By", "Size of the values that were read or written."
            ),
        )
        self._operations = _Instruments(
            histogram(
                "swarmstate.operation.duration",
                "Duration of operations, such as those of a checkpointer.",
            ),
            meter.create_counter(
                "swarmstate.operation.round_trips",
                "{round_trip}",
                "Round trips that operations made.",
            ),
            meter.create_counter(
                "swarmstate.operation.io",
                "By",
                "Size of the values that operations read or wrote.",
            ),
        )
        self._tracer = (
            trace.get_tracer("swarmstate", __version__, tracer_provider) if spans else None
        )
        self._trace = trace
        self._context = context

    def record(self, measurement: Measurement, /) -> None:
        """Report a measurement; if spans are asked for, make one that ends now."""
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
        """Start a span if spans are asked for."""
        return None if self._tracer is None else _Span(self, self._start(store, operation))

    def _start(self, store: str, operation: str, start_time: int | None = None) -> trace.Span:
        assert self._tracer is not None
        kind = self._trace.SpanKind
        return self._tracer.start_span(
            f"swarmstate.{operation}",
            kind=kind.INTERNAL if "." in operation else kind.CLIENT,
            # Samplers see what is known at the start alone.
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
            # No description: messages name namespaces.
            span.set_status(self._trace.StatusCode.ERROR)
        span.end(end_time)


class _Span:
    """A span of OpenTelemetry's, current while it is entered."""

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

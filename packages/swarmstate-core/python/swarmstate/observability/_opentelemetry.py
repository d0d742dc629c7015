"""Metrics and spans for OpenTelemetry; needs `swarmstate-core[opentelemetry]`."""

from __future__ import annotations

from collections.abc import Sequence
from time import time_ns
from typing import TYPE_CHECKING

from swarmstate._core import __version__
from swarmstate.observability._conventions import BUCKETS, check_buckets, error_type
from swarmstate.observability._measurement import Measurement

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider
    from opentelemetry.util.types import AttributeValue

__all__ = ["OpenTelemetrySink"]


class OpenTelemetrySink:
    """A sink that reports through OpenTelemetry, by its conventions for database clients.

    Metrics, each with `db.system.name`, `db.operation.name` ("read", "write",
    "namespaces" or "copy"), `swarmstate.store` (the label of the store) and, of what
    failed, `error.type` (the full name of the exception's class):

    - `db.client.operation.duration`: a histogram of round trips, in seconds;
    - `swarmstate.records`: how many records were read, written or deleted by key;
    - `swarmstate.io`: how many bytes of values were read or written.

    A read is one operation, however many queries it carries, and so is a write.
    What values, keys and errors say is never reported. Namespaces are attributes of
    spans if the `MeteredStore` was asked for them, and never of metrics.

    May be shared by any number of stores, threads and event loops.

    Args:
        spans: Also make a span of each round trip, "swarmstate.read" and so on: of
            kind client, a child of the span that is current where it was called. With
            the attributes of the metrics it has `swarmstate.requests` (how many queries
            or batches it carried), `swarmstate.records`, `swarmstate.io` and, if
            known, `swarmstate.namespaces`.
        buckets: The upper bounds of the histogram's buckets, in seconds; a view of the
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
            from opentelemetry import metrics, trace
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"expected opentelemetry-api to be installed, found no module {error.name!r}; "
                "run: pip install 'swarmstate-core[opentelemetry]'",
                name=error.name,
            ) from error

        meter = metrics.get_meter("swarmstate", __version__, meter_provider)
        self._duration = meter.create_histogram(
            "db.client.operation.duration",
            unit="s",
            description="Duration of database client operations.",
            explicit_bucket_boundaries_advisory=check_buckets(buckets),
        )
        self._records = meter.create_counter(
            "swarmstate.records",
            unit="{record}",
            description="Records that were read, written or deleted by key.",
        )
        self._io = meter.create_counter(
            "swarmstate.io",
            unit="By",
            description="Size of the values that were read or written.",
        )
        self._tracer = (
            trace.get_tracer("swarmstate", __version__, tracer_provider) if spans else None
        )
        self._kind = trace.SpanKind.CLIENT
        self._failed = trace.StatusCode.ERROR

    def record(self, measurement: Measurement, /) -> None:
        """Report a measurement."""
        attributes: dict[str, AttributeValue] = {
            "db.system.name": measurement.system,
            "db.operation.name": measurement.operation,
            "swarmstate.store": measurement.store,
        }
        if measurement.error is not None:
            attributes["error.type"] = error_type(measurement.error)
        size = measurement.read_bytes + measurement.written_bytes
        self._duration.record(measurement.seconds, attributes)
        if measurement.records:
            self._records.add(measurement.records, attributes)
        if size:
            self._io.add(size, attributes)
        if self._tracer is not None:
            self._make_span(measurement, attributes, size)

    def _make_span(
        self, measurement: Measurement, attributes: dict[str, AttributeValue], size: int
    ) -> None:
        assert self._tracer is not None
        attributes = {
            **attributes,
            "swarmstate.requests": measurement.requests,
            "swarmstate.records": measurement.records,
            "swarmstate.io": size,
        }
        if measurement.namespaces:
            attributes["swarmstate.namespaces"] = measurement.namespaces
        end = time_ns()
        span = self._tracer.start_span(
            f"swarmstate.{measurement.operation}",
            kind=self._kind,
            attributes=attributes,
            start_time=end - round(measurement.seconds * 1e9),
        )
        if measurement.error is not None:
            # No description: messages name namespaces.
            span.set_status(self._failed)
        span.end(end)

"""Operations of adapters, such as a checkpointer, measured around their round trips."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar, Token
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING

from swarmstate.observability._guard import GuardedSink
from swarmstate.observability._measurement import Measurement, Span

if TYPE_CHECKING:
    from swarmstate.layers import MeteredStore

__all__ = ["MeteredOperation", "count_round_trip"]

_current: ContextVar[MeteredOperation | None] = ContextVar("swarmstate_operation", default=None)


def count_round_trip(store: MeteredStore, measurement: Measurement) -> None:
    """Add a round trip of `store` to the operations that it is part of, if any."""
    operation = _current.get()
    while operation is not None:
        if operation.store is store:
            operation.add(measurement)
        operation = operation.outer


class MeteredOperation:
    """An operation of an adapter, as a context manager around its work.

    It counts the round trips that its store makes in the meantime; their spans become
    children of its own. An operation that pauses, such as a listing, is entered several
    times, and only its working time counts. `end` reports it to the sink.

    Args:
        sink: Where the measurement goes.
        store: The store that the operation works on.
        operation: The name of the operation, such as "checkpoint.put".
        attributes: See `Measurement`.

    Attributes:
        store: The store that the operation works on.
        outer: The operation that this one is part of.
    """

    def __init__(
        self,
        sink: GuardedSink,
        store: MeteredStore,
        operation: str,
        attributes: Mapping[str, str],
    ) -> None:
        self.store = store
        self.outer: MeteredOperation | None = None
        self._sink = sink
        self._operation = operation
        self._attributes = attributes
        self._span: Span | None = sink.begin(store.label, operation)
        self._token: Token[MeteredOperation | None] | None = None
        self._started = self._seconds = 0.0
        self._round_trips = self._requests = self._records = self._read = self._written = 0
        self._error: BaseException | None = None

    def add(self, measurement: Measurement) -> None:
        """Count a round trip."""
        self._round_trips += 1
        self._requests += measurement.requests
        self._records += measurement.records
        self._read += measurement.read_bytes
        self._written += measurement.written_bytes

    def __enter__(self) -> MeteredOperation:
        """Start or resume the work."""
        self.outer = _current.get()
        self._token = _current.set(self)
        if self._span is not None:
            self._sink.call(self.store.label, self._span.enter)
        self._started = perf_counter()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Pause or finish; an exception is recorded as the operation's error."""
        self._seconds += perf_counter() - self._started
        self._error = exc
        if self._span is not None:
            self._sink.call(self.store.label, self._span.leave)
        if self._token is not None:
            _current.reset(self._token)

    def end(self) -> None:
        """Report the measurement."""
        measurement = Measurement(
            self.store.label,
            self._operation,
            self._seconds,
            self._requests,
            self._records,
            self._read,
            self._written,
            self._error,
            self.store.system,
            round_trips=self._round_trips,
            attributes=self._attributes,
        )
        # Its traceback refers to this object, and to everything that the operation was given.
        self._error = None
        self._sink.end(self._span, measurement)

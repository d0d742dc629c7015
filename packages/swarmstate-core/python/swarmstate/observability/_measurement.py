"""The interface between what is measured and the sinks for measurements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

__all__ = ["Measurement", "MetricsSink", "Span", "TracingSink"]


class Measurement(NamedTuple):
    """One round trip to a store, or one operation of an adapter that made several.

    Attributes:
        store: The label of the store.
        operation: "read", "write", "namespaces" or "copy"; the name of an adapter's
            operation begins with what it works on, as in "checkpoint.put".
        seconds: How long it took.
        requests: The number of queries or batches it carried; 1 for other round trips.
        records: The number of records that were read, or written and deleted by key;
            for "namespaces", the number listed.
        read_bytes: The size of the values that were read.
        written_bytes: The size of the values that were to be written.
        error: The exception that was raised, including conflicts; None on success.
        system: What holds the records, such as "sqlite"; see `BaseStore.system`.
        namespaces: The namespaces involved, without duplicates. They contain the ids of
            threads, so this is empty unless the `MeteredStore` includes them.
        round_trips: For an operation of an adapter, the number of its round trips, which
            are also measured themselves; None for a round trip.
        attributes: What an operation of an adapter was about, under OpenTelemetry's
            names, such as the id of a thread. Never values of a state. For spans and
            logs; there are too many different ones for a metric's labels.
    """

    store: str
    operation: str
    seconds: float
    requests: int = 1
    records: int = 0
    read_bytes: int = 0
    written_bytes: int = 0
    error: BaseException | None = None
    system: str = "swarmstate"
    namespaces: tuple[str, ...] = ()
    round_trips: int | None = None
    attributes: Mapping[str, str] = MappingProxyType({})


class MetricsSink(Protocol):
    """A receiver of measurements."""

    def record(self, measurement: Measurement, /) -> None:
        """Take one measurement.

        Called where the operation ran, on any thread or event loop, before its
        caller continues: it must be quick and must not block. An exception is
        logged and does not fail the operation.
        """


class Span(Protocol):
    """An operation under way; one that pauses, such as a listing, is entered several times."""

    def enter(self) -> None:
        """Become the parent of spans that begin in this thread or task from now on."""

    def leave(self) -> None:
        """Undo `enter`, in the same thread or task."""

    def end(self, measurement: Measurement, /) -> None:
        """Take the measurement; the sink's `record` is not called."""


class TracingSink(ABC):
    """A sink that is also told when an operation begins, so that spans can be nested.

    The requirements for `record` apply to all of its methods, and to those of its spans.
    """

    @abstractmethod
    def record(self, measurement: Measurement, /) -> None:
        """Take the measurement of an operation without a span."""

    @abstractmethod
    def begin(self, store: str, operation: str, /) -> Span | None:
        """Return a span for an operation that begins, or None for no span.

        Args:
            store: The label of the store.
            operation: The name of the operation; see `Measurement`.
        """

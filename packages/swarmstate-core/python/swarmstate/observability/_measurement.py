"""The seam between what is measured and where measurements go."""

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
        operation: "read", "write", "namespaces" or "copy"; an adapter's is named after what
            it works on, too, such as "checkpoint.put".
        seconds: How long it took.
        requests: How many queries or batches it carried; 1 for the others.
        records: How many records were read, or written and deleted by key;
            for "namespaces" how many were listed.
        read_bytes: The size of the values that were read.
        written_bytes: The size of the values that were to be written.
        error: The exception that it raised, None if it succeeded. A conflict is
            one, too.
        system: What holds the records, such as "sqlite"; see `BaseStore.system`.
        namespaces: Those that it was about, each once. They hold the ids of
            threads, so this is empty unless the `MeteredStore` was asked for them.
        round_trips: How many round trips an operation of an adapter made, which are measured
            besides; None if this is one itself.
        attributes: What an operation of an adapter was about, by the names that
            OpenTelemetry has for it, such as the id of a thread. Never values of a
            state. For spans and logs; there are too many for a metric's labels.
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
    """Where measurements go."""

    def record(self, measurement: Measurement, /) -> None:
        """Take one measurement.

        Called where the operation ran, on whatever thread or event loop, before
        its caller goes on: it must be quick and must not block. An exception is
        logged and does not fail the operation.
        """


class Span(Protocol):
    """An operation that goes on; one that pauses, such as a listing, is entered several times."""

    def enter(self) -> None:
        """Be the parent of what begins in this thread or task from now on."""

    def leave(self) -> None:
        """Undo `enter`, in the same thread or task."""

    def end(self, measurement: Measurement, /) -> None:
        """Take what was measured; the sink's `record` is not called."""


class TracingSink(ABC):
    """A sink that is also told when an operation begins, so that one can be part of another.

    The demands on `record` hold for all of its methods, and for those of its spans.
    """

    @abstractmethod
    def record(self, measurement: Measurement, /) -> None:
        """Take one measurement, of an operation without a span."""

    @abstractmethod
    def begin(self, store: str, operation: str, /) -> Span | None:
        """Return the span of an operation that begins; None if there is none of it.

        Args:
            store: The label of the store.
            operation: What the operation is called; see `Measurement`.
        """

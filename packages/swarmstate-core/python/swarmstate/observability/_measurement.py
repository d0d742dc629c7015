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
        operation: "read", "write", "namespaces" or "copy"; an adapter's also names what
            it works on, such as "checkpoint.put".
        seconds: How long it took.
        requests: How many queries or batches it carried; 1 for the others.
        records: How many records were read, or written and deleted by key;
            for "namespaces", how many were listed.
        read_bytes: The size of the values read.
        written_bytes: The size of the values to write.
        error: The exception that it raised, None if it succeeded. Conflicts count as
            exceptions.
        system: The storage system, such as "sqlite"; see `BaseStore.system`.
        namespaces: The namespaces concerned, each once. They contain thread ids,
            so this is empty unless the `MeteredStore` was asked for them.
        round_trips: How many round trips an adapter's operation made, which are also measured
            separately; None if this is a round trip itself.
        attributes: What an adapter's operation was about, by OpenTelemetry
            names, such as the thread id. Never values of a
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

        Called on the thread or event loop where the operation ran, before
        its caller continues: it must be quick and must not block. An exception is
        logged and does not fail the operation.
        """


class Span(Protocol):
    """A running operation; one that pauses, such as a listing, is entered several times."""

    def enter(self) -> None:
        """Become the parent of whatever begins in this thread or task from now on."""

    def leave(self) -> None:
        """Undo `enter`, in the same thread or task."""

    def end(self, measurement: Measurement, /) -> None:
        """Take the measurement; the sink's `record` is not called."""


class TracingSink(ABC):
    """A sink that also learns when an operation begins, so that operations can nest.

    The requirements for `record` apply to all of its methods, and to those of its spans.
    """

    @abstractmethod
    def record(self, measurement: Measurement, /) -> None:
        """Take one measurement, of an operation without a span."""

    @abstractmethod
    def begin(self, store: str, operation: str, /) -> Span | None:
        """Return the span for an operation that begins, or None if it has none.

        Args:
            store: The label of the store.
            operation: What the operation is called; see `Measurement`.
        """

"""The seam between stores and metrics."""

from __future__ import annotations

from typing import NamedTuple, Protocol

__all__ = ["Measurement", "MetricsSink"]


class Measurement(NamedTuple):
    """One round trip to a store.

    Attributes:
        store: The label of the store.
        operation: "read", "write", "namespaces" or "copy".
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


class MetricsSink(Protocol):
    """Where measurements go."""

    def record(self, measurement: Measurement, /) -> None:
        """Take one measurement.

        Called where the operation ran, on whatever thread or event loop, before
        its caller goes on: it must be quick and must not block. An exception is
        logged and does not fail the operation.
        """

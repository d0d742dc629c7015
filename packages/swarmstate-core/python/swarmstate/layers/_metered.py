"""Measure what a store does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TypeVar

from swarmstate.base import BaseStore, Batch, Query, Result, check_store
from swarmstate.errors import StoreError
from swarmstate.layers._base import StoreLayer
from swarmstate.observability import GuardedSink, Measurement, MetricsSink, Span
from swarmstate.observability._operations import count_round_trip
from swarmstate.operations import Operation
from swarmstate.serving import VectorSearch

__all__ = ["MeteredStore", "metered"]

S = TypeVar("S", bound=BaseStore)
T = TypeVar("T")


def metered(
    store: S, sink: MetricsSink | None, *, label: str | None = None, namespaces: bool = False
) -> S | MeteredStore:
    """Return `store` with its round trips measured; without a sink, `store` itself.

    If metrics are optional, turning them off then costs nothing.

    Args:
        store: The store.
        sink: As for `MeteredStore`; None measures nothing.
        label: As for `MeteredStore`.
        namespaces: As for `MeteredStore`.

    Raises:
        TypeError: `store` is not a store, or `sink` not a sink.
    """
    check_store(store)
    if sink is None:
        return store
    return MeteredStore(store, sink, label=label, namespaces=namespaces)


class MeteredStore(StoreLayer):
    """Reports each round trip to the store below to a sink.

    Methods of the value plane are measured as the round trips of the byte plane
    that they make. If a sink raises, the logger `swarmstate` logs it once, and the
    operation does not fail.

    Args:
        store: The store below.
        sink: Where the measurements go; see `metered` if it may be None.
        label: The store's name in the measurements.
        namespaces: Whether measurements include namespaces. These contain the ids
            of threads and, in many applications, of people.

    Raises:
        TypeError: `store` is not a store, `sink` not a sink, or `label` not a str.
    """

    def __init__(
        self,
        store: BaseStore,
        sink: MetricsSink,
        *,
        label: str | None = None,
        namespaces: bool = False,
    ) -> None:
        super().__init__(store)
        named: object = label
        if named is not None and not isinstance(named, str):
            # Other types would break sinks that sort or write out labels.
            raise TypeError(f"expected label to be a str, found {named!r:.200}")
        self.sink = sink
        self._guarded = GuardedSink(sink)
        self._names_namespaces = namespaces
        self.label = type(store).__name__ if label is None else label

    @property
    def derived_folder(self) -> Path | None:
        """The folder of the store below: this layer hides nothing."""
        return self.store.derived_folder

    @property
    def vector_search(self) -> VectorSearch | None:
        """The search of the store below; its round trips are not measured."""
        return self.store.vector_search

    def reading(self, queries: Sequence[Query]) -> Operation[list[Result]]:
        """Read and measure."""
        reading = super().reading(queries)
        return (yield from self._measured("read", reading, queries, _of_results))

    def writing(self, batches: Sequence[Batch]) -> Operation[None]:
        """Write and measure."""
        yield from self._measured("write", super().writing(batches), batches, None)

    def listing(self, prefix: str, after: str | None, limit: int | None) -> Operation[list[str]]:
        """List namespaces and measure."""
        listing = super().listing(prefix, after, limit)
        return (yield from self._measured("namespaces", listing, None, _of_names))

    def copying(self, source: str, target: str) -> Operation[None]:
        """Copy and measure."""
        copying = super().copying(source, target)
        yield from self._measured("copy", copying, None, None, (source, target))

    def _measured(
        self,
        operation: str,
        work: Operation[T],
        requests: Sequence[Query] | Sequence[Batch] | None,
        count: Callable[[T], tuple[int, int]] | None,
        names: Sequence[str] = (),
    ) -> Operation[T]:
        span = self._guarded.begin(self.label, operation)
        if span is not None:
            self._guarded.call(self.label, span.enter)
        started = perf_counter()
        answer: T | None = None
        error: BaseException | None = None
        try:
            answer = yield from work
        except BaseException as raised:  # a cancelled call was a round trip, too
            error = raised
            raise
        finally:
            seconds = perf_counter() - started
            if span is not None:
                self._guarded.call(self.label, span.leave)
            found = None if count is None or answer is None else partial(count, answer)
            about = requests, found, names
            self._guarded.call(self.label, self._tell, span, operation, seconds, error, *about)
            # Its traceback refers to this frame, and to everything that the round trip carried.
            error = None
        return answer

    def _tell(
        self,
        span: Span | None,
        operation: str,
        seconds: float,
        error: BaseException | None,
        requests: Sequence[Query] | Sequence[Batch] | None,
        found: Callable[[], tuple[int, int]] | None,
        names: Sequence[str],
    ) -> None:
        records, read = (0, 0) if found is None else found()
        written = sent = 0
        about: tuple[str, ...] = ()
        # Any other error means that the request is invalid, so it cannot be counted.
        if error is None or isinstance(error, StoreError):
            sent = 1 if requests is None else len(requests)
            for request in requests or ():
                if isinstance(request, Batch):
                    added = [*request.put.values(), *request.put_if_absent.values()]
                    records += len(added) + len(request.delete)
                    written += sum(map(len, added))
            if self._names_namespaces:
                about = tuple(dict.fromkeys([*names, *(r.namespace for r in requests or ())]))
        measurement = Measurement(
            self.label,
            operation,
            seconds,
            sent,
            records,
            read,
            written,
            error,
            self.system,
            about,
        )
        count_round_trip(self, measurement)
        self._guarded.end(span, measurement)


def _of_results(results: list[Result]) -> tuple[int, int]:
    """Return the number of records in results, and their size."""
    records = size = 0
    for result in results:
        for value in result.values:
            if value is not None:
                records += 1
                size += len(value)
        for found in result.ranges:
            records += len(found)
            size += sum(len(value) for _, value in found)
    return records, size


def _of_names(names: list[str]) -> tuple[int, int]:
    return len(names), 0

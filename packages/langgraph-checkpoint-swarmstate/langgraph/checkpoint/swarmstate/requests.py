"""Operations without I/O, and the drivers that run them on a store.

An operation is a generator: it yields requests and is sent their answers, so
that the sync and the async methods of the saver share every line of logic.
"""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from typing import Any, NamedTuple, Protocol, TypeVar

from swarmstate import BaseStore, Batch, Query, Result
from swarmstate.errors import SwarmStateError

T = TypeVar("T")


class Request(Protocol):
    """One round trip to a store."""

    def run(self, store: BaseStore) -> Any:
        """Make the round trip."""

    def arun(self, store: BaseStore) -> Awaitable[Any]:
        """Make the round trip without blocking the event loop."""


Operation = Generator[Request, Any, T]


class Read(NamedTuple):
    """Answered with a list of `Result`, one per query."""

    queries: list[Query]

    def run(self, store: BaseStore) -> list[Result]:
        """Read from `store`."""
        return store.read(self.queries)

    def arun(self, store: BaseStore) -> Awaitable[list[Result]]:
        """Read from `store`."""
        return store.aread(self.queries)


class Write(NamedTuple):
    """Answered with None."""

    batches: list[Batch]

    def run(self, store: BaseStore) -> None:
        """Write to `store`."""
        store.write(self.batches)

    def arun(self, store: BaseStore) -> Awaitable[None]:
        """Write to `store`."""
        return store.awrite(self.batches)


class Namespaces(NamedTuple):
    """Answered with the namespaces that start with a prefix."""

    prefix: str

    def run(self, store: BaseStore) -> list[str]:
        """Ask `store`."""
        return store.namespaces(self.prefix)

    def arun(self, store: BaseStore) -> Awaitable[list[str]]:
        """Ask `store`."""
        return store.anamespaces(self.prefix)


class Copy(NamedTuple):
    """Copies a namespace; answered with None."""

    source: str
    target: str

    def run(self, store: BaseStore) -> None:
        """Copy within `store`."""
        store.copy(self.source, self.target)

    def arun(self, store: BaseStore) -> Awaitable[None]:
        """Copy within `store`."""
        return store.acopy(self.source, self.target)


def run(operation: Operation[T], store: BaseStore) -> T:
    """Run an operation to its end and return what it returns."""
    try:
        request = next(operation)
        while True:
            try:
                answer = request.run(store)
            except SwarmStateError as error:
                request = operation.throw(error)
            else:
                request = operation.send(answer)
    except StopIteration as stop:
        result: T = stop.value
        return result


async def arun(operation: Operation[T], store: BaseStore) -> T:
    """Run an operation as `run` does, without blocking the event loop."""
    try:
        request = next(operation)
        while True:
            try:
                answer = await request.arun(store)
            except SwarmStateError as error:
                request = operation.throw(error)
            else:
                request = operation.send(answer)
    except StopIteration as stop:
        result: T = stop.value
        return result

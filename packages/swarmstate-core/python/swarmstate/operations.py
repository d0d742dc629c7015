"""Operations on a store, written once and free of I/O.

An operation is a generator: it yields the steps it needs of a store, is sent
their answers, and returns its result. What a step raises is raised where it was
yielded. `drive` and `adrive` run it, so the sync and the async method of
whatever is made of operations cannot differ.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from swarmstate._plane import Batch, Query, Result
from swarmstate.errors import EncryptionError, StoreFormatError

if TYPE_CHECKING:
    from swarmstate.base import BaseStore

__all__ = [
    "OFFLOADED_BYTES",
    "Compute",
    "Copy",
    "Namespaces",
    "Operation",
    "Read",
    "Step",
    "Write",
    "adrive",
    "drive",
    "read_apart",
]

T = TypeVar("T")

# What stores and their layers raise for records that are no longer what was stored: encrypted with
# another key, or not at all, or evicted in part.
_UNREADABLE = EncryptionError, StoreFormatError

# Work on this many bytes takes long enough for others to notice that an event loop stands still.
OFFLOADED_BYTES = 256 * 1024


class Step(Protocol):
    """Something that an operation asks for."""

    def run(self, store: BaseStore) -> Any:
        """Do it."""

    def arun(self, store: BaseStore) -> Awaitable[Any]:
        """Do it without blocking the event loop."""


# What a step is answered with depends on the step; generators cannot say so.
Operation = Generator[Step, Any, T]


class Read(NamedTuple):
    """A step that is answered with a list of `Result`."""

    queries: Sequence[Query]

    def run(self, store: BaseStore) -> list[Result]:
        """Read from `store`."""
        return store.read(self.queries)

    def arun(self, store: BaseStore) -> Awaitable[list[Result]]:
        """Read from `store`."""
        return store.aread(self.queries)


class Write(NamedTuple):
    """A step that is answered with None."""

    batches: Sequence[Batch]

    def run(self, store: BaseStore) -> None:
        """Write to `store`."""
        store.write(self.batches)

    def arun(self, store: BaseStore) -> Awaitable[None]:
        """Write to `store`."""
        return store.awrite(self.batches)


class Namespaces(NamedTuple):
    """A step that is answered with a list of namespaces."""

    prefix: str = ""
    after: str | None = None
    limit: int | None = None

    def run(self, store: BaseStore) -> list[str]:
        """List those of `store`."""
        return store.namespaces(self.prefix, after=self.after, limit=self.limit)

    def arun(self, store: BaseStore) -> Awaitable[list[str]]:
        """List those of `store`."""
        return store.anamespaces(self.prefix, after=self.after, limit=self.limit)


class Copy(NamedTuple):
    """A step that copies a namespace and is answered with None."""

    source: str
    target: str

    def run(self, store: BaseStore) -> None:
        """Copy within `store`."""
        store.copy(self.source, self.target)

    def arun(self, store: BaseStore) -> Awaitable[None]:
        """Copy within `store`."""
        return store.acopy(self.source, self.target)


class Compute(NamedTuple):
    """A step that calls a function and is answered with what it returns.

    Attributes:
        function: What to call; on another thread if that keeps an event loop going.
        size: How many bytes it works on.
    """

    function: Callable[[], Any]
    size: int

    def run(self, store: BaseStore) -> Any:
        """Call the function."""
        return self.function()

    async def arun(self, store: BaseStore) -> Any:
        """Call the function."""
        if self.size < OFFLOADED_BYTES:
            return self.function()
        return await asyncio.to_thread(self.function)


def read_apart(
    queries: Sequence[Query],
) -> Operation[list[Result | EncryptionError | StoreFormatError]]:
    """Answer queries, of which some may be about records that are no longer what was stored.

    Returns:
        One result per query, or the error with which it alone could not be answered.
    """
    answers: list[Result | EncryptionError | StoreFormatError] = []
    if not queries:
        return answers
    try:
        answers += yield Read(queries)
    except _UNREADABLE:
        # One of them.
        for query in queries:
            try:
                answers += yield Read([query])
            except _UNREADABLE as error:
                answers.append(error)
    return answers


def drive(store: BaseStore, operation: Operation[T]) -> T:
    """Run an operation with the sync methods of `store`."""
    try:
        step = next(operation)
        while True:
            try:
                answer = step.run(store)
            except BaseException as error:  # of an interrupt, too, an operation is told at once
                step = operation.throw(error)
            else:
                step = operation.send(answer)
    except StopIteration as done:
        result: T = done.value
        return result


async def adrive(store: BaseStore, operation: Operation[T]) -> T:
    """Run an operation with the async methods of `store`."""
    try:
        step = next(operation)
        while True:
            try:
                answer = await step.arun(store)
            except BaseException as error:  # of its cancellation, too, and in its own context
                step = operation.throw(error)
            else:
                step = operation.send(answer)
    except StopIteration as done:
        result: T = done.value
        return result

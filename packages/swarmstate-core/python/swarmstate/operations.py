"""Operations on a store, written once and free of I/O.

An operation is a generator: it yields the steps it needs from a store, receives
their answers, and returns its result. An exception in a step is raised where the
step was yielded. `drive` and `adrive` run an operation, so the sync and async methods
built on it cannot differ.
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

# What stores and their layers raise for records that cannot be read back as they were stored:
# not encrypted, encrypted with another key, or partly evicted.
_UNREADABLE = EncryptionError, StoreFormatError

# Working on this many bytes would block an event loop long enough for others to notice.
OFFLOADED_BYTES = 256 * 1024


class Step(Protocol):
    """A request that an operation makes."""

    def run(self, store: BaseStore) -> Any:
        """Run the step."""

    def arun(self, store: BaseStore) -> Awaitable[Any]:
        """Run the step without blocking the event loop."""


# The type of an answer depends on the step, which the type of a generator cannot express.
Operation = Generator[Step, Any, T]


class Read(NamedTuple):
    """A step whose answer is a list of `Result`."""

    queries: Sequence[Query]

    def run(self, store: BaseStore) -> list[Result]:
        """Read from `store`."""
        return store.read(self.queries)

    def arun(self, store: BaseStore) -> Awaitable[list[Result]]:
        """Read from `store`."""
        return store.aread(self.queries)


class Write(NamedTuple):
    """A step that writes; its answer is None."""

    batches: Sequence[Batch]

    def run(self, store: BaseStore) -> None:
        """Write to `store`."""
        store.write(self.batches)

    def arun(self, store: BaseStore) -> Awaitable[None]:
        """Write to `store`."""
        return store.awrite(self.batches)


class Namespaces(NamedTuple):
    """A step whose answer is a list of namespaces."""

    prefix: str = ""
    after: str | None = None
    limit: int | None = None

    def run(self, store: BaseStore) -> list[str]:
        """List namespaces of `store`."""
        return store.namespaces(self.prefix, after=self.after, limit=self.limit)

    def arun(self, store: BaseStore) -> Awaitable[list[str]]:
        """List namespaces of `store`."""
        return store.anamespaces(self.prefix, after=self.after, limit=self.limit)


class Copy(NamedTuple):
    """A step that copies a namespace; its answer is None."""

    source: str
    target: str

    def run(self, store: BaseStore) -> None:
        """Copy within `store`."""
        store.copy(self.source, self.target)

    def arun(self, store: BaseStore) -> Awaitable[None]:
        """Copy within `store`."""
        return store.acopy(self.source, self.target)


class Compute(NamedTuple):
    """A step that calls a function; its answer is what the function returns.

    Attributes:
        function: The function; called on another thread if it could block an event loop.
        size: The number of bytes it works on.
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
    """Answer queries even if some of their records cannot be read.

    Returns:
        For each query its result, or the error of that query alone.
    """
    answers: list[Result | EncryptionError | StoreFormatError] = []
    if not queries:
        return answers
    try:
        answers += yield Read(queries)
    except _UNREADABLE:
        # At least one query failed; ask one by one to find out which.
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
            except BaseException as error:  # also interrupts: the operation must see them at once
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
            except BaseException as error:  # also a cancellation, raised in the operation's context
                step = operation.throw(error)
            else:
                step = operation.send(answer)
    except StopIteration as done:
        result: T = done.value
        return result

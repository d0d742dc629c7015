"""The base classes of layers: forwarding, and changing values on their way."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from swarmstate.base import (
    BaseStore,
    Batch,
    Query,
    Range,
    Result,
    check_batches,
    check_name,
    check_queries,
    check_store,
)
from swarmstate.errors import ConflictError
from swarmstate.operations import Compute, Copy, Namespaces, Operation, Read, Write, adrive, drive

__all__ = ["StoreLayer", "ValueLayer", "take_over"]

# The shortest time to live that is at least one tick of every store's clock.
_LEAST_TTL = 0.001


def take_over(name: str, found: Result, put: dict[str, bytes]) -> Batch:
    """Return the batch that makes `name` hold exactly `put`, with the expiry in `found`."""
    if not put or found.ttl is None:
        return Batch(name, clear=True)
    return Batch(name, clear=True, put=put, ttl=max(found.ttl, _LEAST_TTL))


class StoreLayer(BaseStore):
    """A store that forwards everything to another one.

    A subclass overrides the operations that it changes: `reading`, `writing`,
    `listing` and `copying`. Each is a generator: it yields steps (`Read`, `Write`,
    `Namespaces`, `Copy`) that run on the store below, receives their answers, and
    returns its own. The same operations serve the sync and the async methods, and
    the value plane.

    Args:
        store: The store below; closing the layer closes it.

    Attributes:
        store: The store below, for methods that only it has, such as `vacuum()`.

    Raises:
        TypeError: `store` is not a store.
    """

    def __init__(self, store: BaseStore) -> None:
        check_store(store)
        super().__init__()
        self.store = store
        self.system = store.system
        self._codec = store._codec

    def __repr__(self) -> str:
        """Return the class and the store below."""
        return f"{type(self).__name__}({self.store!r})"

    # Type checkers must go on to report what no layer has.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Raise the usual error, and name the store below that has what is missing here."""
            message = f"{type(self).__name__!r} object has no attribute {name!r}"
            for path, store in [] if name.startswith("_") else self._below():
                if name in dir(store):
                    message += f"; the {type(store).__name__} below has it: use {path}.{name}"
                    break
            raise AttributeError(message, name=name, obj=self)

    def reading(self, queries: Sequence[Query]) -> Operation[list[Result]]:
        """Answer `read` and `aread`."""
        results: list[Result] = yield Read(queries)
        return results

    def writing(self, batches: Sequence[Batch]) -> Operation[None]:
        """Perform `write` and `awrite`."""
        yield Write(batches)

    def listing(self, prefix: str, after: str | None, limit: int | None) -> Operation[list[str]]:
        """Answer `namespaces` and `anamespaces`."""
        names: list[str] = yield Namespaces(prefix, after, limit)
        return names

    def copying(self, source: str, target: str) -> Operation[None]:
        """Perform `copy` and `acopy`."""
        yield Copy(source, target)

    def read(self, queries: Sequence[Query]) -> list[Result]:
        """Answer `queries` in order and in one round trip, with one `Result` each."""
        return drive(self.store, self.reading(queries))

    async def aread(self, queries: Sequence[Query]) -> list[Result]:
        """Answer `queries` as `read` does."""
        return await adrive(self.store, self.reading(queries))

    def write(self, batches: Sequence[Batch]) -> None:
        """Apply `batches` in order, each atomically."""
        drive(self.store, self.writing(batches))

    async def awrite(self, batches: Sequence[Batch]) -> None:
        """Apply `batches` as `write` does."""
        await adrive(self.store, self.writing(batches))

    def namespaces(
        self, prefix: str = "", *, after: str | None = None, limit: int | None = None
    ) -> list[str]:
        """Return the namespaces that start with `prefix`, in UTF-8 byte order."""
        return drive(self.store, self.listing(prefix, after, limit))

    async def anamespaces(
        self, prefix: str = "", *, after: str | None = None, limit: int | None = None
    ) -> list[str]:
        """Return namespaces as `namespaces` does."""
        return await adrive(self.store, self.listing(prefix, after, limit))

    def copy(self, source: str, target: str) -> None:
        """Make `target` hold exactly the records of `source`, atomically."""
        drive(self.store, self.copying(source, target))

    async def acopy(self, source: str, target: str) -> None:
        """Copy a namespace as `copy` does."""
        await adrive(self.store, self.copying(source, target))

    def _below(self) -> Iterator[tuple[str, BaseStore]]:
        """Yield the stores below, the nearest first, and how to get to each of them."""
        # While a layer is being created or copied, it has none yet.
        if "store" in self.__dict__:
            yield ".store", self.store
            if isinstance(self.store, StoreLayer):
                for path, store in self.store._below():
                    yield f".store{path}", store

    def close(self) -> None:
        """Close the store below."""
        self.store.close()

    async def aclose(self) -> None:
        """Close the store below."""
        await self.store.aclose()


class ValueLayer(StoreLayer):
    """A layer that changes values on their way; subclasses implement `encode` and `decode`.

    Names stay unchanged. Large values are converted on another thread if an event loop
    is waiting.

    Attributes:
        portable: Whether `decode` accepts a value that was encoded for another
            address. If so, the store below copies namespaces. Otherwise they are
            read, decoded, encoded and written, in one read and one atomic write.
    """

    portable: ClassVar[bool] = False

    @abstractmethod
    def encode(self, namespace: str, keys: list[str], values: list[bytes]) -> list[bytes]:
        """Return the stored form of each of `values`."""

    @abstractmethod
    def decode(self, namespace: str, keys: list[str], values: list[bytes]) -> list[bytes]:
        """Return the original form of each of `values`.

        Raises:
            StoreError: A value was not returned by `encode`.
        """

    def reading(self, queries: Sequence[Query]) -> Operation[list[Result]]:
        """Read and decode."""
        check_queries(queries)
        queries = list(queries)
        results: list[Result] = yield Read(queries)
        return (yield from self._decoded(queries, results))

    def writing(self, batches: Sequence[Batch]) -> Operation[None]:
        """Encode and write."""
        check_batches(batches)
        batches = list(batches)
        ready: list[Batch] = []
        for batch in batches:
            if batch.expect_values:
                if ready:
                    yield Write(ready)
                    ready = []
                yield from self._compare_and_write(batch)
            else:
                ready.append((yield from self._encoded(batch)))
        if ready:
            yield Write(ready)

    def copying(self, source: str, target: str) -> Operation[None]:
        """Copy below if values are portable, otherwise read and write."""
        check_name(source, "source")
        check_name(target, "target")
        if self.portable or source == target:
            yield Copy(source, target)
            return
        query = Query(source, ranges=[Range()], ask_ttl=True)
        [found] = yield Read([query])
        [decoded] = yield from self._decoded([query], [found])
        yield Write([(yield from self._encoded(take_over(target, found, dict(decoded.ranges[0]))))])

    def _compare_and_write(self, batch: Batch) -> Operation[None]:
        """Write a batch that expects values.

        `encode` may return different bytes each time. So the values are compared here, and
        the store below must still hold the bytes that were just read for them.
        """
        encoded = yield from self._encoded(batch)
        query = Query(batch.namespace, keys=list(batch.expect_values))
        seen: list[bytes | None] = []
        conflict: ConflictError | None = None
        while True:
            [found] = yield Read([query])
            if conflict is not None and found.values == seen:
                raise conflict
            [decoded] = yield from self._decoded([query], [found])
            seen = found.values
            for key, value in zip(query.keys, decoded.values, strict=True):
                if value != batch.expect_values[key]:
                    raise ConflictError(
                        f"in namespace {batch.namespace!r}, key {key!r} was expected to "
                        "have a different value; nothing in the batch was applied: read again and "
                        "retry"
                    )
            expected = dict(zip(query.keys, seen, strict=True))
            try:
                yield Write([encoded._replace(expect_values=expected)])
            except ConflictError as error:
                # Either a value was encoded again in the meantime, or another expectation does
                # not hold; in that case the next read finds the same bytes.
                conflict = error
            else:
                return

    def _encoded(self, batch: Batch) -> Operation[Batch]:
        put, absent = dict(batch.put), dict(batch.put_if_absent)
        if not put and not absent:
            return batch
        keys = [*put, *absent]
        values = [*put.values(), *absent.values()]
        encoded: list[bytes] = yield Compute(
            partial(self.encode, batch.namespace, keys, values), sum(map(len, values))
        )
        return batch._replace(
            put=dict(zip(put, encoded[: len(put)], strict=True)),
            put_if_absent=dict(zip(absent, encoded[len(put) :], strict=True)),
        )

    def _decoded(self, queries: list[Query], results: list[Result]) -> Operation[list[Result]]:
        decoded = []
        for query, result in zip(queries, results, strict=True):
            keys: list[str] = []
            values: list[bytes] = []
            for key, value in zip(query.keys, result.values, strict=True):
                if value is not None:
                    keys.append(key)
                    values.append(value)
            for wanted, records in zip(query.ranges, result.ranges, strict=True):
                if not wanted.keys_only:
                    keys += [key for key, _ in records]
                    values += [value for _, value in records]
            if keys:
                work = partial(self.decode, query.namespace, keys, values)
                plain = iter((yield Compute(work, sum(map(len, values)))))
                points = [None if value is None else next(plain) for value in result.values]
                ranges = [
                    records if wanted.keys_only else [(key, next(plain)) for key, _ in records]
                    for wanted, records in zip(query.ranges, result.ranges, strict=True)
                ]
                result = result._replace(values=points, ranges=ranges)
            decoded.append(result)
        return decoded

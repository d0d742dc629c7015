"""Use several stores as one."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

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
from swarmstate.layers._base import StoreLayer, take_over
from swarmstate.operations import Copy, Namespaces, Operation, Read, Step, Write

__all__ = ["ShardedStore"]


class _On(NamedTuple):
    """A step that runs other steps on stores of their own, async ones concurrently."""

    steps: Sequence[tuple[BaseStore, Step]]

    def run(self, store: BaseStore) -> list[Any]:
        """Run the steps one after another."""
        return [step.run(target) for target, step in self.steps]

    async def arun(self, store: BaseStore) -> list[Any]:
        """Run the steps concurrently; all have ended when this returns."""
        calls: Iterable[Awaitable[Any]] = (step.arun(target) for target, step in self.steps)
        answers = await asyncio.gather(*calls, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return answers


class ShardedStore(StoreLayer):
    """Spreads namespaces over several stores by rendezvous hashing.

    A namespace is in the store whose name, hashed together with the namespace, gives
    the greatest hash (formats.md). So adding a store moves only the namespaces that
    it takes over, an equal share from each of the others, and the order of the stores
    does not matter. Their names must not change: they determine where namespaces are.
    Nothing moves automatically: move namespaces before you use a changed set of stores
    (operations.md).

    Each namespace is as consistent as its store. `copy` from one store to another
    reads the source at a single moment and writes the target atomically, all of it
    through memory. A `write` makes a new round trip each time its batches switch from
    one store to another.

    Args:
        shards: The stores by name; at least one. They are closed with this one,
            and should have the same `allow`.

    Attributes:
        shards: The stores by name, for methods that only they have, such as `vacuum()`.

    Raises:
        TypeError: `shards` is not a mapping of stores.
        ValueError: There are no stores.
    """

    def __init__(self, shards: Mapping[str, BaseStore]) -> None:
        if not isinstance(shards, Mapping):
            raise TypeError(
                "expected a dict of stores by name, such as {'a': DiskStore('a.db'), "
                f"'b': DiskStore('b.db')}}, found {type(shards).__name__}"
            )
        self.shards = dict(shards)
        if not self.shards:
            raise ValueError("expected at least one store to spread namespaces over, found none")
        for store in self.shards.values():
            check_store(store)
        # The store that a layer runs its steps on; here, each step names its own.
        super().__init__(next(iter(self.shards.values())))
        if len({store.system for store in self.shards.values()}) > 1:
            self.system = BaseStore.system

    def __repr__(self) -> str:
        """Return the class and the stores."""
        return f"{type(self).__name__}({self.shards!r})"

    def shard_of(self, namespace: str) -> str:
        """Return the name of the store that holds a namespace."""
        # Equal hashes are practically impossible, but if they occur, the name decides.
        return max(self.shards, key=lambda shard: (_weight(shard, namespace), shard))

    def reading(self, queries: Sequence[Query]) -> Operation[list[Result]]:
        """Read from all stores concerned, with one round trip each."""
        check_queries(queries)
        queries = list(queries)
        places: dict[str, list[int]] = {}
        for index, query in enumerate(queries):
            places.setdefault(self.shard_of(query.namespace), []).append(index)
        answers = yield _On(
            [
                (self.shards[shard], Read([queries[index] for index in indices]))
                for shard, indices in (places or {next(iter(self.shards)): []}).items()
            ]
        )
        results: dict[int, Result] = {}
        for indices, answer in zip(places.values(), answers, strict=False):
            results.update(zip(indices, answer, strict=True))
        return [results[index] for index in range(len(queries))]

    def writing(self, batches: Sequence[Batch]) -> Operation[None]:
        """Write in the order of the batches, so that none is applied after one that fails."""
        check_batches(batches)
        batches = list(batches)
        if not batches:
            yield Write([])
        for shard, group in groupby(batches, lambda batch: self.shard_of(batch.namespace)):
            yield _On([(self.shards[shard], Write(list(group)))])

    def listing(self, prefix: str, after: str | None, limit: int | None) -> Operation[list[str]]:
        """List the namespaces of all stores in order."""
        step = Namespaces(prefix, after, limit)
        pages: list[list[str]] = yield _On([(store, step) for store in self.shards.values()])
        # While namespaces are being moved, one may be in both its old and its new store.
        return sorted({name for page in pages for name in page})[:limit]

    def copying(self, source: str, target: str) -> Operation[None]:
        """Copy within a store, or from one to another."""
        check_name(source, "source")
        check_name(target, "target")
        origin, goal = self.shard_of(source), self.shard_of(target)
        if origin == goal:
            yield _On([(self.shards[origin], Copy(source, target))])
            return
        query = Query(source, ranges=[Range()], ask_ttl=True)
        [[found]] = yield _On([(self.shards[origin], Read([query]))])
        batch = take_over(target, found, dict(found.ranges[0]))
        yield _On([(self.shards[goal], Write([batch]))])

    def _below(self) -> Iterator[tuple[str, BaseStore]]:
        """Yield the stores, and how to get to each of them."""
        for name, store in self.__dict__.get("shards", {}).items():
            yield f".shards[{name!r}]", store
            if isinstance(store, StoreLayer):
                for path, below in store._below():
                    yield f".shards[{name!r}]{path}", below

    def close(self) -> None:
        """Close all stores, even if closing one fails."""
        failure: Exception | None = None
        for store in self.shards.values():
            try:
                store.close()
            except Exception as error:
                failure = failure or error
        if failure is not None:
            raise failure

    async def aclose(self) -> None:
        """Close all stores, even if closing one fails."""
        closing = (store.aclose() for store in self.shards.values())
        for answer in await asyncio.gather(*closing, return_exceptions=True):
            if isinstance(answer, BaseException):
                raise answer


def _weight(shard: str, namespace: str) -> bytes:
    """Return the hash of a pair of names, which cannot contain the NUL that separates them."""
    # Not formatted: a member of an enum that is a str may be formatted as its own name.
    data = f"{shard}\0".encode() + namespace.encode()
    return hashlib.blake2b(data, digest_size=8).digest()

"""A store that records calls and forwards them to another store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swarmstate.base import BaseStore, Batch, Query, Result

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CountingStore"]


class CountingStore(BaseStore):
    """Forwards every call to `inner`.

    Attributes:
        trips: Names of the calls since the last `reset`.
        queries: The queries since then.
    """

    def __init__(self, inner: BaseStore) -> None:
        self.inner = inner
        self.trips: list[str] = []
        self.queries: list[Query] = []

    def reset(self) -> None:
        self.trips.clear()
        self.queries.clear()

    @property
    def looked_up(self) -> list[str]:
        """The keys that were looked up individually, in order."""
        return [key for query in self.queries for key in query.keys]

    @property
    def kinds(self) -> set[str]:
        """The kinds of records whose values were read."""
        ranges = [each for query in self.queries for each in query.ranges if not each.keys_only]
        names = [*self.looked_up, *(each.start for each in ranges)]
        return {name.partition("/")[0] for name in names}

    def read(self, queries: Sequence[Query]) -> list[Result]:
        self.trips.append("read")
        self.queries += queries
        return self.inner.read(queries)

    def write(self, batches: Sequence[Batch]) -> None:
        self.trips.append("write")
        self.inner.write(batches)

    async def aread(self, queries: Sequence[Query]) -> list[Result]:
        self.trips.append("read")
        self.queries += queries
        return await self.inner.aread(queries)

    async def awrite(self, batches: Sequence[Batch]) -> None:
        self.trips.append("write")
        await self.inner.awrite(batches)

    def namespaces(
        self, prefix: str = "", *, after: str | None = None, limit: int | None = None
    ) -> list[str]:
        self.trips.append("namespaces")
        return self.inner.namespaces(prefix, after=after, limit=limit)

    async def anamespaces(
        self, prefix: str = "", *, after: str | None = None, limit: int | None = None
    ) -> list[str]:
        self.trips.append("namespaces")
        return await self.inner.anamespaces(prefix, after=after, limit=limit)

    def copy(self, source: str, target: str) -> None:
        self.trips.append("copy")
        self.inner.copy(source, target)

    async def acopy(self, source: str, target: str) -> None:
        self.trips.append("copy")
        await self.inner.acopy(source, target)

    def close(self) -> None:
        self.inner.close()

    async def aclose(self) -> None:
        await self.inner.aclose()

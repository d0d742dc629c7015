"""The in-memory store."""

from __future__ import annotations

from collections.abc import Sequence

from swarmstate import _core
from swarmstate.base import BaseStore, Batch, Query, Result

__all__ = ["Store"]


class Store(_core.Store, BaseStore):
    """A store of records in memory."""

    async def aread(self, queries: Sequence[Query]) -> list[Result]:
        """Answer `queries` as `read` does."""
        return self.read(queries)

    async def awrite(self, batches: Sequence[Batch]) -> None:
        """Apply `batches` as `write` does."""
        self.write(batches)

    async def anamespaces(
        self, prefix: str = "", *, after: str | None = None, limit: int | None = None
    ) -> list[str]:
        """Return namespaces as `namespaces` does."""
        return self.namespaces(prefix, after=after, limit=limit)

    async def acopy(self, source: str, target: str) -> None:
        """Copy a namespace as `copy` does."""
        self.copy(source, target)

    async def aclose(self) -> None:
        """Release all resources, as `close` does."""
        self.close()

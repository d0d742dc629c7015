"""The in-memory store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from swarmstate import _core
from swarmstate.base import BaseStore, Batch, Query, Result
from swarmstate.codec import Codec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from typing_extensions import Self

    from swarmstate.base import Allow

__all__ = ["Store", "open_url"]


class Store(_core.Store, BaseStore):
    """A store of records in memory.

    `snapshot()`, `restore()` and `copy()` take constant time whatever the store
    holds, and see the whole store at a single moment. The memory of expired namespaces
    is freed by later writes. The async methods never wait for anything, so they simply
    call the sync ones.

    Args:
        allow: Classes that may be constructed when values are read, besides
            those the codec knows; see `swarmstate.codec.Codec`.
        clock: A function that returns the time in seconds since the Unix epoch; the
            system's clock if None. Meant for tests of expiry.
    """

    def __new__(cls, *, allow: Allow = (), clock: Callable[[], float] | None = None) -> Self:
        """Return an empty store."""
        return super().__new__(cls, Codec(allow=allow), clock)

    def __init__(self, *, allow: Allow = (), clock: Callable[[], float] | None = None) -> None:
        """Set up an empty store."""
        super().__init__(allow=allow)

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

    async def aset(self, namespace: str, key: str, value: Any, *, ttl: float | None = None) -> None:
        """Store a value as `set` does."""
        self.set(namespace, key, value, ttl=ttl)

    async def aget(self, namespace: str, key: str, default: Any = None) -> Any:
        """Return a value as `get` does."""
        return self.get(namespace, key, default)

    async def acontains(self, namespace: str, key: str) -> bool:
        """Return whether a record exists."""
        return self.contains(namespace, key)

    async def adelete(self, namespace: str, key: str) -> bool:
        """Delete a record as `delete` does."""
        return self.delete(namespace, key)

    async def aclear(self, namespace: str | None = None) -> None:
        """Delete as `clear` does."""
        self.clear(namespace)

    async def alength(self) -> int:
        """Return how many records there are, as `len(store)` does."""
        return len(self)

    async def asnapshot(self) -> _core.Snapshot:
        """Return all records as `snapshot` does."""
        return self.snapshot()

    async def arestore(self, snapshot: _core.Snapshot) -> None:
        """Restore as `restore` does."""
        self.restore(snapshot)


def open_url(url: str, *, allow: Allow = ()) -> Store:
    """Open a `memory://` store: a new, empty one each time.

    Raises:
        ValueError: Something follows `memory://`.
    """
    _, _, rest = url.partition("://")
    if rest:
        raise ValueError("expected 'memory://' and nothing after it: a memory store has no name")
    return Store(allow=allow)

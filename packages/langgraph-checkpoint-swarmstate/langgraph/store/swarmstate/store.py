"""LangGraph's long-term memory on swarmstate."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.swarmstate.holding import Done, StoreHolder
from langgraph.checkpoint.swarmstate.serde import SwarmStateSerializer
from langgraph.store.base import BaseStore, IndexConfig, Op, Result, TTLConfig

from .embedding import Index
from .expiry import Sweeper, check_ttl_config, sweep
from .operations import run_batch, sorted_out

if TYPE_CHECKING:
    from langgraph.checkpoint.serde.base import SerializerProtocol
    from typing_extensions import Self

    import swarmstate

# Between two sweeps, if nothing else is said; as in LangGraph's stores.
_SWEEP_MINUTES = 5.0


class SwarmStateStore(StoreHolder, BaseStore):
    """Keeps what agents remember across threads in a swarmstate store.

        SwarmStateStore()                         in memory
        SwarmStateStore("memories.db")            in one file
        SwarmStateStore("redis://localhost")      in the store that a URL names
        SwarmStateStore(store)                    in a store that you opened

    Implements all of LangGraph's `BaseStore`, sync and async. You can use one object
    from any number of threads and event loops. Objects and processes that share a
    store see each other's items immediately.

    It behaves like LangGraph's `InMemoryStore` and `PostgresStore`. Where these two
    differ, most notably: without a query, a search yields the most recently put item
    first; a namespace whose items are all gone is not listed, and reading creates
    none; putting an item again keeps its `created_at`; filters compare numbers as
    numbers. The guide has the full list.

    With `index`, a search can take a query. It then yields the items closest in
    meaning first, with their cosine as score; an item counts with the best of its
    fields. Items without embeddings come after all others. The embeddings are kept
    in the store. Without `index`, queries are ignored.

    Items expire `ttl` minutes after they were last put or read, and are invisible
    from that moment; `start_ttl_sweeper` or `sweep_ttl` frees their space.

    Args:
        store: A store, a file's path, a URL (see `swarmstate.open`), or None
            (or ":memory:") for a new store in memory.
        index: What to embed and how, as LangGraph's `IndexConfig`. Objects
            that use the same store must have the same one.
        ttl: Defaults for expiry, as LangGraph's `TTLConfig`. `omit_expired`
            is not needed: expired items are always left out.
        serde: Converts values to bytes; `SwarmStateSerializer()` by default.
        clock: Returns the time, in seconds since the Unix epoch. Set it to test
            expiry.

    `close()` closes a store that was opened here, but not one that you passed in.
    The object is a context manager, sync and async.

    Raises:
        TypeError: `store` has the wrong type, or `index` or `ttl` is not a dict as LangGraph
            defines it.
        ValueError: `index`, `ttl` or the URL is invalid.
        UnknownSchemeError: (a ValueError) No installed store handles such URLs.
        StoreUnavailableError: A file cannot be opened. Stores on servers connect on first
            use.
        StoreFormatError: A file is not a swarmstate database, or is from a newer release.
    """

    supports_ttl = True

    def __init__(
        self,
        store: swarmstate.BaseStore | str | os.PathLike[str] | None = None,
        *,
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
        serde: SerializerProtocol | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        check_ttl_config(ttl)
        self.ttl_config = ttl
        self.serde = serde or SwarmStateSerializer()
        self._clock = clock
        self._sweeper = Sweeper(self.sweep_ttl)
        self._hold(store)
        try:
            self._index = None if index is None else Index(index, self.store)
        except BaseException:
            super().close()
            raise

    @classmethod
    def from_conn_string(cls, conn_string: str, **options: Any) -> Self:
        """Return a store on a path, a URL or ":memory:".

        The result is a store that is also a context manager, sync and async, which
        closes it, as with LangGraph's own stores.
        """
        return cls(conn_string, **options)

    def setup(self) -> Awaitable[None]:
        """Do nothing: stores set themselves up.

        Exists for code written for other stores, sync or async: you need not await the result.
        """
        return Done()

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Run operations and return their results in the same order.

        All reads come before all writes. If one item is put several times, the last
        put wins. The writes to one namespace are applied all or nothing.

        Raises:
            InvalidNamespaceError: LangGraph does not allow such a namespace.
            ValueError: An operation is invalid; nothing was done.
            EncodeError: A value cannot be serialized; nothing was done.
            ItemError: An item that was read is damaged; nothing was written.
        """
        return self._run(run_batch(self.serde, self._index, sorted_out(ops), self._clock()))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Run operations as `batch` does."""
        return await self._arun(run_batch(self.serde, self._index, sorted_out(ops), self._clock()))

    def sweep_ttl(self) -> int:
        """Remove expired items and return how many were found.

        Reads the expiries of all items, a hundred namespaces at a time.
        """
        return self._run(sweep(self._index, self._clock()))

    async def asweep_ttl(self) -> int:
        """Remove expired items as `sweep_ttl` does."""
        return await self._arun(sweep(self._index, self._clock()))

    def start_ttl_sweeper(self, sweep_interval_minutes: float | None = None) -> Future[None]:
        """Start a thread that removes expired items at intervals, unless it runs already.

        Args:
            sweep_interval_minutes: The interval; by default that of `ttl`, or 5.

        Returns:
            A future that is done when the thread has ended. Canceling it ends the
            thread, as do `stop_ttl_sweeper` and `close`.

        Raises:
            TypeError: The interval is not a number.
            ValueError: It is not positive and finite.
        """
        minutes = sweep_interval_minutes
        if minutes is None:
            minutes = (self.ttl_config or {}).get("sweep_interval_minutes")
        return self._sweeper.start(_SWEEP_MINUTES if minutes is None else minutes)

    def stop_ttl_sweeper(self, timeout: float | None = None) -> bool:
        """Stop that thread and return whether it ended within `timeout` seconds."""
        return self._sweeper.stop(timeout)

    def close(self) -> None:
        """Stop the sweeper, and close the store if it was opened here."""
        self._sweeper.stop(None)
        super().close()

    async def aclose(self) -> None:
        """Close as `close` does."""
        self._sweeper.stop(0)
        await super().aclose()

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
        SwarmStateStore("redis://localhost")      wherever a URL leads
        SwarmStateStore(store)                    in a store that you opened

    All of LangGraph's `BaseStore`, sync and async; one object may be used from any
    number of threads and event loops. Objects and processes that share a store see
    each other's items at once.

    Behaves as LangGraph's `InMemoryStore` and `PostgresStore` do. Of what these do
    differently, most notably: without a query, a search yields the item first that was
    put last; a namespace whose items are all gone is not listed, and reading creates
    none; putting an item again keeps its `created_at`; filters compare numbers as
    numbers. The guide has the whole list.

    With `index`, a search may have a query, and then yields what means the most
    similar first, with its cosine as score; an item counts with the best of its
    fields. Items without embeddings come after all others. The embeddings are kept
    in the store. Without `index`, queries are ignored.

    Items expire `ttl` minutes after they were last put or read, and are invisible
    from that moment; `start_ttl_sweeper` or `sweep_ttl` gives their space back.

    Args:
        store: A store, a file's path, a URL (see `swarmstate.open`), or None
            (or ":memory:") for a new store in memory.
        index: What is embedded and how, as LangGraph's `IndexConfig` has it. Objects
            that use the same store must have the same one.
        ttl: Defaults for expiry, as LangGraph's `TTLConfig` has them. `omit_expired`
            is not needed: expired items are always left out.
        serde: How values become bytes; `SwarmStateSerializer()` by default.
        clock: What tells the time, in seconds since the Unix epoch. Tests of
            expiry set it.

    A store that was opened here is closed by `close()`; one that was handed in is
    not. The object is a context manager, sync and async.

    Raises:
        TypeError: `store` is nothing of that, or `index` or `ttl` is no dict of what
            LangGraph has there.
        ValueError: `index` or `ttl` makes no sense, or the URL does not.
        UnknownSchemeError: (a ValueError) No installed store opens such URLs.
        StoreUnavailableError: A file cannot be opened. Stores on servers connect when they
            are first used.
        StoreFormatError: A file is no database of swarmstate's, or of a newer release.
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

        The result is a store, and also a context manager, sync and async, that
        closes it: the form that the stores of LangGraph are opened in.
        """
        return cls(conn_string, **options)

    def setup(self) -> Awaitable[None]:
        """Do nothing: stores set themselves up.

        Kept for code written for other stores, sync or async: what is returned need not be awaited.
        """
        return Done()

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Run operations and return their results, in their order.

        All reads come before all writes, and of several puts of one item the last
        one counts. The writes to one namespace are applied whole or not at all.

        Raises:
            InvalidNamespaceError: A namespace is not what LangGraph allows.
            ValueError: An operation makes no sense; nothing was done.
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
            sweep_interval_minutes: The interval; without it that of `ttl`, or 5.

        Returns:
            A future that is done when the thread has ended; cancelling it ends the
            thread, and so do `stop_ttl_sweeper` and `close`.

        Raises:
            TypeError: The interval is no number.
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

"""The store in PostgreSQL."""

from __future__ import annotations

import asyncio
import atexit
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg
from swarmstate.base import (
    BaseStore,
    Batch,
    Query,
    Result,
    check_batches,
    check_listing,
    check_name,
    check_queries,
    prefix_end,
)
from swarmstate.errors import StoreClosedError
from swarmstate.forking import leave_to_parent, renew_in_children
from swarmstate.loops import PerLoop

from ._client import Client
from ._connecting import Database, OwnConnections, PoolConnections
from ._lanes import Lanes
from ._options import Options, check_kinds, check_sweep_interval
from ._pool_loop import PoolLoop
from ._requests import CopyOf, Write
from ._schema import Names
from ._sweeper import Sweeper
from ._url import Target
from ._vectors import PgVectors

if TYPE_CHECKING:
    from swarmstate.base import Allow

__all__ = ["PostgresStore", "open_url"]

T = TypeVar("T")

_SWEPT_AT_ONCE = 100


class PostgresStore(BaseStore):
    """A store of records in a PostgreSQL database.

    Opening a store does not contact the server. The first call connects and
    creates missing tables and functions. Any number of stores and processes
    can use the same tables at once.

    Async calls use the connections of their event loop; tasks that call at the
    same moment share a round trip. Sync calls have their own connections and
    also work while an event loop runs in their thread. A call that loses its
    connection is retried over a new one until `timeout`. The server recognizes
    a retried write, so none is applied twice or conflicts with itself.

    A process forked while a store is open opens connections of its own; with a
    `pool`, the store is closed in it.

    Args:
        url: `postgresql://user:password@host:5432/database`, with any parameters
            of libpq and settings of the server, as well as `schema`, `prefix`,
            `max_size`, `statement_cache_size` and `timeout`. Parameters that only
            tune libpq, such as `keepalives`, are ignored. Those that require security
            the driver does not offer, such as `channel_binding=require`, are refused.
        pool: An asyncpg pool to use instead of a URL. Create the store in the
            pool's running event loop; calls from elsewhere are sent to that loop.
            Closing the store leaves the pool open.
        schema: The schema of the tables, such as one per tenant; created if it
            does not exist. `search_path` is neither used nor changed.
        prefix: The prefix of the names of tables and functions.
        max_size: How many connections each event loop, and all sync calls
            together, may use at once.
        statement_cache_size: How many prepared statements a connection keeps; use 0 behind
            PgBouncer in transaction mode, unless it has `max_prepared_statements`.
        timeout: Seconds after which a call gives up.
        sweep_interval: Seconds between background removals of expired namespaces,
            which start once a time to live is used; None leaves them to `sweep()`
            or to the server.
        pgvector: Search collections (`swarmstate.vectors`) in the server if it has the
            extension pgvector and the role finds or may create it and two tables.
            Otherwise, or if False, each process searches an index of its own, with the
            same results; `Collection.stats()` says which is used.
        allow: Classes that may be constructed when values are read, besides
            those the codec knows; see `swarmstate.codec.Codec`.

    Raises:
        ValueError: An argument is invalid; the message shows no password.
        TypeError: The pool is not an asyncpg pool, the URL is not a string, or an
            argument that must be a number is not one.
    """

    system = "postgresql"

    def __init__(
        self,
        url: str | None = None,
        *,
        pool: asyncpg.Pool | None = None,
        schema: str | None = None,
        prefix: str | None = None,
        max_size: int | None = None,
        statement_cache_size: int | None = None,
        timeout: float | None = None,
        sweep_interval: float | None = 300.0,
        pgvector: bool = True,
        allow: Allow = (),
    ) -> None:
        super().__init__(allow=allow)
        check_kinds(url, pool)
        target = None if url is None else Target.of(url)
        options = Options.of(
            {} if target is None else target.options,
            schema=schema,
            prefix=prefix,
            max_size=max_size,
            statement_cache_size=statement_cache_size,
            timeout=timeout,
        )
        check_sweep_interval(sweep_interval)
        self._database = Database(
            target,
            Names.of(options.schema, options.prefix),
            statement_cache_size=options.statement_cache_size,
            timeout=options.timeout,
        )
        self._size = options.max_size
        self._sweep_interval = sweep_interval
        self._pool = pool
        self._pool_loop = None if pool is None else PoolLoop()
        self._closed = False
        names = self._database.names
        self._vectors = PgVectors(names, self._run, self._arun) if pgvector else None
        self._open()
        _open_stores.add(self)
        renew_in_children(self, PostgresStore._start_anew_after_fork)

    def _open(self) -> None:
        """Start without connections."""
        self._clients: PerLoop[Client] = PerLoop(self._new_client, Client.aclose, Client.abandon)
        self._lanes = Lanes(self._new_lane_client, self._size, self._database.timeout)
        self._sweeper = Sweeper(self.sweep, self._sweep_interval)

    def _new_client(self) -> Client:
        if self._pool is not None:
            return Client(self._database, PoolConnections(self._pool), self._size)
        return Client(self._database, OwnConnections(self._database, self._size), self._size)

    def _new_lane_client(self, has_others: Callable[[], bool]) -> Client:
        return Client(self._database, OwnConnections(self._database, 1), 1, has_others)

    def __repr__(self) -> str:
        """Return the class and where the records are."""
        names = self._database.names
        where = f"{self._database.name!r}, schema={names.schema!r}, prefix={names.prefix!r}"
        return f"{type(self).__name__}({where})"

    @property
    def vector_search(self) -> PgVectors | None:
        """The search of collections with pgvector; None if it is turned off."""
        return self._vectors

    def setup(self) -> None:
        """Create missing tables and functions, as the first call does.

        This also restores tables that were dropped since.

        Raises:
            SetupRequiredError: The role cannot create them; the message has the SQL.
            StoreFormatError: A newer release created them.
        """
        self._run(Client.setup)

    async def asetup(self) -> None:
        """Create missing tables and functions as `setup` does."""
        await self._arun(Client.setup)

    def read(self, queries: Sequence[Query]) -> list[Result]:
        """Answer `queries` in one round trip, with one `Result` each, in order."""
        self._begin_read(queries)
        if not queries:
            return []
        return self._run(lambda client: client.read(queries))

    async def aread(self, queries: Sequence[Query]) -> list[Result]:
        """Answer `queries` as `read` does."""
        self._begin_read(queries)
        if not queries:
            return []
        return await self._arun(lambda client: client.read_shared(queries))

    def write(self, batches: Sequence[Batch]) -> None:
        """Apply `batches` in order, in one round trip and one transaction.

        Raises:
            ConflictError: An expectation did not hold. That batch and those
                after it were not applied; those before it were.
        """
        self._begin_write(batches)
        if batches:
            write = Write.of(batches)
            self._run(lambda client: client.write(write))

    async def awrite(self, batches: Sequence[Batch]) -> None:
        """Apply `batches` as `write` does.

        A canceled call may have been applied.
        """
        self._begin_write(batches)
        if batches:
            write = Write.of(batches)
            await self._arun(lambda client: client.write_shared(write))

    def namespaces(
        self, prefix: str = "", *, after: str | None = None, limit: int | None = None
    ) -> list[str]:
        """Return the namespaces that start with `prefix`, in UTF-8 byte order."""
        request = self._listing(prefix, after, limit)
        return [row[0] for row in self._run(lambda client: client.fetch(*request))]

    async def anamespaces(
        self, prefix: str = "", *, after: str | None = None, limit: int | None = None
    ) -> list[str]:
        """Return namespaces as `namespaces` does."""
        request = self._listing(prefix, after, limit)
        return [row[0] for row in await self._arun(lambda client: client.fetch(*request))]

    def copy(self, source: str, target: str) -> None:
        """Replace the records of `target` with those of `source`, within the server."""
        self._begin_copy(source, target)
        if source != target:
            write = Write.of([CopyOf(target, source)])
            self._run(lambda client: client.write(write))

    async def acopy(self, source: str, target: str) -> None:
        """Copy a namespace as `copy` does."""
        self._begin_copy(source, target)
        if source != target:
            write = Write.of([CopyOf(target, source)])
            await self._arun(lambda client: client.write_shared(write))

    def __len__(self) -> int:
        """Return the number of records in all namespaces."""
        return self._run(self._count)

    async def alength(self) -> int:
        """Return the number of records, as `len(store)` does."""
        return await self._arun(self._count)

    def sweep(self) -> int:
        """Remove the records of expired namespaces, which are invisible already.

        Works in steps, each a transaction over some namespaces, and skips those
        that are in use. The SQL function `{prefix}_sweep()` does one step.

        Returns:
            The number of namespaces removed.
        """
        swept = 0
        while count := self._run(self._sweep_some):
            swept += count
        return swept

    async def asweep(self) -> int:
        """Remove expired records as `sweep` does."""
        swept = 0
        while count := await self._arun(self._sweep_some):
            swept += count
        return swept

    def close(self) -> None:
        """Finish pending requests, close all connections and stop the sweeper.

        Connections of other event loops are closed as soon as those loops run. In
        the event loop of the store's pool, this does not wait for the sweeper, which
        works in that loop: await `aclose()` instead.
        """
        self._closed = True
        self._sweeper.stop(wait=self._pool_loop is None or not self._pool_loop.is_here())
        self._clients.close()
        self._lanes.close()

    async def aclose(self) -> None:
        """Close the store as `close` does."""
        self._closed = True
        await self._clients.aclose()
        await asyncio.to_thread(self.close)

    def _run(self, ask: Callable[[Client], Coroutine[Any, Any, T]]) -> T:
        self._check_open()
        if self._pool_loop is None:
            return self._lanes.run(ask)
        return self._pool_loop.run(partial(self._ask_there, ask))

    def _arun(self, ask: Callable[[Client], Awaitable[T]]) -> Awaitable[T]:
        # Not a coroutine: Python's garbage collector walks over all that a waiting call holds.
        self._check_open()
        if self._pool_loop is None or self._pool_loop.is_here():
            return ask(self._clients.get())
        return self._pool_loop.arun(partial(self._ask_there, ask))

    async def _ask_there(self, ask: Callable[[Client], Awaitable[T]]) -> T:
        """Run `ask` in the event loop of the pool."""
        self._check_open()
        return await ask(self._clients.get())

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosedError

    def _begin_read(self, queries: Sequence[Query]) -> None:
        """Check `queries`, and start the sweeper if one sets a time to live."""
        check_queries(queries)
        self._check_open()
        if any(query.ttl is not None for query in queries):
            self._sweeper.start()

    def _begin_write(self, batches: Sequence[Batch]) -> None:
        """Check `batches`, and start the sweeper if one sets a time to live."""
        check_batches(batches)
        self._check_open()
        if any(batch.ttl is not None for batch in batches):
            self._sweeper.start()

    def _begin_copy(self, source: str, target: str) -> None:
        check_name(source, "source")
        check_name(target, "target")
        self._check_open()

    def _listing(self, prefix: str, after: str | None, limit: int | None) -> tuple[Any, ...]:
        """Return the statement that lists namespaces, and its arguments."""
        check_listing(prefix, after, limit)
        self._check_open()
        stop = prefix_end(prefix)
        sql = self._database.names.fill_in(_LIST.format("" if stop is None else "AND name < $4"))
        most = None if limit is None else min(limit, 2**63 - 1)
        arguments = (sql, max(prefix, after or ""), after or "", most)
        return arguments if stop is None else (*arguments, stop)

    async def _count(self, client: Client) -> int:
        [row] = await client.fetch(self._database.names.fill_in(_COUNT))
        count: int = row[0]
        return count

    async def _sweep_some(self, client: Client) -> int:
        sql = self._database.names.fill_in("SELECT {sweep}($1)")
        [row] = await client.fetch(sql, _SWEPT_AT_ONCE)
        swept: int = row[0]
        return swept

    def _start_anew_after_fork(self) -> None:
        leave_to_parent(self._clients, self._clients.loops(), self._lanes, self._sweeper)
        self._open()
        if self._pool is not None:
            self._closed = True


def open_url(url: str, *, allow: Allow = (), **options: Any) -> PostgresStore:
    """Open the store at `postgresql://...`; options are those of `PostgresStore`."""
    return PostgresStore(url, allow=allow, **options)


_LIVES = "emptied_at IS NULL AND (expires_at IS NULL OR expires_at > statement_timestamp())"
_LIST = (
    f"SELECT name FROM {{{{namespaces}}}} WHERE name >= $1 AND name <> $2 {{}} AND {_LIVES} "
    "ORDER BY name LIMIT $3"
)
_COUNT = f"SELECT count(*) FROM {{namespaces}} JOIN {{records}} ON namespace = name WHERE {_LIVES}"

_open_stores: weakref.WeakSet[PostgresStore] = weakref.WeakSet()


def _close_all() -> None:
    for store in list(_open_stores):
        store.close()


atexit.register(_close_all)

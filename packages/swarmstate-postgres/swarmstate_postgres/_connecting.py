"""Where connections come from: opened here, or lent by a given pool."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import asyncpg
from swarmstate.errors import StoreUnavailableError

from ._clock import ServerClock
from ._hand import is_simple
from ._schema import Names
from ._setup import ensure_setup, server_time

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    from ._url import Target

    AnyConnection = asyncpg.Connection | PoolConnectionProxy

__all__ = ["FULL_SECONDS", "Database", "OwnConnections", "PoolConnections", "Source", "within"]

T = TypeVar("T")

# A connection that was idle for longer may be dead.
_IDLE_SECONDS = 1.0
# How long to wait before asking a full server for another connection.
FULL_SECONDS = 1.0
# How long the server may take to cancel a request before the connection is ended.
_GRACE_SECONDS = 1.0
_APPLICATION = "swarmstate"


class Database:
    """The state that all event loops of a store share; holds no connection.

    Args:
        target: The server; None if connections come from a pool.
        names: The names of tables and functions.
        statement_cache_size: How many prepared statements a connection keeps; 0 for none.
        timeout: Seconds that a call may take.

    Attributes:
        is_ready: Whether the tables are known to exist.
        name: The server's name in messages.
        clock: A lower bound of the server's time.
    """

    def __init__(
        self, target: Target | None, names: Names, *, statement_cache_size: int, timeout: float
    ) -> None:
        self._target = target
        self.names = names
        self.timeout = timeout
        self.is_ready = False
        self.clock = ServerClock()
        self.name = target.name if target is not None else "the pool's server"
        self._statement_cache_size = statement_cache_size
        self.read_sql = names.fill_in(f"SELECT * FROM {{read}}({_parameters(10)})")
        self.renew_sql = names.fill_in(
            f"SELECT r.* FROM {{renew}}($11, $12), {{read}}({_parameters(10)}) AS r"
        )
        self.write_sql = names.fill_in(f"SELECT * FROM {{write}}({_parameters(26)})")

    async def connect(self, timeout: float) -> _Connection:
        """Open a connection."""
        assert self._target is not None
        self._target.check_user()
        timeout = min(timeout, self._target.connect_timeout or timeout)
        try:
            return await self._connect(self._target, timeout)
        except (FileNotFoundError, PermissionError):
            # A missing socket file may appear with the server; a certificate file will not.
            self._target.check_files()
            raise
        except (TimeoutError, asyncio.TimeoutError) as error:
            # Nothing was sent yet, unlike when an answer does not arrive in time.
            raise ConnectionError(f"no connection within {timeout:.1f} s") from error

    async def _connect(self, target: Target, timeout: float) -> _Connection:
        connection: _Connection = await asyncpg.connect(
            target.dsn,
            password=target.password,
            timeout=timeout,
            statement_cache_size=self._statement_cache_size,
            # Large statements are few and never change, so they stay prepared.
            max_cached_statement_lifetime=0,
            max_cacheable_statement_size=0,
            server_settings={"application_name": target.application_name or _APPLICATION},
            connection_class=_Connection,
        )
        return connection

    async def make_ready(self, connection: AnyConnection, timeout: float) -> None:
        """Set up the database if that has not been done yet."""
        if not self.is_ready:
            setting_up = ensure_setup(connection, self.names, self.name)
            self.clock.saw(await within(timeout, connection, setting_up))
            self.is_ready = True

    async def renew_clock(self, connection: AnyConnection, timeout: float) -> None:
        """Ask for the server's time if it was last seen too long ago."""
        if self.clock.is_old():
            self.clock.saw(await server_time(connection, timeout))


async def within(timeout: float, connection: AnyConnection, work: Coroutine[Any, Any, T]) -> T:
    """Await work over a connection; if it exceeds the timeout, end the connection.

    Canceling the work is not enough: a canceled transaction is rolled back first, and a server
    that does not respond does not respond to that either.

    Raises:
        asyncio.TimeoutError: The work took longer.
    """
    # In a task: since Python 3.12 timeouts, including the driver's, need one, and `HandLoop` runs
    # coroutines by hand without one.
    task = asyncio.get_running_loop().create_task(work)
    try:
        await asyncio.wait([task], timeout=timeout)
        if task.done():
            return task.result()
        task.cancel()
        await asyncio.wait([task], timeout=_GRACE_SECONDS)
    finally:
        if not task.done():
            connection.terminate()
            task.cancel()
            await asyncio.wait([task], timeout=_GRACE_SECONDS)
        if task.done() and not task.cancelled():
            # Retrieved, so that asyncio does not report it as never retrieved.
            task.exception()
    raise asyncio.TimeoutError


class _Connection(asyncpg.Connection):
    """A connection that can be dropped while its event loop is not running."""

    __slots__ = ("_swarmstate_loop", "_swarmstate_transport", "simple_transport")

    def __init__(self, protocol: Any, transport: asyncio.Transport, *others: Any) -> None:
        super().__init__(protocol, transport, *others)
        self._swarmstate_loop = asyncio.get_running_loop()
        self._swarmstate_transport = transport
        self.simple_transport = transport if is_simple(transport) else None

    def drop(self) -> None:
        """End the connection without its event loop and without waiting."""
        found: socket.socket | None = self._swarmstate_transport.get_extra_info("socket")
        if found is not None:
            with suppress(OSError):
                try:
                    found.shutdown(socket.SHUT_RDWR)
                except TypeError:
                    # uvloop's pseudo-socket has no `shutdown`.
                    self._shut_down_as(found)
        # Closes the socket when the loop runs again. A closed loop never does.
        with suppress(RuntimeError):
            self.terminate()

    def _shut_down_as(self, shown: socket.socket) -> None:
        # Once closed, as it is at the latest with its loop, its descriptor may be reused.
        gone = self._swarmstate_loop.is_closed() or self._swarmstate_transport.is_closing()
        if not gone and not self.is_closed():
            with socket.fromfd(shown.fileno(), shown.family, shown.type) as same:
                same.shutdown(socket.SHUT_RDWR)


class Source(Protocol):
    """Lends the connections of one event loop."""

    def connection(self, timeout: float) -> AbstractAsyncContextManager[AnyConnection]:
        """Lend a connection; a broken one is not lent again."""

    async def aclose(self) -> None:
        """Close the connections, waiting for those in use."""

    def abandon(self) -> None:
        """Drop the connections without running their loop."""

    def next_transport(self) -> asyncio.Transport | None:
        """Return the transport of the next connection to lend, if it is simple and alive."""


class OwnConnections:
    """Up to `size` connections, opened on demand and then kept.

    If the server has room for fewer, callers take turns with those that are open.
    """

    def __init__(self, database: Database, size: int) -> None:
        self._database = database
        # Last in, first out: the server process used last is the warmest.
        self._idle: list[tuple[_Connection, float]] = []
        self._open: set[_Connection] = set()
        self._free = asyncio.Semaphore(size)
        self._size = size
        # Callers waiting for a connection in use, because the server has no room for another.
        self._waiting: deque[asyncio.Future[_Connection | None]] = deque()
        self._full_until = 0.0

    @asynccontextmanager
    async def connection(self, timeout: float) -> AsyncIterator[AnyConnection]:
        """Lend a connection."""
        async with self._free:
            try:
                connection = await self._take(timeout)
            except BaseException:
                # No open connection is left for the other callers to wait for.
                if not self._open:
                    self._wake(None)
                raise
            try:
                yield connection
            except asyncpg.PostgresError:
                # The server reported it, so the connection still works, unless it is closed.
                self._give_back(connection)
                raise
            except BaseException:
                connection.terminate()
                self._give_back(connection)
                raise
            self._give_back(connection)

    def next_transport(self) -> asyncio.Transport | None:
        """Return the transport of the next connection to lend, if it is simple and alive."""
        if not self._idle:
            return None
        connection, since = self._idle[-1]
        if monotonic() - since > _IDLE_SECONDS or connection.is_closed():
            return None
        return connection.simple_transport

    async def _take(self, timeout: float) -> _Connection:
        deadline = monotonic() + timeout
        while True:
            while self._idle:
                connection, since = self._idle.pop()
                if monotonic() - since > _IDLE_SECONDS:
                    # Let the loop notice if the server has closed it meanwhile.
                    for _ in range(3):
                        await asyncio.sleep(0)
                if not connection.is_closed():
                    return connection
                self._open.discard(connection)
            now = monotonic()
            if self._open and now < min(self._full_until, deadline):
                handed = await self._wait(min(self._full_until, deadline) - now)
                if handed is not None:
                    return handed
                continue
            try:
                connection = await self._database.connect(max(0.1, deadline - now))
            except asyncpg.TooManyConnectionsError:
                if not self._open or now >= deadline:
                    raise
                self._full_until = monotonic() + FULL_SECONDS
            else:
                self._open.add(connection)
                return connection

    async def _wait(self, timeout: float) -> _Connection | None:
        """Return a connection given back; None if one ended or the timeout passed."""
        waiter: asyncio.Future[_Connection | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await asyncio.wait([waiter], timeout=timeout)
        except BaseException:
            if waiter.done() and (connection := waiter.result()) is not None:
                self._give_back(connection)
            raise
        finally:
            if not waiter.done():
                waiter.cancel()
                self._waiting.remove(waiter)
        return waiter.result() if not waiter.cancelled() else None

    def _give_back(self, connection: _Connection) -> None:
        is_closed = connection.is_closed()
        if is_closed:
            self._open.discard(connection)
        if not self._wake(None if is_closed else connection) and not is_closed:
            self._idle.append((connection, monotonic()))

    def _wake(self, connection: _Connection | None) -> bool:
        """Hand a connection, or None, to the longest waiter; return whether there was one."""
        if self._waiting:
            self._waiting.popleft().set_result(connection)
            return True
        return False

    async def aclose(self) -> None:
        """Close all connections, after those in use are given back."""
        try:
            for _ in range(self._size):
                await self._free.acquire()
            for connection in list(self._open):
                with suppress(
                    OSError, asyncio.TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError
                ):
                    await connection.close(timeout=5)
        finally:
            # End those that could not be closed, or not before the loop ended.
            for connection in self._open:
                connection.terminate()
            self._open.clear()
            self._idle.clear()
        for _ in range(self._size):
            self._free.release()

    def abandon(self) -> None:
        """Drop the connections without running their loop."""
        for connection in list(self._open):
            connection.drop()
        self._open.clear()
        self._idle.clear()


class PoolConnections:
    """The connections of a pool that the caller opens and closes."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def connection(self, timeout: float) -> AsyncIterator[AnyConnection]:
        """Lend a connection of the pool.

        Raises:
            StoreUnavailableError: It has none to spare, or is closed for good.
        """
        if self._pool.is_closing():
            raise StoreUnavailableError(
                "the store's pool is closed: close a pool only after its stores, and open a new "
                "store with a new pool"
            )
        try:
            connection = await self._pool.acquire(timeout=timeout)
        except (TimeoutError, asyncio.TimeoutError) as error:
            raise StoreUnavailableError(
                f"the pool provided no connection within {timeout:.1f} s, so nothing was sent: "
                f"all {self._pool.get_max_size()} may be in use, or its server may not be "
                "answering; enlarge the pool, or release connections sooner"
            ) from error
        try:
            yield connection
        finally:
            await self._pool.release(connection)

    async def aclose(self) -> None:
        """Leave the pool open: it belongs to the caller."""

    def abandon(self) -> None:
        """Leave the pool open: it belongs to the caller."""

    def next_transport(self) -> asyncio.Transport | None:
        """Return None: it is unknown which connection the pool will lend."""
        return None


def _parameters(count: int) -> str:
    return ", ".join(f"${number}" for number in range(1, count + 1))

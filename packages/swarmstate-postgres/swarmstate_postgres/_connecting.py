"""Where connections come from: opened here, or taken from a pool that was handed in."""

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

# After so long a connection may well be dead.
_IDLE_SECONDS = 1.0
# For so long a server that had no room for one more connection is not asked for another.
FULL_SECONDS = 1.0
# For so long the server is asked to stop what took too long, before the connection is ended.
_GRACE_SECONDS = 1.0
_APPLICATION = "swarmstate"


class Database:
    """What all event loops of a store share; holds no connection.

    Args:
        target: The server; None if a pool leads there.
        names: The names of tables and functions.
        statement_cache_size: How many prepared statements a connection keeps; 0 for none.
        timeout: Seconds that a call may take.

    Attributes:
        is_ready: The tables are known to be there.
        name: What messages call the server.
        clock: What the server's clock shows.
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
            # A socket's file comes with the server, one of certificates does not by itself.
            self._target.check_files()
            raise
        except (TimeoutError, asyncio.TimeoutError) as error:
            # Nothing was asked yet, unlike where an answer does not come in time.
            raise ConnectionError(f"no connection within {timeout:.1f} s") from error

    async def _connect(self, target: Target, timeout: float) -> _Connection:
        connection: _Connection = await asyncpg.connect(
            target.dsn,
            password=target.password,
            timeout=timeout,
            statement_cache_size=self._statement_cache_size,
            # Large statements are few and always the same; they stay prepared.
            max_cached_statement_lifetime=0,
            max_cacheable_statement_size=0,
            server_settings={"application_name": target.application_name or _APPLICATION},
            connection_class=_Connection,
        )
        return connection

    async def make_ready(self, connection: AnyConnection, timeout: float) -> None:
        """Set the database up if that is still to be done."""
        if not self.is_ready:
            setting_up = ensure_setup(connection, self.names, self.name)
            self.clock.saw(await within(timeout, connection, setting_up))
            self.is_ready = True

    async def renew_clock(self, connection: AnyConnection, timeout: float) -> None:
        """Ask what time it is at the server if that was not seen for long."""
        if self.clock.is_old():
            self.clock.saw(await server_time(connection, timeout))


async def within(timeout: float, connection: AnyConnection, work: Coroutine[Any, Any, T]) -> T:
    """Await work over a connection for so many seconds; the connection is ended if it goes on.

    To cancel it alone is not enough: a transaction that is cancelled is rolled back first, and a
    server that does not answer does not answer that either.

    Raises:
        asyncio.TimeoutError: It took longer.
    """
    # In a task: timeouts, the driver's among them, need one from Python 3.12 on, and what a
    # `HandLoop` runs by hand has none.
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
            # Nobody else is told.
            task.exception()
    raise asyncio.TimeoutError


class _Connection(asyncpg.Connection):
    """A connection that can be dropped where its event loop does not run."""

    __slots__ = ("_swarmstate_loop", "_swarmstate_transport", "simple_transport")

    def __init__(self, protocol: Any, transport: asyncio.Transport, *others: Any) -> None:
        super().__init__(protocol, transport, *others)
        self._swarmstate_loop = asyncio.get_running_loop()
        self._swarmstate_transport = transport
        self.simple_transport = transport if is_simple(transport) else None

    def drop(self) -> None:
        """End the connection without its event loop, and without waiting."""
        found: socket.socket | None = self._swarmstate_transport.get_extra_info("socket")
        if found is not None:
            with suppress(OSError):
                try:
                    found.shutdown(socket.SHUT_RDWR)
                except TypeError:
                    # What uvloop shows cannot do that.
                    self._shut_down_as(found)
        # Closes the socket when the loop runs again; one that is closed never does.
        with suppress(RuntimeError):
            self.terminate()

    def _shut_down_as(self, shown: socket.socket) -> None:
        # Its number may be another one's when it is closed, as it is at the latest with its loop.
        gone = self._swarmstate_loop.is_closed() or self._swarmstate_transport.is_closing()
        if not gone and not self.is_closed():
            with socket.fromfd(shown.fileno(), shown.family, shown.type) as same:
                same.shutdown(socket.SHUT_RDWR)


class Source(Protocol):
    """Gives out connections of one event loop."""

    def connection(self, timeout: float) -> AbstractAsyncContextManager[AnyConnection]:
        """Lend a connection; one that was left by an error is not lent again."""

    async def aclose(self) -> None:
        """Close connections, waiting for those in use."""

    def abandon(self) -> None:
        """Let go of connections without their loop."""

    def next_transport(self) -> asyncio.Transport | None:
        """Return the transport of the connection that is lent next, if it is simple and alive."""


class OwnConnections:
    """Up to `size` connections, opened when they are needed and then kept.

    Where the server has room for fewer, those that are open are lent by turns.
    """

    def __init__(self, database: Database, size: int) -> None:
        self._database = database
        # The last one used is the first one taken: its server process is the warmest.
        self._idle: list[tuple[_Connection, float]] = []
        self._open: set[_Connection] = set()
        self._free = asyncio.Semaphore(size)
        self._size = size
        # Who waits for a connection in use, since the server has no room for one more.
        self._waiting: deque[asyncio.Future[_Connection | None]] = deque()
        self._full_until = 0.0

    @asynccontextmanager
    async def connection(self, timeout: float) -> AsyncIterator[AnyConnection]:
        """Lend a connection."""
        async with self._free:
            try:
                connection = await self._take(timeout)
            except BaseException:
                # Whoever else waits would wait for this one.
                if not self._open:
                    self._wake(None)
                raise
            try:
                yield connection
            except asyncpg.PostgresError:
                # The server reported it; the connection is as good as before, unless it is closed.
                self._give_back(connection)
                raise
            except BaseException:
                connection.terminate()
                self._give_back(connection)
                raise
            self._give_back(connection)

    def next_transport(self) -> asyncio.Transport | None:
        """Return the transport of the connection that is lent next, if it is simple and alive."""
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
                    # Lets the loop notice that the server has closed it meanwhile.
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
        """Return a connection that somebody gives back; None if one ended, or none came in time."""
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
        """Hand a connection, or None, to who waits for longest; return False if nobody waits."""
        if self._waiting:
            self._waiting.popleft().set_result(connection)
            return True
        return False

    async def aclose(self) -> None:
        """Close all connections; those in use when their use ends."""
        try:
            for _ in range(self._size):
                await self._free.acquire()
            for connection in list(self._open):
                with suppress(
                    OSError, asyncio.TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError
                ):
                    await connection.close(timeout=5)
        finally:
            # Those that could not be closed, or not before the loop ended.
            for connection in self._open:
                connection.terminate()
            self._open.clear()
            self._idle.clear()
        for _ in range(self._size):
            self._free.release()

    def abandon(self) -> None:
        """Let go of the connections without their loop."""
        for connection in list(self._open):
            connection.drop()
        self._open.clear()
        self._idle.clear()


class PoolConnections:
    """The connections of a pool that somebody else opened, and closes."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def connection(self, timeout: float) -> AsyncIterator[AnyConnection]:
        """Lend a connection of the pool."""
        try:
            connection = await self._pool.acquire(timeout=timeout)
        except (TimeoutError, asyncio.TimeoutError) as error:
            raise StoreUnavailableError(
                f"the pool lent no connection within {timeout:.1f} s, so nothing was asked: all "
                f"{self._pool.get_max_size()} may be in use by others, or its server may not "
                "answer; make the pool larger, or give connections back sooner"
            ) from error
        try:
            yield connection
        finally:
            await self._pool.release(connection)

    async def aclose(self) -> None:
        """Leave the pool open: it belongs to whoever handed it in."""

    def abandon(self) -> None:
        """Leave the pool open: it belongs to whoever handed it in."""

    def next_transport(self) -> asyncio.Transport | None:
        """Return None: which one the pool will lend is its own business."""
        return None


def _parameters(count: int) -> str:
    return ", ".join(f"${number}" for number in range(1, count + 1))

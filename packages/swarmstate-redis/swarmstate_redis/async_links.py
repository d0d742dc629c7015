"""One attempt to send commands and collect outcomes, over the connections of an event loop.

This is `links` for async callers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Protocol

import redis.asyncio
from redis.asyncio.connection import AbstractConnection as AsyncConnection
from redis.exceptions import ConnectionError as LostError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as LateError

from swarmstate_redis.commands import Outcome, Words, filled, packed
from swarmstate_redis.failures import FAILURES, AnswerTimeoutError, is_read_only
from swarmstate_redis.tls import explained, handshake_timeout


class AsyncLink(Protocol):
    """Sends commands over connections of one event loop."""

    async def send(self, commands: Sequence[Words]) -> list[Outcome]:
        """Send commands in one go and return their outcomes."""

    async def close(self) -> None:
        """Close the connections."""

    def abandon(self) -> None:
        """Release the connections when their loop no longer runs."""


class ConnectionsLink:
    """A link of one event loop to one server, with one connection per concurrent send.

    Args:
        make: Makes a connection, which need not be connected yet.
        timeout: Seconds to wait for a connection, and then for all replies.
        sentinels: Clients that locate the server; closing the link closes them.
    """

    def __init__(
        self,
        make: Callable[[], AsyncConnection],
        timeout: float,
        sentinels: Sequence[redis.asyncio.Redis] = (),
    ) -> None:
        self._make = make
        self._timeout = timeout
        self._sentinels = sentinels
        self._idle: list[AsyncConnection] = []
        self._connections: set[AsyncConnection] = set()

    async def send(self, commands: Sequence[Words]) -> list[Outcome]:
        """Send commands in one go and return their outcomes."""
        if self._idle:
            connection = self._idle.pop()
        else:
            try:
                connection = self._make()
            except FAILURES as error:
                # As in `links`.
                return filled([], commands, error)
            self._connections.add(connection)
        outcomes: list[Outcome] = []
        try:
            if not connection.is_connected:
                await self._connect(connection)
            alive = await asyncio.wait_for(_exchange(connection, commands, outcomes), self._timeout)
            if not alive:
                await connection.disconnect(nowait=True)
        except asyncio.TimeoutError:
            await connection.disconnect(nowait=True)
            late = AnswerTimeoutError(f"within {self._timeout:g} s")
            outcomes = filled(outcomes, commands, late)
        except FAILURES as error:
            await connection.disconnect(nowait=True)
            outcomes = filled(outcomes, commands, error)
        except BaseException:
            # Unread replies must not be mistaken for those of the next commands.
            await connection.disconnect(nowait=True)
            self._connections.discard(connection)
            raise
        self._idle.append(connection)
        return outcomes

    async def _connect(self, connection: AsyncConnection) -> None:
        try:
            # redis-py limits how long the server takes to accept, not how long it takes to greet.
            await asyncio.wait_for(connection.connect(), self._timeout)
        except (asyncio.TimeoutError, LateError) as error:
            if isinstance(connection, redis.asyncio.SSLConnection):
                limit = connection.socket_connect_timeout or self._timeout
                raise handshake_timeout(min(limit, self._timeout)) from error
            if isinstance(error, LateError):
                raise
            # Nothing was sent yet, so this is not a late answer.
            raise LostError(f"no handshake within {self._timeout:g} s") from None
        except FAILURES as error:
            raise explained(error, self._timeout) from error

    async def close(self) -> None:
        """Close the connections."""
        self._idle.clear()
        try:
            while self._connections:
                await self._end(self._connections.pop().disconnect())
        finally:
            # The rest, if the loop ends meanwhile, which cancels everything.
            while self._connections:
                await self._connections.pop().disconnect(nowait=True)
            for sentinel in self._sentinels:
                await self._end(sentinel.aclose())

    async def drop_idle(self) -> None:
        """Close the idle connections."""
        while self._idle:
            connection = self._idle.pop()
            self._connections.discard(connection)
            await connection.disconnect(nowait=True)

    async def _end(self, ending: Awaitable[None]) -> None:
        # If the server hangs, the connection is gone all the same.
        with suppress(asyncio.TimeoutError, *FAILURES):
            await asyncio.wait_for(ending, self._timeout)

    def abandon(self) -> None:
        """Do nothing: a loop that runs again closes them, any other has released them."""


async def _exchange(
    connection: AsyncConnection, commands: Sequence[Words], outcomes: list[Outcome]
) -> bool:
    """Send commands and collect their outcomes; return whether the connection is still good."""
    alive = True
    writer = connection._writer
    try:
        await connection.send_packed_command([packed(commands)])
        for _ in commands:
            try:
                outcomes.append(await connection.read_response(disable_decoding=True))
            except ResponseError as error:
                outcomes.append(error)
                # As in `links`.
                alive = alive and not is_read_only(error)
    except BaseException:
        # redis-py has closed it, but the loop would go on sending what is buffered.
        if writer is not None:
            writer.transport.abort()
        raise
    return alive

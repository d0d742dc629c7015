"""One attempt to send commands and collect outcomes, over connections that threads share.

A link never raises errors of a server or a connection: they are the outcomes of the
affected commands. `async_links` has the links of event loops.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Lock
from time import monotonic, sleep
from typing import Protocol

import redis
from redis.connection import AbstractConnection as Connection
from redis.exceptions import ConnectionError as LostError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as LateError

from swarmstate_redis.commands import Outcome, Words, filled, packed
from swarmstate_redis.failures import FAILURES, AnswerTimeoutError, is_full, is_read_only
from swarmstate_redis.tls import explained

# A connection that was idle for longer may be dead.
_IDLE_SECONDS = 1.0
# How long to wait before trying another connection after the server accepted no more clients.
_FULL_SECONDS = 1.0
# How often a thread that gives back the only free connection yields to others that may wait for it.
_TURN_SECONDS = 0.005


class Link(Protocol):
    """Sends commands over connections that threads share."""

    def send(self, commands: Sequence[Words]) -> list[Outcome]:
        """Send commands in one go and return their outcomes."""

    def close(self) -> None:
        """Close the connections."""


class PoolLink:
    """A link to one server through a pool of redis-py.

    Args:
        pool: The pool.
        owned: Whether closing the link closes the pool.
        sentinels: Clients that locate the server; closing the link closes them.
    """

    def __init__(
        self, pool: redis.ConnectionPool, *, owned: bool, sentinels: Sequence[redis.Redis] = ()
    ) -> None:
        self._pool = pool
        self._owned = owned
        self._sentinels = sentinels

    def send(self, commands: Sequence[Words]) -> list[Outcome]:
        """Send commands in one go and return their outcomes."""
        try:
            connection = self._pool.get_connection()
        except FAILURES as error:
            return [
                explained(error, self._pool.connection_kwargs.get("socket_timeout") or 0)
            ] * len(commands)
        try:
            return _answers(connection, commands, _sent(connection, commands))[0]
        finally:
            self._pool.release(connection)

    def close(self) -> None:
        """Close the connections if the link owns them."""
        if self._owned:
            self._pool.disconnect()
        for sentinel in self._sentinels:
            sentinel.close()


class DirectLink:
    """A link to one server over connections of its own.

    A redis-py pool checks whether a connection is alive each time it lends one, and keeps
    records, which together take as long as a command. Here a dead connection is noticed when
    it is used, which the store has to handle anyway. If the server accepts fewer clients,
    threads take turns with the existing connections.

    Args:
        make: Makes a connection, which need not be connected yet.
        timeout: Seconds to wait for a connection that others use.
        max_connections: The maximum number of connections.
    """

    def __init__(
        self, make: Callable[[], Connection], timeout: float, max_connections: int
    ) -> None:
        self._make = make
        self._timeout = timeout
        self._max_connections = max_connections
        self._closed = False
        self._starting = Lock()
        self._start()

    def _start(self) -> None:
        # Permits to use a connection, in a queue whose operations signals cannot interrupt.
        self._free: SimpleQueue[None] = SimpleQueue()
        for _ in range(self._max_connections):
            self._free.put(None)
        # How many permits are held back, and until when, if the server accepted no more clients.
        self._kept_back = 0
        self._full_until = 0.0
        self._keeping = Lock()
        self._next_turn = 0.0
        # The idle connections, and since when; the last one used is taken first.
        self._idle: list[tuple[Connection, float]] = []
        # Set last: a thread that sees the new process may use all of the above.
        self._process = os.getpid()

    def send(self, commands: Sequence[Words]) -> list[Outcome]:
        """Send commands in one go and return their outcomes."""
        return finished(self.sending(commands))

    def sending(self, commands: Sequence[Words]) -> Generator[None, None, list[Outcome]]:
        """Send commands in a first step, and return their outcomes in a second one."""
        if self._process != os.getpid():
            # After a fork the connections are the parent's.
            with self._starting:
                if self._process != os.getpid():
                    self._start()
        free = self._free
        permits: list[None] = []
        try:
            # A signal handler may raise after any call. A single call takes and stores the
            # permit, so it cannot get lost in between.
            while True:
                permits.extend(map(free.get, (True,), (self._timeout,)))
                try:
                    connection = self._take()
                except FAILURES as error:
                    # redis-py reads a file for each connection; no descriptor may be left.
                    unmade = [error] * len(commands)
                    yield
                    return unmade
                failure = _sent(connection, commands)
                if failure is None or not is_full(failure) or not self._keep_back(permits):
                    break
            try:
                yield
            except BaseException:
                # Unread replies must not be mistaken for those of the next commands.
                connection.disconnect()
                raise
            outcomes, alive = _answers(connection, commands, failure)
            if alive and not self._closed:
                self._idle.append((connection, monotonic()))
            else:
                # The other idle connections were most likely lost with it.
                connection.disconnect()
                if failure is None or not is_full(failure):
                    self.drop_idle()
            return outcomes
        except Empty:
            yield
            busy = LostError(
                f"all connections stayed in use (max_connections={self._max_connections})"
            )
            return [busy] * len(commands)
        finally:
            if permits:
                free.put(None)
                if free.qsize() == 1 and monotonic() >= self._next_turn:
                    # A waiting thread wakes up only while no other runs, and would find nothing
                    # if this thread went on and took the connection again.
                    self._next_turn = monotonic() + _TURN_SECONDS
                    sleep(0)
                if self._kept_back and monotonic() >= self._full_until:
                    self._give_out()

    def _keep_back(self, permits: list[None]) -> bool:
        """Hold back a permit for a while; return False if it is the last one."""
        with self._keeping:
            if self._kept_back == self._max_connections - 1:
                return False
            self._kept_back += 1
            self._full_until = monotonic() + _FULL_SECONDS
            permits.clear()
            return True

    def _give_out(self) -> None:
        """Release one of the permits that were held back."""
        with self._keeping:
            if self._kept_back:
                self._kept_back -= 1
                self._full_until = monotonic() + _FULL_SECONDS
                self._free.put(None)

    def _take(self) -> Connection:
        try:
            connection, since = self._idle.pop()
        except IndexError:
            return self._make()
        if monotonic() - since > _IDLE_SECONDS:
            try:
                # Nothing was asked, so anything to read is the end of the stream.
                is_alive = not connection.can_read()
            except FAILURES:
                is_alive = False
            if not is_alive:
                connection.disconnect()
        return connection

    def close(self) -> None:
        """Close the connections; those in use are closed when their use ends."""
        self._closed = True
        self.drop_idle()

    def drop_idle(self) -> None:
        """Close the idle connections."""
        with suppress(IndexError):
            while True:
                self._idle.pop()[0].disconnect()


def finished(sending: Generator[None, None, list[Outcome]]) -> list[Outcome]:
    """Run the remaining steps of `DirectLink.sending` and return the outcomes."""
    try:
        while True:
            next(sending)
    except StopIteration as done:
        outcomes: list[Outcome] = done.value
        return outcomes


def _sent(connection: Connection, commands: Sequence[Words]) -> Exception | None:
    """Send commands; return the error, if any."""
    try:
        connection.connect()
    except FAILURES as error:
        # `socket_timeout` also limits redis-py's TLS handshake.
        return explained(error, connection.socket_timeout or 0)
    try:
        connection.send_packed_command([packed(commands)])
    except LateError as error:
        connection.disconnect()
        return AnswerTimeoutError(f"in time ({error})")
    except FAILURES as error:
        connection.disconnect()
        return error
    except BaseException:
        connection.disconnect()
        raise
    return None


def _answers(
    connection: Connection, commands: Sequence[Words], failure: Exception | None
) -> tuple[list[Outcome], bool]:
    """Return the outcomes of sent commands, and whether the connection is still good."""
    outcomes: list[Outcome] = []
    if failure is not None:
        return filled(outcomes, commands, failure), False
    alive = True
    try:
        for _ in commands:
            try:
                outcomes.append(connection.read_response(disable_decoding=True))
            except ResponseError as error:
                outcomes.append(error)
                alive = alive and not is_read_only(error)
    except LateError as error:
        connection.disconnect()
        late = AnswerTimeoutError(f"in time ({error})")
        return filled(outcomes, commands, late), False
    except FAILURES as error:
        connection.disconnect()
        # The replies read so far count; the rest are unknown.
        return filled(outcomes, commands, error), False
    except BaseException:
        # Unread replies must not be mistaken for those of the next commands.
        connection.disconnect()
        raise
    if not alive:
        # The address may lead to the new master by now; this connection never will.
        connection.disconnect()
    return outcomes, alive

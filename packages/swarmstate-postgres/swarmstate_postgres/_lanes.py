"""Sync calls, each of which runs an event loop in the calling thread.

A lane is an event loop and a client whose connection belongs to it. The loop runs
only during a call, one call at a time and in its thread, so no call is handed to
another thread and no thread is kept alive.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from threading import Condition, Thread, get_ident
from time import monotonic
from typing import Any, NamedTuple, TypeVar

from swarmstate.errors import StoreClosedError, StoreUnavailableError

from ._client import Client
from ._connecting import FULL_SECONDS
from ._failures import is_full
from ._hand import HandLoop
from ._signals import PutOff

__all__ = ["Lanes"]

T = TypeVar("T")


_NO_ROOM = (
    "the server allows no more; see its max_connections and the CONNECTION LIMIT of the role and "
    "database"
)


class _Lane(NamedTuple):
    loop: HandLoop
    client: Client


class Lanes:
    """Up to `size` lanes, created on demand; may be used from any thread.

    If the server has room for fewer connections, calls take turns with those that exist.

    Args:
        make: Creates the client of a lane, given a function that returns whether there are others.
        size: How many calls may run at once; others wait for their turn.
        timeout: How many seconds they wait.
    """

    def __init__(
        self, make: Callable[[Callable[[], bool]], Client], size: int, timeout: float
    ) -> None:
        self._make = make
        self._size = size
        self._timeout = timeout
        self._changed = Condition()
        self._idle: list[_Lane] = []
        self._count = 0
        # The threads that are using a lane.
        self._users: list[int] = []
        # Until then no further lane is added: the server had no room for another connection.
        self._full_until = 0.0
        self._closed = False

    def run(self, ask: Callable[[Client], Coroutine[Any, Any, T]]) -> T:
        """Run `ask` to its end and return its result."""
        return _outside_of_loops(lambda: self._run(ask))

    def close(self) -> None:
        """Wait for running calls and close all lanes.

        If a signal handler closes within a call of this thread, that call continues afterwards.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            # Calls of other threads end by their timeouts; those of this thread wait for this.
            while self._count > len(self._idle) + self._users.count(get_ident()):
                self._changed.wait()
            lanes, self._idle = self._idle, []
            self._count -= len(lanes)
        _outside_of_loops(lambda: _end(lanes))

    def _run(self, ask: Callable[[Client], Coroutine[Any, Any, T]]) -> T:
        deadline = monotonic() + self._timeout
        with PutOff() as signals:
            while True:
                lane = self._take(deadline, signals)
                self._users.append(get_ident())
                transport = lane.client.next_transport()
                try:
                    result = lane.loop.finish(ask(lane.client), transport, signals)
                except BaseException as error:
                    if signals.has_raised or not isinstance(error, Exception):
                        # Interrupted, such as by Ctrl-C: the request is still in progress.
                        self._drop(lane)
                        raise
                    if is_full(error):
                        # Nothing was sent yet, and there are other lanes to wait for.
                        self._full_until = monotonic() + FULL_SECONDS
                        self._drop(lane)
                        continue
                    self._give_back(lane)
                    raise
                self._give_back(lane)
                return result

    def _has_others(self) -> bool:
        return self._count > 1

    def _take(self, deadline: float, signals: PutOff) -> _Lane:
        with self._changed:
            while self._closed or not self._idle:
                if self._closed:
                    raise StoreClosedError
                now = monotonic()
                may_add = self._count < self._size
                if may_add and (self._count == 0 or now >= self._full_until):
                    self._count += 1
                    break
                if now >= deadline:
                    raise StoreUnavailableError(
                        f"all connections for sync calls ({self._count}) were in use for "
                        f"{self._timeout} s: "
                        + (_NO_ROOM if may_add else "open the store with a larger max_size")
                    )
                until = min(deadline, self._full_until) if may_add else deadline
                signals.wait(partial(self._changed.wait, until - now))
            else:
                # The last one used: its server process is the warmest.
                return self._idle.pop()
        try:
            return _Lane(HandLoop(), self._make(self._has_others))
        except BaseException as error:
            with self._changed:
                self._count -= 1
                self._changed.notify_all()
            if isinstance(error, OSError):
                raise StoreUnavailableError(f"could not open a connection: {error}") from error
            raise

    def _give_back(self, lane: _Lane) -> None:
        with self._changed:
            if not self._closed:
                self._users.remove(get_ident())
                self._idle.append(lane)
                # Wakes callers that wait for a lane as well as `close`.
                self._changed.notify_all()
                return
        # `close` is waiting for this, or was called by a signal handler within the call.
        try:
            _end([lane])
        finally:
            self._forget()

    def _forget(self) -> None:
        """Stop counting a lane of this thread."""
        with self._changed:
            self._users.remove(get_ident())
            self._count -= 1
            self._changed.notify_all()

    def _drop(self, lane: _Lane) -> None:
        self._forget()
        # Let tasks start: one that never did would not release its coroutine when canceled.
        lane.loop.turn()
        tasks = asyncio.all_tasks(lane.loop)
        for task in tasks:
            task.cancel()
        with suppress(Exception):
            lane.loop.run_until_complete(_ended(tasks))
        lane.client.abandon()
        # Abandoned transports close in the next iteration.
        lane.loop.turn()
        lane.loop.close()


async def _ended(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Wait briefly for canceled tasks."""
    await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 1)


def _end(lanes: Sequence[_Lane]) -> None:
    for lane in lanes:
        lane.loop.run_until_complete(lane.client.aclose())
        lane.loop.close()


def _outside_of_loops(work: Callable[[], T]) -> T:
    """Do `work` in this thread, or in a new one if an event loop runs in this one."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work()
    outcome: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:
            errors.append(error)

    thread = Thread(target=run, name="swarmstate-postgres-call")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return outcome[0]

"""Sync calls: each runs an event loop of its own in the calling thread, one at a time.

A lane is an event loop and a client whose connection lives in it. The loop runs
only while a call does, in the thread of that call, so no call is handed to
another thread and no thread is kept.
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
    "the server has no room for more, see its max_connections and the CONNECTION LIMIT of role and "
    "database"
)


class _Lane(NamedTuple):
    loop: HandLoop
    client: Client


class Lanes:
    """Up to `size` lanes, made when they are needed; may be used from any thread.

    Where the server has room for fewer connections, calls take turns with those that there are.

    Args:
        make: Makes the client of a lane, given what tells whether there are others.
        size: How many calls may run at once; others wait for their turn.
        timeout: For how many seconds they wait.
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
        # The threads that have a lane in use.
        self._users: list[int] = []
        # Until then no lane is added to others: the server had no room for one more.
        self._full_until = 0.0
        self._closed = False

    def run(self, ask: Callable[[Client], Coroutine[Any, Any, T]]) -> T:
        """Run `ask` to its end and return what it returns."""
        return _outside_of_loops(lambda: self._run(ask))

    def close(self) -> None:
        """Wait for running calls and close all lanes.

        A call of this thread, within which the handler of a signal closes, goes on afterwards.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            # Every call ends, since each has a timeout; those of this thread cannot before this.
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
                        # Interrupted, such as by Ctrl-C: it is still at work.
                        self._drop(lane)
                        raise
                    if is_full(error):
                        # Nothing was asked yet, and there are others to wait for.
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
                        f"all {self._count} connections for sync calls were in use for "
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
                raise StoreUnavailableError(f"no connection could be begun: {error}") from error
            raise

    def _give_back(self, lane: _Lane) -> None:
        with self._changed:
            if not self._closed:
                self._users.remove(get_ident())
                self._idle.append(lane)
                # One for a caller, one for whoever closes.
                self._changed.notify_all()
                return
        # Whoever closes waits for this, or was called by a handler within the call.
        try:
            _end([lane])
        finally:
            self._forget()

    def _forget(self) -> None:
        """Count a lane of this thread no more."""
        with self._changed:
            self._users.remove(get_ident())
            self._count -= 1
            self._changed.notify_all()

    def _drop(self, lane: _Lane) -> None:
        self._forget()
        # A task that has not begun would never give up what it was made of.
        lane.loop.turn()
        tasks = asyncio.all_tasks(lane.loop)
        for task in tasks:
            task.cancel()
        with suppress(Exception):
            lane.loop.run_until_complete(_ended(tasks))
        lane.client.abandon()
        # The transports of what was abandoned close in the next turn.
        lane.loop.turn()
        lane.loop.close()


async def _ended(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Wait for tasks that were cancelled, but not for long."""
    await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 1)


def _end(lanes: Sequence[_Lane]) -> None:
    for lane in lanes:
        lane.loop.run_until_complete(lane.client.aclose())
        lane.loop.close()


def _outside_of_loops(work: Callable[[], T]) -> T:
    """Do `work` in this thread, or in another one if an event loop runs in this one."""
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

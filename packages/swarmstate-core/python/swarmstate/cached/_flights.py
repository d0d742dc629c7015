"""Single flight: if several callers need the same result at the same time, one computes it.

A flight that ends with a result or an exception hands it to all who wait. A flight
that was broken off, because its thread was interrupted or its event loop ended, has
nothing to hand over: one of those who wait starts again.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Hashable
from concurrent.futures import Future
from functools import partial
from typing import Any, Generic, TypeVar

from swarmstate.forking import renew_in_children

__all__ = ["AsyncFlights", "Flights"]

T = TypeVar("T")
FlightT = TypeVar("FlightT")


class _BrokenOffError(Exception):
    """A flight ended without a result."""


class _ByKey(Generic[FlightT]):
    """The flights that are under way, by key."""

    def __init__(self) -> None:
        self._renew()
        renew_in_children(self, _ByKey._renew)

    def _renew(self) -> None:
        """Forget the flights under way: in a forked child, nothing is computing them."""
        self._lock = threading.Lock()
        self._under_way: dict[Hashable, FlightT] = {}


class Flights(_ByKey[tuple[Future[T], int]]):
    """Flights of functions, by key. Safe for threads."""

    def result(self, key: Hashable, compute: Callable[[], T]) -> T:
        """Return the result of `compute`, or that of a flight that is under way in another thread.

        A call from within the flight of the same key computes for itself.

        Raises:
            Exception: The exception that `compute` raised, here or there.
        """
        while True:
            with self._lock:
                waited = self._under_way.get(key)
                if waited is None:
                    flight = Future[T]()
                    self._under_way[key] = flight, threading.get_ident()
            if waited is None:
                return self._lead(key, flight, compute)
            if waited[1] == threading.get_ident():
                return compute()
            try:
                return waited[0].result()
            except _BrokenOffError:
                continue

    def _lead(self, key: Hashable, flight: Future[T], compute: Callable[[], T]) -> T:
        try:
            value = compute()
        except BaseException as error:
            self._end(key)
            flight.set_exception(error if isinstance(error, Exception) else _BrokenOffError())
            raise
        # End the flight before publishing its result: later callers find the remembered one.
        self._end(key)
        flight.set_result(value)
        return value

    def _end(self, key: Hashable) -> None:
        with self._lock:
            # If `compute` forked, the flight is not there in the child.
            self._under_way.pop(key, None)


class _AsyncFlight(Generic[T]):
    """A task that computes a result, and the number of callers waiting for it."""

    def __init__(self) -> None:
        self.future: Future[T] = Future()
        self.loop = asyncio.get_running_loop()
        self.task: asyncio.Task[None] | None = None
        self.waiting = 0


async def _done(future: Future[Any]) -> None:
    """Wait until a future is done, whatever its outcome.

    Unlike with `asyncio.wrap_future`, cancelling the wait leaves nothing behind that
    warns about an exception that was never retrieved.
    """
    loop = asyncio.get_running_loop()
    woken = asyncio.Event()

    def wake(_: Future[Any]) -> None:
        # A loop that has been closed in the meantime is waiting for nothing.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(woken.set)

    future.add_done_callback(wake)
    await woken.wait()


class AsyncFlights(_ByKey[_AsyncFlight[T]]):
    """Flights of coroutines, by key. Safe for event loops in several threads."""

    async def result(self, key: Hashable, compute: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return the result of awaiting `compute()`, or that of a flight under way.

        The computation is a task of its own: a cancelled call only stops waiting, unless it
        is the last one waiting: then the task is cancelled, too. A call from within that
        task computes for itself.

        Raises:
            Exception: The exception that the computation raised.
            asyncio.CancelledError: The computation that this call began was cancelled.
        """
        while True:
            with self._lock:
                flight = self._under_way.get(key)
                begins = flight is None
                if flight is None:
                    flight = self._under_way[key] = _AsyncFlight()
                is_own = not begins and flight.task is asyncio.current_task()
                flight.waiting += not is_own
            if is_own:
                return await compute()
            try:
                if begins:
                    # Not under the lock: an eager task factory may run it at once, even to its end.
                    task = flight.loop.create_task(self._fly(key, flight, compute))
                    flight.task = task
                    task.add_done_callback(partial(self._landed, key, flight))
                await _done(flight.future)
                return flight.future.result()
            except _BrokenOffError:
                if begins:
                    # As if it had been awaited here. Starting again might never end.
                    raise asyncio.CancelledError from None
            finally:
                self._leave(key, flight)

    async def _fly(
        self,
        key: Hashable,
        flight: _AsyncFlight[T],
        compute: Callable[[], Coroutine[Any, Any, T]],
    ) -> None:
        # The computation may call itself before its caller has stored the task.
        flight.task = asyncio.current_task()
        try:
            value = await compute()
        except Exception as error:
            self._end(key, flight)
            flight.future.set_exception(error)
        else:
            self._end(key, flight)
            flight.future.set_result(value)

    def _landed(self, key: Hashable, flight: _AsyncFlight[T], _: asyncio.Task[None]) -> None:
        # A task may be cancelled before it has even begun.
        if not flight.future.done():
            self._end(key, flight)
            flight.future.set_exception(_BrokenOffError())

    def _leave(self, key: Hashable, flight: _AsyncFlight[T]) -> None:
        with self._lock:
            flight.waiting -= 1
            is_abandoned = flight.waiting == 0 and not flight.future.done()
            if is_abandoned and self._under_way.get(key) is flight:
                del self._under_way[key]
        if is_abandoned and flight.task is not None and not flight.loop.is_closed():
            flight.loop.call_soon_threadsafe(flight.task.cancel)

    def _end(self, key: Hashable, flight: _AsyncFlight[T]) -> None:
        with self._lock:
            # An abandoned flight may already have been replaced by another one.
            if self._under_way.get(key) is flight:
                del self._under_way[key]

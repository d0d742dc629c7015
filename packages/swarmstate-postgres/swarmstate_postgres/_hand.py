"""An event loop that can send one request and receive its answer without iterating.

Each iteration of an event loop polls the system for events, and a request takes four of
them: more work than everything else in a sync call. But the loop of a sync call has one
connection and nothing else to do. So its coroutine is run by hand up to the answer, waiting
only for the connection's socket. Anything less simple (a late answer, a lost connection, a
second request) is left to the loop, which continues as usual. A coroutine run by hand is not
in a task, so nothing in it may need one, as `asyncio.timeout` does: such work runs in a task
of its own.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import select
from asyncio.events import _set_running_loop
from collections.abc import Awaitable, Callable, Coroutine, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from ._signals import PutOff, Selector

if TYPE_CHECKING:
    from contextvars import Context

    from typing_extensions import TypeVarTuple, Unpack

    Ts = TypeVarTuple("Ts")

__all__ = ["HandLoop", "is_simple"]

T = TypeVar("T")

# After this long the loop takes over, which also watches timeouts.
_PATIENCE_MS = 50
_READ_BYTES = 65_536


def is_simple(transport: asyncio.Transport) -> bool:
    """Return whether a `HandLoop` transport gives its protocol the socket's data unchanged."""
    return (
        hasattr(select, "poll")
        and not transport.is_closing()
        and transport.get_extra_info("sslcontext") is None
        and transport.get_extra_info("socket") is not None
    )


class HandLoop(asyncio.SelectorEventLoop):
    """An event loop that can run the first request of a coroutine by hand."""

    def __init__(self) -> None:
        self._waiting = Selector()
        super().__init__(self._waiting)
        # The callbacks scheduled while a coroutine runs by hand; None otherwise.
        self._soon: list[tuple[asyncio.Handle, Callable[[], object]]] | None = None
        self._later: list[tuple[_Timer, Callable[[], object]]] = []

    def finish(
        self,
        coroutine: Coroutine[Any, Any, T],
        transport: asyncio.Transport | None,
        signals: PutOff,
    ) -> T:
        """Run a coroutine to its end and return what it returns.

        Args:
            coroutine: The coroutine.
            transport: The simple transport that its first request uses; None leaves
                everything to the loop.
            signals: Defers signal handlers, except while this waits.
        """
        self._waiting.signals = signals
        try:
            if transport is None:
                return self.run_until_complete(coroutine)
            return self._finish_by_hand(coroutine, transport, signals)
        finally:
            self._waiting.signals = None

    def _finish_by_hand(
        self, coroutine: Coroutine[Any, Any, T], transport: asyncio.Transport, signals: PutOff
    ) -> T:
        waiting: Any = None
        is_interrupted = False
        self._soon = []
        _set_running_loop(self)
        try:
            waiting = coroutine.send(None)
            # If a callback is pending, such as a task's first step, nothing may have been sent yet.
            if waiting is not None and not self._soon and transport.get_write_buffer_size() == 0:
                _feed(transport, waiting, signals)
            self._catch_up()
            if waiting is not None and waiting.done():
                waiting = coroutine.send(None)
        except StopIteration as done:
            result: T = done.value
            return result
        except BaseException:
            is_interrupted = inspect.getcoroutinestate(coroutine) == inspect.CORO_SUSPENDED
            raise
        finally:
            try:
                self._catch_up()
            finally:
                # Even after an error: otherwise no other loop could run in this thread.
                _set_running_loop(None)
                if is_interrupted:
                    # Kept as a task, so that it is canceled like other tasks of the loop.
                    self.create_task(_go_on(_Rest(coroutine, waiting)))
        return self.run_until_complete(_Rest(coroutine, waiting))

    def turn(self) -> None:
        """Run one iteration of the loop."""
        self.call_soon(self.stop)
        self.run_forever()

    def _catch_up(self) -> None:
        """Run the callbacks scheduled meanwhile, and hand the timers to the loop."""
        soon, self._soon = self._soon, None
        for handle, call in soon or ():
            if not handle.cancelled():
                call()
        later, self._later = self._later, []
        for timer, call in later:
            if not timer.cancelled():
                timer.begun = self.call_at(timer.when(), call)

    def call_soon(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: Unpack[Ts],
        context: Context | None = None,
    ) -> asyncio.Handle:
        """Call a function in the next iteration, or once the awaited answer has arrived."""
        if self._soon is None:
            return super().call_soon(callback, *args, context=context)
        handle = asyncio.Handle(callback, args, self, context)
        self._soon.append((handle, partial(callback, *args)))
        return handle

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: Unpack[Ts],
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call a function at a time of the loop's clock, unless the timer is canceled before."""
        if self._soon is None:
            return super().call_at(when, callback, *args, context=context)
        timer = _Timer(when, callback, args, self, context)
        self._later.append((timer, partial(callback, *args)))
        return timer


class _Timer(asyncio.TimerHandle):
    """A timer that was set while a coroutine was run by hand.

    Attributes:
        begun: The loop's own timer, once there is one.
    """

    begun: asyncio.TimerHandle | None = None

    def cancel(self) -> None:
        """Cancel the loop's timer, too, which would keep its callback and arguments alive."""
        super().cancel()
        if self.begun is not None:
            self.begun.cancel()


def _feed(transport: asyncio.Transport, waiting: asyncio.Future[Any], signals: PutOff) -> None:
    """Pass received data to the protocol until the answer is complete or late."""
    descriptor: int = transport.get_extra_info("socket").fileno()
    protocol: Any = transport.get_protocol()
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while not waiting.done() and signals.wait(lambda: poll.poll(_PATIENCE_MS)):
        try:
            data = os.read(descriptor, _READ_BYTES)
        except OSError:
            return
        if not data:
            # The loop will read the end of the stream again and handle it.
            return
        protocol.data_received(data)


async def _go_on(rest: Awaitable[T]) -> T:
    return await rest


class _Rest(Awaitable[T]):
    """The rest of a coroutine that was started by hand and is waiting for something."""

    def __init__(self, coroutine: Coroutine[Any, Any, T], waiting: Any) -> None:
        self._coroutine = coroutine
        self._waiting = waiting

    def __await__(self) -> Generator[Any, Any, T]:
        waiting = self._waiting
        while True:
            try:
                try:
                    yield waiting
                except (Exception, asyncio.CancelledError) as error:
                    waiting = self._coroutine.throw(error)
                else:
                    waiting = self._coroutine.send(None)
            except StopIteration as done:
                result: T = done.value
                return result

"""Signal handlers, deferred while asyncio and the driver work.

A handler may raise an exception, as those of Ctrl-C and of time limits do, and it is raised
wherever the main thread happens to be. In a callback, asyncio swallows it and the call waits
forever. While the driver sends, it leaves behind an answer that is later read as the answer to a
statement that does not exist, and the process ends. So handlers run only while a call waits, when
it can be abandoned, and after the call.
"""

from __future__ import annotations

import selectors
import signal
from collections.abc import Callable
from contextlib import suppress
from threading import current_thread, main_thread
from types import FrameType, TracebackType
from typing import Any, TypeVar

__all__ = ["PutOff", "Selector"]

T = TypeVar("T")

# Signals that interrupt programs. Looking up the handlers of all signals would take too long.
_NAMES = (
    *("SIGINT", "SIGTERM", "SIGALRM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"),
    *("SIGVTALRM", "SIGPROF", "SIGXCPU", "SIGBREAK"),
)
_SIGNALS = [signal.Signals[name] for name in _NAMES if name in signal.Signals.__members__]


class PutOff:
    """Defers signal handlers until the caller waits, or leaves this context.

    Attributes:
        has_raised: Whether a handler has raised an exception.
    """

    def __init__(self) -> None:
        self.has_raised = False
        self._handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}
        self._came: list[tuple[int, FrameType | None]] = []
        self._runs_handlers = False

    def __enter__(self) -> PutOff:
        # Handlers run only in the main thread.
        if current_thread() is main_thread():
            try:
                # The main thread of a subinterpreter cannot set handlers.
                with suppress(ValueError):
                    for number in _SIGNALS:
                        handler = signal.getsignal(number)
                        if callable(handler):
                            self._handlers[number] = handler
                            signal.signal(number, self._meet)
            except BaseException:
                # Raised by a handler that was not replaced yet.
                self._leave()
                raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave()

    def wait(self, ask: Callable[[], T]) -> T:
        """Return the result of `ask`, which only waits; handlers run before and during it."""
        if not self._handlers:
            return ask()
        try:
            self._runs_handlers = True
            self._deliver()
            return ask()
        finally:
            self._runs_handlers = False

    def _meet(self, number: int, frame: FrameType | None) -> None:
        if self._runs_handlers:
            self._run(number, frame)
        else:
            self._came.append((number, frame))

    def _deliver(self) -> None:
        while self._came:
            self._run(*self._came.pop(0))

    def _run(self, number: int, frame: FrameType | None) -> None:
        try:
            self._handlers[number](number, frame)
        except BaseException:
            # A second handler could raise while the first exception is being handled.
            self._runs_handlers = False
            self.has_raised = True
            raise

    def _leave(self) -> None:
        numbers = list(self._handlers)
        try:
            self._restore(numbers)
        finally:
            # Restored handlers run immediately, and may have raised.
            self._restore(numbers)
            self._runs_handlers = True
            self._deliver()

    def _restore(self, numbers: list[int]) -> None:
        while numbers:
            number = numbers[-1]
            # A handler that ran meanwhile may have set a new one.
            if signal.getsignal(number) == self._meet:
                signal.signal(number, self._handlers[number])
            numbers.pop()


class Selector(selectors.DefaultSelector):
    """Waits for the events of an event loop, and lets signal handlers run meanwhile.

    Attributes:
        signals: Defers the handlers at other times; None if nothing does.
    """

    signals: PutOff | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for events, as the base class does."""
        if self.signals is None:
            return super().select(timeout)
        return self.signals.wait(lambda: selectors.DefaultSelector.select(self, timeout))

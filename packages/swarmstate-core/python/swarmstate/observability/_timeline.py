"""What went on in a run, event by event; `Timeline` and `Activity` themselves are in Rust."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

from swarmstate import _core
from swarmstate._core import Activity

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Activity", "Kind", "Path", "Spent", "Timeline", "current_activity"]

Kind = Literal["framework", "node", "encode", "decode", "store I/O", "waiting"]

Path = tuple[str, ...]
"""What an activity is called, and before it what it was part of."""

current_activity: ContextVar[Activity | None] = ContextVar("swarmstate_activity", default=None)
"""What goes on in this thread or task, if it is profiled."""


class Spent(NamedTuple):
    """Where time went.

    Attributes:
        kind: What it counts as.
        seconds: How much of the run's time it took.
        busy: How long it went on, also while the run's time counted for something else.
        calls: How often it began.
    """

    kind: Kind
    seconds: float = 0.0
    busy: float = 0.0
    calls: int = 0


class Timeline(_core.Timeline):
    """The activities of a run: marked when they begin and end, added up when it is asked for.

    Every moment of the run counts for one thing: for the innermost activity that goes on, and if
    there are several, in threads or tasks, then for nodes before encoding and decoding, for
    these before the framework, for that before the store, and for waiting if there is none.
    Equal ones share it. The framework goes on as long as the thread that drives the run uses the
    processor; only that thread is asked, through a clock that others can read on Linux.

    Created in the thread that drives the run; the others may be used from any.
    """

    _clock: _Clock

    def __new__(cls, *_arguments: object) -> Self:
        """Return the timeline of a run that this thread drives; subclasses may take arguments."""
        clock = _Clock()
        made = super().__new__(cls, clock, current_activity)
        made._clock = clock
        return made

    def drive_here(self) -> None:
        """Take this thread for the one that drives the run from now on; the run must pause."""
        self._clock.read = _clock_of_this_thread()


class _Clock:
    """Tells the processor time of the thread that drives a run."""

    def __init__(self) -> None:
        self.read = _clock_of_this_thread()

    def __call__(self) -> float:
        return self.read()


def _clock_of_this_thread() -> Callable[[], float]:
    """Return what tells the processor time of this thread, or NaN, to any thread."""
    this = threading.get_ident()
    if hasattr(time, "pthread_getcpuclockid"):
        return partial(time.clock_gettime, time.pthread_getcpuclockid(this))
    return lambda: time.thread_time() if threading.get_ident() == this else math.nan

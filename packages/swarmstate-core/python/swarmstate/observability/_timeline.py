"""What happened in a run, event by event; `Timeline` and `Activity` are written in Rust."""

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
"""The name of an activity, preceded by the names of those it was part of."""

current_activity: ContextVar[Activity | None] = ContextVar("swarmstate_activity", default=None)
"""The activity of this thread or task, if it is being profiled."""


class Spent(NamedTuple):
    """How much time an activity took.

    Attributes:
        kind: The category that its time counts under.
        seconds: How much of the run's time it took.
        busy: How long it was under way, even while the run's time counted for something else.
        calls: How often it began.
    """

    kind: Kind
    seconds: float = 0.0
    busy: float = 0.0
    calls: int = 0


class Timeline(_core.Timeline):
    """The activities of a run: marked as they begin and end, added up on request.

    Every moment of the run counts for one activity, the innermost one under way. If several
    are under way, in threads or tasks, nodes take precedence over encoding and decoding, these
    over the framework, and the framework over the store; equal ones share the moment. If there
    is none, the moment counts as waiting. The framework is under way while the thread that
    drives the run uses the processor. Only that thread's processor time is read, from a clock
    that other threads can read on Linux.

    Create it in the thread that drives the run; its activities may be used from any thread.
    """

    _clock: _Clock

    def __new__(cls, *_arguments: object) -> Self:
        """Return the timeline of a run that this thread drives; subclasses may take arguments."""
        clock = _Clock()
        made = super().__new__(cls, clock, current_activity)
        made._clock = clock
        return made

    def drive_here(self) -> None:
        """Make this the thread that drives the run from now on; the run must be paused."""
        self._clock.read = _clock_of_this_thread()


class _Clock:
    """Returns the processor time of the thread that drives a run."""

    def __init__(self) -> None:
        self.read = _clock_of_this_thread()

    def __call__(self) -> float:
        return self.read()


def _clock_of_this_thread() -> Callable[[], float]:
    """Return a function that gives any thread the processor time of this thread, or NaN."""
    this = threading.get_ident()
    if hasattr(time, "pthread_getcpuclockid"):
        return partial(time.clock_gettime, time.pthread_getcpuclockid(this))
    return lambda: time.thread_time() if threading.get_ident() == this else math.nan

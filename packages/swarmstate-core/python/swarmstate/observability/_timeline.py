"""What went on in a run, event by event, and where its time went by that."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextvars import ContextVar, Token
from functools import partial
from time import perf_counter
from types import TracebackType
from typing import Any, Literal, NamedTuple

__all__ = ["Activity", "Kind", "Path", "Spent", "Timeline", "current_activity"]

# Seconds for which a thread that was at work is taken to be so still, since asking takes long.
_WORKS_ON = 10e-6

Kind = Literal["framework", "node", "encode", "decode", "store I/O", "waiting"]

Path = tuple[str, ...]
"""What an activity is called, and before it what it was part of."""


class Activity:
    """Something that goes on while it is entered, in this thread or task; once or several times.

    Args:
        timeline: The run that it is part of.
        parent: What it is part of; None of the run itself.
        kind: What its own time counts as.
        name: What it is called.
    """

    __slots__ = ("_token", "kind", "name", "parent", "timeline")

    def __init__(self, timeline: Timeline, parent: Activity | None, kind: Kind, name: str) -> None:
        self.timeline = timeline
        self.parent = parent
        self.kind = kind
        self.name = name

    def __enter__(self) -> None:
        self._token: Token[Activity | None] = current_activity.set(self)
        self.timeline.mark(self, True)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.timeline.mark(self, False)
        current_activity.reset(self._token)

    def part(self, kind: Kind, name: str) -> Activity:
        """Return an activity that is part of this one."""
        return Activity(self.timeline, self, kind, name)

    def path(self) -> Path:
        """Return what it is called, after what it is part of; the run itself is left out."""
        if self.parent is None:
            return ()
        return (*self.parent.path(), self.name)


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


class Timeline:
    """The activities of a run: marked when they begin and end, added up when it is asked for.

    Every moment of the run counts for one thing: for the innermost activity that goes on, and if
    there are several, in threads or tasks, then for nodes before encoding and decoding, for
    these before the framework, for that before the store, and for waiting if there is none.
    Equal ones share it. The framework goes on as long as the thread that drives the run uses the
    processor; only that thread is asked, through a clock that others can read on Linux.

    Created in the thread that drives the run; the others may be used from any.
    """

    def __init__(self) -> None:
        self._clock = _processor_clock()
        self._used = 0.0
        self._used_at = -math.inf
        # Events, each in four places: when, processor time, activity, whether it goes on. Tuples
        # that are kept would be work for the garbage collector, during the run.
        self._events: list[Any] = []

    def mark(self, activity: Activity, goes_on: bool) -> None:
        """Note that an activity begins or stops."""
        now = perf_counter()
        since = now - self._used_at
        if since < _WORKS_ON:
            used = self._used + since
        else:
            try:
                used = self._used = self._clock()
            except OSError:  # The thread has ended.
                used = math.nan
            self._used_at = now
        self._events.extend((now, used, activity, goes_on))

    def spent(self) -> dict[Path, Spent]:
        """Return where the time went; what is left of a path goes without its last part."""
        flat = list(self._events)
        columns = (flat[column::4] for column in range(4))
        events: list[tuple[float, float, Activity, bool]] = list(zip(*columns, strict=True))
        events.sort(key=lambda event: event[0])
        seconds: defaultdict[Path, float] = defaultdict(float)
        busy: defaultdict[Path, float] = defaultdict(float)
        calls: Counter[Path] = Counter()
        kinds: dict[Path, Kind] = {("framework",): "framework", ("waiting",): "waiting"}
        running: Counter[Activity] = Counter()
        inner: Counter[Activity] = Counter()
        for index, (at, used, activity, goes_on) in enumerate(events):
            if index and any(each.parent is None for each in running):
                before, used_before, _, _ = events[index - 1]
                innermost = [each for each in running if not inner[each] and each.parent]
                parts = _shares(innermost, at - before, used - used_before)
                for path, kind, taken in parts:
                    kinds[path] = kind
                    seconds[path] += taken
                for each in innermost:
                    busy[_own_path(each)] += at - before
            change = 1 if goes_on else -1
            running[activity] += change
            if not running[activity]:
                del running[activity]
            if activity.parent is not None:
                inner[activity.parent] += change
                own = _own_path(activity)
                kinds[own] = activity.kind
                calls[own] += goes_on
        return {
            path: Spent(kind, seconds[path], busy[path] or seconds[path], calls[path])
            for path, kind in kinds.items()
        }


def _own_path(activity: Activity) -> Path:
    """Return where the time of an activity counts that is of none of its parts."""
    path = activity.path()
    return path if activity.kind == "node" else (*path, activity.kind)


def _shares(
    innermost: list[Activity], seconds: float, used: float
) -> list[tuple[Path, Kind, float]]:
    """Return what a stretch of time counts for, of which the driving thread worked `used`."""
    for kinds in (("node",), ("encode", "decode")):
        if found := [each for each in innermost if each.kind in kinds]:
            return [(_own_path(each), each.kind, seconds / len(found)) for each in found]
    # Where the clock could not be read, nobody is said to have waited.
    working = seconds if math.isnan(used) else min(max(used, 0.0), seconds)
    shares: list[tuple[Path, Kind, float]] = [(("framework",), "framework", working)]
    rest = seconds - working
    if innermost:
        shares += [(_own_path(each), each.kind, rest / len(innermost)) for each in innermost]
    else:
        shares.append((("waiting",), "waiting", rest))
    return shares


def _processor_clock() -> Callable[[], float]:
    """Return what tells the processor time of this thread, or NaN, to any thread."""
    this = threading.get_ident()
    if hasattr(time, "pthread_getcpuclockid"):
        return partial(time.clock_gettime, time.pthread_getcpuclockid(this))
    return lambda: time.thread_time() if threading.get_ident() == this else math.nan

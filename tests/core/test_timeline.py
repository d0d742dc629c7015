"""Timelines of runs, independent of any framework."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import get_args

import pytest
from swarmstate import _core
from swarmstate.observability import Kind, Timeline, current_activity


def timeline(clock: Callable[[], float]) -> _core.Timeline:
    return _core.Timeline(clock, current_activity)


def fails(error: Exception) -> Callable[[], float]:
    def clock() -> float:
        raise error

    return clock


def test_an_activity_is_the_current_one_while_it_is_entered() -> None:
    run = Timeline()
    whole = run.whole()
    assert whole.timeline is run
    with whole:
        assert current_activity.get() is whole
        part = whole.part("node", "node a")
        for _ in range(2):
            with part:
                assert current_activity.get() is part
            assert current_activity.get() is whole
    assert current_activity.get() is None
    kind, seconds, busy, calls = run.spent()["node a",]
    assert (kind, calls) == ("node", 2)
    assert 0 < seconds == busy


def test_the_time_of_a_run_is_work_as_far_as_the_clock_went_on() -> None:
    stands_still = timeline(lambda: 1.0)
    goes_fast = timeline(count(0.0, 1e9).__next__)
    for run in (stands_still, goes_fast):
        with run.whole():
            # Longer than a thread that was working counts as still working.
            sum(range(100_000))
    work, waiting = (stands_still.spent()[name,] for name in ("framework", "waiting"))
    assert work[1] == 0 < waiting[1]
    work, waiting = (goes_fast.spent()[name,] for name in ("framework", "waiting"))
    assert waiting[1] == 0 < work[1]


def test_a_clock_that_ended_is_no_waiting_and_a_broken_one_is_told() -> None:
    ended = timeline(fails(OSError("no such thread")))
    with ended.whole():
        pass
    assert ended.spent()["waiting",][1] == 0 < ended.spent()["framework",][1]
    with pytest.raises(ZeroDivisionError), timeline(fails(ZeroDivisionError())).whole():
        pass
    assert current_activity.get() is None


def test_all_kinds_that_there_are_and_no_other() -> None:
    for kind in get_args(Kind):
        assert Timeline().whole().part(kind, "a")
    with pytest.raises(ValueError, match='unknown activity kind "sleep"'):
        Timeline().whole().part("sleep", "a")  # type: ignore[arg-type]

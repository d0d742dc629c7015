"""When an accelerated process collects cyclic garbage."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

import pytest
from langgraph.checkpoint.swarmstate import accelerate, deaccelerate


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    deaccelerate()
    gc.enable()
    gc.set_threshold(*before)


def test_the_youngest_are_looked_at_less_often_until_it_is_undone() -> None:
    gc.set_threshold(700, 11, 12)
    with accelerate("collector") as acceleration:
        assert acceleration.applied == ("collector",)
        assert gc.get_threshold() == (10_000, 11, 12)
        with accelerate():
            assert gc.get_threshold() == (10_000, 11, 12)
        assert gc.get_threshold() == (10_000, 11, 12)
    assert gc.get_threshold() == (700, 11, 12)


@pytest.mark.parametrize(
    "choose",
    [
        lambda: gc.set_threshold(20_000, 5, 5),
        lambda: gc.set_threshold(10_000, 5, 5),
        lambda: gc.set_threshold(0, 5, 5),
        gc.disable,
    ],
    ids=["larger", "equal", "never", "off"],
)
def test_what_the_program_chose_stays(choose: Callable[[], None]) -> None:
    choose()
    chosen = gc.isenabled(), gc.get_threshold()
    with accelerate("collector") as acceleration:
        [report] = acceleration.patches
        assert not report.applied
        state = "on" if gc.isenabled() else "off"
        expected = f"found the collector {state}, with thresholds {gc.get_threshold()}"
        assert report.reason == expected
        assert (gc.isenabled(), gc.get_threshold()) == chosen
    assert (gc.isenabled(), gc.get_threshold()) == chosen


def test_what_was_chosen_meanwhile_is_left() -> None:
    gc.set_threshold(700, 10, 10)
    acceleration = accelerate("collector")
    gc.set_threshold(5_000, 10, 10)
    with pytest.warns(RuntimeWarning, match=r"found \(5000, 10, 10\); left unchanged"):
        acceleration.undo()
    assert gc.get_threshold() == (5_000, 10, 10)
    with accelerate("collector"):
        assert gc.get_threshold() == (10_000, 10, 10)
    assert gc.get_threshold() == (5_000, 10, 10)

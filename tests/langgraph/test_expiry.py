"""Threads that expire some time after their last write, or their last read."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypedDict

import pytest
import swarmstate
from langgraph.checkpoint.swarmstate import SwarmStateSaver, accelerate
from langgraph.checkpoint.swarmstate.testing import Driver, Mode
from langgraph.checkpoint.swarmstate.testing.checkpoints import Branch, at
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from swarmstate.testing import ManualClock

if TYPE_CHECKING:
    from collections.abc import Iterator


class Asking(TypedDict):
    answer: str


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def saver(clock: ManualClock) -> Iterator[SwarmStateSaver]:
    with swarmstate.Store(clock=clock) as store:
        yield SwarmStateSaver(store, ttl=100)


def test_a_thread_expires_as_a_whole_after_its_last_write(
    driver: Driver, saver: SwarmStateSaver, clock: ManualClock
) -> None:
    branch, child = Branch(driver), Branch(driver, ns="child")
    child.put(log=["a" * 5_000])
    branch.put({"run_id": "r"}, log=["b" * 5_000])
    clock.advance(60)
    branch.put(log=["b" * 5_000, "c"])
    clock.advance(60)
    driver.put_writes(branch.config, [("log", ["d" * 5_000])], "task")
    clock.advance(60)
    assert driver.load(at()).pending_writes == [("task", "log", ["d" * 5_000])]
    assert len(driver.list(None)) == 3
    clock.advance(40)
    assert driver.get_tuple(at()) is None
    assert driver.get_tuple(at(ns="child")) is None
    assert driver.list(None) == []
    assert saver.threads() == []
    again = Branch(driver)
    again.put(log=["new"])
    assert driver.load(at()).checkpoint["channel_values"] == {"log": ["new"]}
    assert len(driver.list(None)) == 1


@pytest.mark.parametrize("refresh_on_read", [False, True])
@pytest.mark.parametrize("by_id", [False, True])
def test_reading_renews_a_thread_if_that_is_asked_for(
    saver: SwarmStateSaver, mode: Mode, clock: ManualClock, by_id: bool, refresh_on_read: bool
) -> None:
    driver = Driver(saver, mode)
    Branch(driver, "other").put(n=0)
    stored = Branch(driver).put(n=1)
    reader = driver.over(SwarmStateSaver(saver.store, ttl=100, refresh_on_read=refresh_on_read))
    clock.advance(60)
    assert reader.get_tuple(stored if by_id else at()) is not None
    clock.advance(60)
    assert (driver.get_tuple(at()) is not None) == refresh_on_read
    assert driver.get_tuple(at("other")) is None
    driver.close()


def test_threads_of_a_saver_without_a_time_to_live_stay(
    saver: SwarmStateSaver, mode: Mode, clock: ManualClock
) -> None:
    driver = Driver(SwarmStateSaver(saver.store, refresh_on_read=True), mode)
    driver.put_writes(Branch(driver).put(n=1), [("n", 2)], "task")
    clock.advance(1e9)
    assert driver.load(at()).pending_writes == [("task", "n", 2)]
    driver.close()


@pytest.mark.parametrize("accelerated", [False, True])
def test_a_run_that_waits_for_a_person_lives_on_from_when_it_asked(
    saver: SwarmStateSaver, mode: Mode, clock: ManualClock, accelerated: bool
) -> None:
    def ask(state: Asking) -> dict[str, Any]:
        clock.advance(60)
        return {"answer": interrupt("Which one?")}

    builder = StateGraph(Asking)
    builder.add_node("ask", ask)
    builder.add_edge(START, "ask")
    driver = Driver(saver, mode)
    graph = builder.compile(checkpointer=saver)
    # Checkpoints are written before the node, and only the interrupt after it.
    if accelerated:
        with accelerate():
            driver.invoke(graph, {"answer": ""}, at(), durability="sync")
    else:
        driver.invoke(graph, {"answer": ""}, at(), durability="sync")
    clock.advance(60)
    assert [each.value for each in driver.state(graph, at()).interrupts] == ["Which one?"]
    driver.close()


@pytest.mark.parametrize("ttl", [0, -1, math.nan, "60"])
def test_a_time_to_live_that_is_none_is_refused(ttl: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="ttl"):
        SwarmStateSaver(ttl=ttl)

"""Fields that a graph lacks keep their values, whoever else works on the thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import swarmstate
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from langgraph.checkpoint.swarmstate.testing import Driver, graphs
from langgraph.checkpoint.swarmstate.testing.checkpoints import at, make_checkpoint

from tests.langgraph.helpers import raw
from tests.langgraph.helpers.logs import long_log
from tests.langgraph.helpers.racing import RacingStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swarmstate.base import Batch

PLAN = ["p" * 20_000, "plan 1"]


@pytest.fixture
def store() -> RacingStore:
    return RacingStore(swarmstate.Store())


@pytest.fixture
def planned(driver: Driver, store: RacingStore) -> Driver:
    """A driver on `store` of a thread that has the field `plan`."""
    driver = driver.over(SwarmStateSaver(store))
    newer = graphs.noting(driver.saver, "log", "plan")
    driver.invoke(newer, {"log": [], "plan": PLAN[:1]}, at())
    return driver


def note(driver: Driver) -> Any:
    """Run a graph that has no `plan`; each of its checkpoints is stored before the next."""
    return driver.invoke(graphs.noting(driver.saver, "log"), {"log": []}, at(), durability="sync")


def plan_of(driver: Driver) -> Any:
    return driver.state(graphs.noting(driver.saver, "log", "plan"), at()).values.get("plan")


def test_what_the_field_relies_on_may_be_pruned_meanwhile(
    planned: Driver, store: RacingStore
) -> None:
    forgetful = planned.over(SwarmStateSaver(store, memory_budget=0))
    other = SwarmStateSaver(store.inner)
    store.before_write = lambda: other.delete_thread("t")
    assert note(forgetful)["log"] == ["log 0"], "the run goes on, and the field is gone"
    assert plan_of(planned) is None


def test_the_field_stays_where_all_else_has_to_be_sent_again(store: RacingStore) -> None:
    driver = Driver(SwarmStateSaver(store), "sync")
    log: dict[str, Any] = {"log": long_log()}
    versions: Any = {"log": 1, "plan": 1}
    root = driver.put(at(), make_checkpoint({**log, "plan": PLAN}, versions), {}, versions)
    parent, child = (make_checkpoint(log, versions) for _ in range(2))
    configs: list[Any] = []

    def answer_late(batches: Sequence[Batch]) -> None:
        store.write = write  # type: ignore[method-assign]  # only the parent's answer is late
        write(batches)
        # The parent is stored, which its saver does not know, and what that relied on is gone.
        SwarmStateSaver(store.inner).prune(["t"])
        configs.append(driver.put(at("t", "", parent["id"]), child, {}, {}))

    write, store.write = store.write, answer_late  # type: ignore[method-assign]
    driver.put(root, parent, {}, {})
    [stored] = configs
    assert driver.load(stored).checkpoint["channel_values"] == {**log, "plan": PLAN}


@pytest.mark.parametrize("budget", [0, 2_000, 10**6])
def test_a_saver_that_remembers_nothing_keeps_it(
    planned: Driver, store: RacingStore, budget: int
) -> None:
    forgetful = planned.over(SwarmStateSaver(store, memory_budget=budget))
    for _ in range(3):
        note(forgetful)
    assert plan_of(forgetful) == plan_of(planned) == PLAN


def test_a_damaged_parent_hinders_nobody(planned: Driver, store: RacingStore) -> None:
    newest = planned.load(at())
    for key in raw.keys(store, "t", "checkpoint"):
        record = raw.read(store, "t", key)
        raw.replace(store, "t", key, record[:-1] + bytes([record[-1] ^ 1]))
    child = make_checkpoint({"log": ["new"]}, newest.checkpoint["channel_versions"])
    stored = planned.put(newest.config, child, newest.metadata, {})
    assert planned.load(stored).checkpoint["channel_values"] == {"log": ["new"]}


def test_a_graph_that_has_all_fields_asks_for_nothing_more(
    planned: Driver, store: RacingStore
) -> None:
    newer = graphs.noting(planned.saver, "log", "plan")
    store.reset()
    planned.invoke(newer, {"log": [], "plan": ["short"]}, at(), durability="sync")
    assert store.trips.count("read") == 1, "the latest checkpoint, when the run begins"


def test_fields_that_are_mostly_empty_cost_a_saver_that_knows_the_thread_nothing(
    driver: Driver, store: RacingStore
) -> None:
    driver = driver.over(SwarmStateSaver(store))
    graph = graphs.once(driver.saver)
    driver.invoke(graph, {"log": [], "once": "said"}, at(), durability="sync")
    store.reset()
    driver.invoke(graph, {"log": []}, at(), durability="sync")
    driver.invoke(graph, {"log": [], "once": "again"}, at(), durability="sync")
    assert store.trips.count("read") == 2, "the latest checkpoint, when each run begins"


def test_what_is_known_of_one_checkpoint_is_not_taken_for_another(
    driver: Driver, store: RacingStore
) -> None:
    driver = driver.over(SwarmStateSaver(store))
    root = driver.put(at(), make_checkpoint({"x": 1, "y": 1}, {"x": 1, "y": 1}), {}, {})
    empty = make_checkpoint({"x": 2}, {"x": 2, "y": 2})
    driver.put(root, empty, {}, {"x": 2, "y": 2})
    # A fork where the field has a value, with the same version as the empty field in the sibling.
    full = make_checkpoint({"x": 2, "y": 2}, {"x": 2, "y": 2})
    fork = driver.put(root, full, {}, {"x": 2, "y": 2})
    child = driver.put(fork, make_checkpoint({"x": 3}, {"x": 3, "y": 2}), {}, {"x": 3})
    assert driver.load(child).checkpoint["channel_values"] == {"x": 3, "y": 2}

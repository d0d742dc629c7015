"""The history of DeltaChannels over long, forked and broken ancestor chains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import swarmstate
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from langgraph.checkpoint.swarmstate.testing import Driver
from langgraph.checkpoint.swarmstate.testing.checkpoints import (
    Branch,
    at,
    make_checkpoint,
    thread_of,
)
from swarmstate.errors import CheckpointError
from swarmstate.sharing import seal, unseal

from tests.langgraph.helpers import raw
from tests.langgraph.helpers.counting import CountingStore
from tests.langgraph.helpers.logs import long_log, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swarmstate.base import Query, Result


@pytest.fixture
def store() -> CountingStore:
    return CountingStore(swarmstate.Store())


def put(driver: Driver, config: Any, checkpoint_id: str, values: Any = None, **said: Any) -> Any:
    """Put a checkpoint with a version of the channel `d`, and a write to `d` that names it."""
    checkpoint = make_checkpoint(values, {"d": 1}, checkpoint_id=checkpoint_id)
    metadata: Any = {"source": "loop", "step": 3, "parents": {}, **said}
    stored = driver.put(config, checkpoint, metadata, {"d": 1})
    driver.put_writes(stored, [("d", checkpoint_id)], "task")
    return stored


def test_hundreds_of_ancestors_are_read_in_a_few_round_trips(
    driver: Driver, store: CountingStore
) -> None:
    branch = Branch(driver)
    branch.put(d=["seed"])
    branch.drop("d")
    side = branch
    for n in range(600):
        driver.put_writes(branch.put(other=n), [("d", n)], "task")
        if n == 300:
            side = branch.fork()
        elif n > 300 and n % 2:
            driver.put_writes(side.put(other=-n), [("d", -n)], "task")
    for target in (branch.put(other=None), at()):
        store.reset()
        [found] = driver.delta_history(target, ["d"]).values()
        assert found == {"seed": ["seed"], "writes": [("task", "d", n) for n in range(600)]}
        assert store.trips == ["read"] * 4
    [found] = driver.delta_history(side.put(other=None), ["d"]).values()
    written = [*range(301), *range(-301, -600, -2)]
    assert found == {"seed": ["seed"], "writes": [("task", "d", n) for n in written]}


def test_what_is_older_than_the_stored_value_is_not_read(
    driver: Driver, store: CountingStore
) -> None:
    branch = Branch(driver)
    for n in range(300):
        driver.put_writes(branch.put(d=[n]), [("d", n)], "task")
    branch.drop("d")
    target = branch.put(other=None)
    store.reset()
    [found] = driver.delta_history(target, ["d"]).values()
    assert found == {"seed": [299], "writes": [("task", "d", 299)]}
    assert store.trips == ["read"] * 2
    answers = store.inner.read(store.queries[-1:])
    assert [len(records) for records in answers[0].ranges] == [1]


def test_each_channel_begins_at_its_nearest_value_however_far_that_of_another_is(
    driver: Driver,
) -> None:
    branch = Branch(driver)
    branch.put(d="older", e="seed")
    branch.drop("e")
    for n in range(300):
        driver.put_writes(branch.put(other=n), [("e", n)], "task")
    branch.put(d="seed")
    branch.drop("d")
    found = driver.delta_history(branch.put(other=None), ["d", "e"])
    assert found == {
        "d": {"seed": "seed", "writes": []},
        "e": {"seed": "seed", "writes": [("task", "e", n) for n in range(300)]},
    }


def test_the_blobs_of_large_writes_are_read_with_them(driver: Driver, store: CountingStore) -> None:
    branch = Branch(driver)
    branch.put(d=["seed"], log=long_log())
    branch.drop("d")
    rows = [[text((n, row)) for row in range(40)] for n in range(5)]
    for n in range(5):
        driver.put_writes(branch.put(n=n), [("d", rows[n])], "task")
    target = branch.put(n=None)
    store.reset()
    [found] = driver.delta_history(target, ["d"]).values()
    assert [value for _, _, value in found["writes"]] == rows
    assert store.trips == ["read"] * 2


def test_the_writes_of_a_line_are_one_range_and_those_of_a_fork_are_not_read(
    driver: Driver, store: CountingStore
) -> None:
    branch = Branch(driver)
    branch.put(d=["seed"])
    branch.drop("d")
    for n in range(3):
        driver.put_writes(branch.put(other=n), [("d", n)], "task")
    side = branch.fork()
    driver.delta_history(branch.put(other=None), ["d"])
    assert len(store.queries[-1].ranges) == 1

    driver.put_writes(side.put(other=-1), [("d", "much" * 1_000)], "task")
    driver.put_writes(branch.put(other=3), [("d", 3)], "task")
    store.reset()
    [found] = driver.delta_history(branch.put(other=None), ["d"]).values()
    assert [value for _, _, value in found["writes"]] == [0, 1, 2, 3]
    answers = store.inner.read(store.queries)
    read = [key for answer in answers for records in answer.ranges for key, _ in records]
    assert not [key for key in read if key.startswith(f"write//{side.id}")]


class _Deleting(CountingStore):
    """Deletes the thread "t" after the first read."""

    def read(self, queries: Sequence[Query]) -> list[Result]:
        answers = super().read(queries)
        if len(self.trips) == 1:
            SwarmStateSaver(self.inner).delete_thread("t")
        return answers


def test_a_thread_that_is_deleted_meanwhile_has_no_history() -> None:
    with swarmstate.Store() as store:
        driver = Driver(SwarmStateSaver(store), "sync")
        branch = Branch(driver)
        branch.put(d=long_log())
        branch.drop("d")
        target = branch.put(other=None)
        reader = SwarmStateSaver(_Deleting(store))
        found = reader.get_delta_channel_history(config=target, channels=["d"])
        assert found == {"d": {"writes": []}}
        driver.close()


def test_a_parent_may_be_named_as_if_it_were_younger(driver: Driver) -> None:
    config = put(driver, at(), "1", {"d": "seed"})
    for checkpoint_id in ("9", "3", "8", "4"):
        config = put(driver, config, checkpoint_id)
    [found] = driver.delta_history(config, ["d"]).values()
    assert found == {"seed": "seed", "writes": [("task", "d", each) for each in "1938"]}


def test_records_written_in_another_way_are_read_like_others(
    driver: Driver, store: CountingStore
) -> None:
    branch = Branch(driver)
    branch.put(d=["seed"], e=["older"])
    branch.drop("d")
    branch.put(e=long_log())
    for n in range(3):
        if n == 1:
            branch.drop("e")
        driver.put_writes(branch.put(n=n), [("d", n), ("n", n), ("e", [text(n)] * 40)], "task")
    target = branch.put(n=None)
    expected = driver.delta_history(target, ["d", "e"])
    assert (expected["d"]["seed"], expected["e"]["seed"]) == (["seed"], long_log())
    assert expected["d"]["writes"] == [("task", "d", n) for n in range(3)]
    assert [value for _, _, value in expected["e"]["writes"]] == [[text(n)] * 40 for n in range(3)]
    for key in raw.keys(store, "t", "checkpoint"):
        content = unseal(raw.read(store, "t", key), key)
        turned = dict(reversed([*content.items(), ("more", {"of": "it"})]))
        raw.replace(store, "t", key, seal(turned, key))
        assert driver.delta_history(target, ["d", "e"]) == expected


def test_an_ancestor_of_a_newer_format_is_told(driver: Driver, store: CountingStore) -> None:
    branch = Branch(driver)
    branch.put(d=["seed"])
    branch.drop("d")
    middle = branch.put(other=1)
    target = branch.put(other=2)
    key = f"checkpoint//{thread_of(middle)[2]}"
    record = unseal(raw.read(store, "t", key), key)
    raw.replace(store, "t", key, seal({**record, "v": record["v"] + 1}, key))
    for reader in (driver, driver.over(SwarmStateSaver(store))):
        with pytest.raises(CheckpointError, match=r"format 2.*upgrade"):
            reader.delta_history(target, ["d"])


@pytest.mark.parametrize("parent", ["2", "3"])
def test_a_checkpoint_that_was_put_as_its_own_ancestor_is_told(driver: Driver, parent: str) -> None:
    first = put(driver, at(), "1", {"d": "seed"})
    second = put(driver, first, "2")
    third = put(driver, second, "3")
    put(driver, {"2": second, "3": third}[parent], "2")
    with pytest.raises(CheckpointError, match=f"'{parent}' is an ancestor of itself"):
        driver.delta_history(second, ["d"])
    put(driver, first, "2")
    [found] = driver.delta_history(third, ["d"]).values()
    assert found == {"seed": "seed", "writes": [("task", "d", each) for each in "12"]}


@pytest.mark.parametrize(
    "said", [{"source": "input"}, {"step": -1}, {"source": "update", "step": -1}], ids=str
)
def test_what_a_lost_parent_held_is_missed_unless_a_run_began_with_nothing(
    driver: Driver, store: CountingStore, said: dict[str, Any]
) -> None:
    lost = put(driver, at(), "1", {"d": "seed"})
    begun = put(driver, put(driver, lost, "2", source="input", step=-1), "3")
    begun = put(driver, begun, "4")
    other = put(driver, put(driver, lost, "5", **said), "6")
    raw.delete(store, "t", f"checkpoint//{thread_of(lost)[2]}")
    [found] = driver.delta_history(begun, ["d"]).values()
    assert found == {"writes": [("task", "d", each) for each in "23"]}
    with pytest.raises(CheckpointError, match="parent '1' is missing"):
        driver.delta_history(other, ["d"])

"""What pending writes share may be deleted, restored or changed while they are in flight."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import swarmstate
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from langgraph.checkpoint.swarmstate.testing import Driver
from langgraph.checkpoint.swarmstate.testing.checkpoints import (
    Branch,
    at,
    ids,
    make_checkpoint,
    make_metadata,
)
from swarmstate.errors import StoreUnavailableError

from tests.langgraph.helpers import raw
from tests.langgraph.helpers.logs import both, long_log, rows, text, written
from tests.langgraph.helpers.racing import RacingStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from swarmstate.base import Batch


@pytest.fixture
def store() -> RacingStore:
    return RacingStore(swarmstate.Store())


@pytest.fixture
def branch(driver: Driver, store: RacingStore) -> Branch:
    """A branch whose checkpoint in `store` has a long list."""
    branch = Branch(driver.over(SwarmStateSaver(store)))
    branch.put(log=long_log())
    store.reset()
    return branch


def test_a_write_that_comes_before_its_checkpoint_is_whole(
    branch: Branch, store: RacingStore
) -> None:
    driver = branch.driver
    checkpoint = make_checkpoint({"log": [*branch.values["log"], "next"]}, {"log": 2})
    config = at("t", "", checkpoint["id"])
    handed_on = [*checkpoint["channel_values"]["log"], "after it"]
    # The saver knows what it is about to store, but the task's write is faster.
    quick = Driver(driver.saver, "sync")
    store.before_write = lambda: quick.put_writes(config, [("log", handed_on)], "task")
    driver.put(branch.config, checkpoint, make_metadata(1), {"log": 2})
    assert store.trips == ["write"] * 4, (
        "the writes were tried twice, then sent whole, then the put"
    )
    for reader in both(driver, store):
        assert written(reader, config) == [("log", handed_on)]


@pytest.mark.parametrize("gone", ["never", "before", "between", "after"])
def test_a_write_that_comes_before_its_checkpoint_shares_what_the_one_before_has(
    driver: Driver, store: RacingStore, gone: str
) -> None:
    branch = Branch(driver)
    branch.put({"run_id": "r"}, log=long_log(), page=text("page", 9_000), rows=rows())
    inside = {**branch.values["rows"], "row 7": text("edited", 3_000)}
    values = {**branch.values, "log": [*branch.values["log"], text("next")], "rows": inside}
    writes = [("log", [*values["log"], text("end")]), *values.items()]
    checkpoint = make_checkpoint(values, dict.fromkeys(values, 2))
    config = at("t", "", checkpoint["id"])
    other = driver.over(SwarmStateSaver(store))
    if gone == "before":
        other.delete_for_runs(["r"])
    size = sum(map(len, raw.everything(store).values()))
    driver.put_writes(config, writes, "task")
    if gone != "before":
        assert sum(map(len, raw.everything(store).values())) < size + 15_000
    if gone == "between":
        other.delete_for_runs(["r"])
    driver.put(branch.config, checkpoint, make_metadata(1), dict.fromkeys(values, 2))
    if gone == "after":
        other.delete_for_runs(["r"])
    for reader in both(driver, store):
        store.reset()
        assert written(reader, config) == writes
        assert len(store.trips) <= 2
        assert reader.load(config).checkpoint["channel_values"] == values


@pytest.mark.parametrize("gone", ["before", "after"])
def test_a_late_write_does_without_the_next_checkpoint(
    driver: Driver, store: RacingStore, gone: str
) -> None:
    branch = Branch(driver)
    body, end = text("body", 9_000), text("end", 9_000)
    nest: dict[str, Any] = {"in": rows(), "n": 1}
    branch.put(log=long_log(), page=text("page", 9_000), rows={**rows(), "body": ""}, nest=nest)
    # Texts that have changed before are split by content.
    first = branch.put(page=body, rows={**rows(), "body": body})
    log = [*branch.values["log"], *(text(("more", n)) for n in range(40))]
    page, inside = body + end, {**rows(), "row 7": text("edited", 3_000), "body": end + body}
    nest = {**nest, "in": {**nest["in"], "row 8": text("nested", 3_000)}}
    branch.put({"run_id": "r"}, log=log, page=page, rows=inside, nest=nest)
    writes = [("log", [*log, "end"]), ("page", page), ("rows", inside), ("log", log[-9:])]
    writes.append(("nest", nest))
    if gone == "before":
        driver.over(SwarmStateSaver(store)).delete_for_runs(["r"])
    store.reset()
    driver.put_writes(first, writes, "task")
    assert store.trips == ["write"]
    driver.delete_for_runs(["r"])
    for reader in both(driver, store):
        assert driver.get_tuple(branch.config) is None
        store.reset()
        assert written(reader, first) == writes
        assert store.trips == ["read", "read"]


def test_a_late_write_shares_what_its_checkpoint_alone_had(
    driver: Driver, store: RacingStore
) -> None:
    branch = Branch(driver)
    branch.put(page=text("page", 9_000))
    given = long_log(100)
    unused = [text(("unused", n)) for n in range(100)]
    first = branch.put(__start__={"log": given, "page": text("page", 9_000), "unused": unused})
    branch.drop("__start__")
    branch.put(log=given, page=text("other page", 9_000))
    size = sum(map(len, raw.everything(store).values()))
    writes = [("log", given), ("log", [*given, text("end")]), ("log", [*unused, text("end")])]
    driver.put_writes(first, writes, "task")
    assert sum(map(len, raw.everything(store).values())) < size + 5_000
    for reader in both(driver, store):
        assert written(reader, first) == writes


SHARED: dict[str, Callable[[], list[Any]]] = {
    "a text": lambda: [(page := text("page", 9_000)), page],
    "an equal text": lambda: [text("page", 9_000), text("page", 9_000)],
    "an item of a list": lambda: [(log := long_log()), [*log, "more"]],
    "an entry that is cut": lambda: [(inside := {"in": rows()}), {**inside, "more": 1}],
    "an entry that is cut by content": lambda: [
        {"body": text("first", 9_000)},
        (body := {"body": text("body", 9_000)}),
        {**body, "more": 1},
    ],
}


@pytest.mark.parametrize("what", SHARED)
def test_whatever_a_put_shares_may_go_meanwhile(
    driver: Driver, store: RacingStore, what: str
) -> None:
    branch = Branch(driver)
    *before, value = SHARED[what]()
    for each in before:
        branch.put(value=each)
    driver.over(SwarmStateSaver(store)).delete_thread("t")
    branch.put(value=value)
    for reader in both(driver, store):
        assert reader.load(branch.config).checkpoint["channel_values"] == {"value": value}


@pytest.mark.parametrize("what", SHARED)
def test_whatever_a_write_shares_may_go_meanwhile(
    driver: Driver, store: RacingStore, what: str
) -> None:
    branch = Branch(driver)
    *before, value = SHARED[what]()
    for each in before:
        branch.put(value=each)
    checkpoint = make_checkpoint({"value": 1}, checkpoint_id=branch.id)
    other = driver.over(SwarmStateSaver(store))
    other.delete_thread("t")
    driver.put_writes(branch.config, [("value", value)], "task")
    # Another saver restores the checkpoint, with other values.
    other.put(at(), checkpoint, make_metadata(0), {"value": 1})
    for reader in both(driver, store):
        assert written(reader, branch.config) == [("value", value)]


def test_a_late_write_does_without_a_checkpoint_that_has_gone(
    driver: Driver, store: RacingStore
) -> None:
    branch = Branch(driver)
    first = branch.put(log=long_log())
    checkpoint = driver.load(first).checkpoint
    log = [*branch.values["log"], text("more")]
    branch.put(log=log)
    other = driver.over(SwarmStateSaver(store))
    other.delete_thread("t")
    driver.put_writes(first, [("log", log)], "task")
    # Another saver restores the checkpoint, with other values.
    other.put(at(), {**checkpoint, "channel_values": {"log": rows()}}, make_metadata(0), {"log": 1})
    for reader in both(driver, store):
        assert written(reader, first) == [("log", log)]


def test_what_a_write_relies_on_may_go_meanwhile(branch: Branch, store: RacingStore) -> None:
    driver = branch.driver
    handed_on = [*branch.values["log"], text("more")]
    other = Driver(SwarmStateSaver(store), "sync")
    store.before_write = lambda: other.delete_thread("t")
    driver.put_writes(branch.config, [("log", handed_on)], "task")
    assert store.trips.count("write") == 4, "the thread was deleted, and the writes sent thrice"
    # Another saver restores the checkpoint, with other values.
    checkpoint = make_checkpoint({"log": [text(("other", n)) for n in range(20)]}, {"log": 1})
    checkpoint["id"] = branch.id
    other.put(at("t"), checkpoint, make_metadata(0), {"log": 1})
    for reader in both(driver, store):
        assert written(reader, branch.config) == [("log", handed_on)]


def during_a_put_whose_parent_goes(
    branch: Branch, store: RacingStore, log: list[Any], follow: Callable[[Any], object]
) -> Any:
    """Put a checkpoint, retried because its parent is deleted, and return its config.

    `follow` is called with that config. Its write is encoded before the retry and stored after it.
    """
    checkpoint = make_checkpoint({"log": log}, {"log": 2})
    config = at("t", "", checkpoint["id"])
    encoded, released = threading.Event(), threading.Event()
    follower = threading.Thread(target=follow, args=(config,))

    def hold() -> None:
        encoded.set()
        assert released.wait(60)

    def go_ahead() -> None:
        store.before_write = hold
        follower.start()
        assert encoded.wait(60)
        Driver(SwarmStateSaver(store), "sync").delete_thread("t")

    store.before_write = go_ahead
    branch.driver.put(branch.config, checkpoint, make_metadata(1), {"log": 2})
    released.set()
    follower.join()
    return config


def test_a_write_relies_on_what_its_checkpoint_was_when_it_was_encoded(
    branch: Branch, store: RacingStore
) -> None:
    log = [*branch.values["log"], text("next")]
    handed_on = [*log, text("after it")]
    quick = Driver(branch.driver.saver, "sync")
    config = during_a_put_whose_parent_goes(
        branch, store, log, lambda at_: quick.put_writes(at_, [("log", handed_on)], "task")
    )
    for reader in both(branch.driver, store):
        assert reader.load(config).checkpoint["channel_values"] == {"log": log}
        assert written(reader, config) == [("log", handed_on)]


def test_a_put_relies_on_what_its_parent_was_when_it_was_encoded(
    branch: Branch, store: RacingStore
) -> None:
    log = [*branch.values["log"], text("next")]
    following = make_checkpoint({"log": [*log, text("after it")]}, {"log": 3})
    quick = Driver(branch.driver.saver, "sync")
    config = during_a_put_whose_parent_goes(
        branch, store, log, lambda at_: quick.put(at_, following, make_metadata(2), {"log": 3})
    )
    followed_by = at("t", "", following["id"])
    for reader in both(branch.driver, store):
        assert reader.load(config).checkpoint["channel_values"] == {"log": log}
        found = reader.load(followed_by)
        assert found.checkpoint["channel_values"] == following["channel_values"]


@pytest.mark.parametrize("lost", [0, 1])
def test_a_put_relies_on_all_before_it_that_may_not_be_stored(
    branch: Branch, store: RacingStore, lost: int
) -> None:
    """Three checkpoints are encoded, each based on the one before; one of them is never stored."""
    quick = Driver(branch.driver.saver, "sync")
    config, logs, configs = branch.config, [branch.values["log"]], []
    checkpoints = []
    for n in range(3):
        logs.append([*logs[-1], text(("next", n))])
        checkpoints.append(make_checkpoint({"log": logs[-1]}, {"log": n + 2}))
        configs.append((config, config := at("t", "", checkpoints[-1]["id"])))
    encoded, released = ([threading.Event() for _ in range(3)] for _ in range(2))

    def put(place: int) -> None:
        """Put a checkpoint: it is encoded now, and stored when it is released."""

        def hold() -> None:
            if place < 2:
                threads[place + 1].start()
                assert encoded[place + 1].wait(60)
            encoded[place].set()
            assert released[place].wait(60)
            if place == lost:
                raise StoreUnavailableError("this one is lost")

        store.before_write = hold
        checkpoint = checkpoints[place]
        with suppress(StoreUnavailableError):
            quick.put(configs[place][0], checkpoint, make_metadata(place + 1), {"log": place + 2})

    threads = [threading.Thread(target=put, args=(place,)) for place in range(3)]
    threads[0].start()
    assert encoded[0].wait(60)
    for thread, each in zip(threads, released, strict=True):
        each.set()
        thread.join()
    for reader in both(branch.driver, store):
        assert reader.get_tuple(configs[lost][1]) is None
        for place in {0, 1, 2} - {lost}:
            found = reader.load(configs[place][1]).checkpoint["channel_values"]
            assert found == {"log": logs[place + 1]}


def test_writes_share_nothing_with_a_try_that_failed(branch: Branch, store: RacingStore) -> None:
    driver, parent = branch.driver, branch.config
    first = branch.put(log=[*branch.values["log"], text("next")])
    again = [text(("again", n)) for n in range(40)]
    checkpoint = make_checkpoint(
        {"log": again}, {"log": 9}, checkpoint_id=ids([driver.load(first)])[0]
    )

    def fail() -> None:
        raise StoreUnavailableError("this one is lost")

    store.before_write = fail
    with pytest.raises(StoreUnavailableError):
        driver.put(parent, checkpoint, make_metadata(1), {"log": 9})
    # A checkpoint with this id exists, but it is the first one.
    driver.put_writes(first, [("log", [*again, "end"])], "task")
    for reader in both(driver, store):
        assert written(reader, first) == [("log", [*again, "end"])]
        assert reader.load(first).checkpoint["channel_values"] == branch.values


class OneByOne(RacingStore):
    """A store that another writer may write to between the batches of one write."""

    def write(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            super().write([batch])


def test_what_a_put_relies_on_may_go_while_it_is_looked_for(driver: Driver) -> None:
    store = OneByOne(swarmstate.Store())
    branch = Branch(Driver(SwarmStateSaver(store), "sync"))
    branch.put(log=long_log())
    logs = [[*branch.values["log"], text("next")]]
    logs.append([*logs[0], text("after it")])
    first, second = (
        make_checkpoint({"log": log}, {"log": version}) for version, log in enumerate(logs, 2)
    )
    config, followed_by = (at("t", "", each["id"]) for each in (first, second))
    encoded, released = threading.Event(), threading.Event()
    follower = threading.Thread(
        target=branch.driver.put, args=(config, second, make_metadata(2), {"log": 3})
    )

    def replace() -> None:
        """Put the same checkpoint again, after everything else is deleted."""
        other = driver.over(SwarmStateSaver(store.inner))
        other.delete_thread("t")
        other.put(branch.config, first, make_metadata(1), {"log": 2})

    def hold() -> None:
        encoded.set()
        assert released.wait(60)
        store.before_write = replace

    def go_ahead() -> None:
        store.before_write = hold
        follower.start()
        assert encoded.wait(60)

    store.before_write = go_ahead
    branch.driver.put(branch.config, first, make_metadata(1), {"log": 2})
    released.set()
    follower.join()
    for reader in both(branch.driver, store):
        assert reader.load(config).checkpoint["channel_values"] == {"log": logs[0]}
        assert reader.load(followed_by).checkpoint["channel_values"] == {"log": logs[1]}


def test_what_is_stored_relies_on_its_parent_no_more(branch: Branch, store: RacingStore) -> None:
    driver = branch.driver
    branch.put(log=[*branch.values["log"], text("next")])
    driver.prune(["t"])
    store.reset()
    handed_on = [*branch.values["log"], text("after it")]
    driver.put_writes(branch.config, [("log", handed_on)], "task")
    branch.put(log=handed_on)
    assert store.trips == ["write", "write"], "nothing was sent again"
    for reader in both(driver, store):
        assert reader.load(at()).checkpoint["channel_values"] == {"log": handed_on}


def test_a_write_during_a_collection_keeps_what_it_shares(driver: Driver) -> None:
    def deletes_blobs(batch: Batch) -> bool:
        return any(key.startswith("blob/") for key in batch.delete)

    store = RacingStore(swarmstate.Store(), deletes_blobs)
    branch = Branch(driver.over(SwarmStateSaver(store)))
    branch.put(log=long_log())
    driver = branch.driver
    kept = branch.config
    branch.put({"run_id": "r"}, log=[*branch.values["log"], text("again")])
    other = Driver(driver.saver, "sync")
    # The blob exists but is about to be deleted, and the task writes exactly its content.
    store.before_write = lambda: other.put_writes(kept, [("log", [text("again")])], "task")
    driver.delete_for_runs(["r"])
    assert "again" not in str(driver.get_tuple(branch.config))
    for reader in both(driver, store):
        assert [item.config for item in reader.list(at())] == [kept]
        assert written(reader, kept) == [("log", [text("again")])]

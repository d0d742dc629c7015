"""The index of threads is derived: whatever it says, no thread is lost or invented."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from langgraph.checkpoint.swarmstate.testing import Driver
from langgraph.checkpoint.swarmstate.testing.checkpoints import (
    Branch,
    at,
    make_checkpoint,
    make_metadata,
    thread_of,
)
from swarmstate import BaseStore, Batch, Query, Range, Store
from swarmstate.errors import StoreReadOnlyError, StoreUnavailableError
from swarmstate.layers import StoreLayer
from swarmstate.moving import copy_store

from tests.langgraph.helpers import raw
from tests.langgraph.helpers.counting import CountingStore
from tests.langgraph.helpers.racing import RacingStore

if TYPE_CHECKING:
    from collections.abc import Sequence

INDEX = "langgraph-index"


def _fill(driver: Driver) -> list[str]:
    """Put checkpoints into the threads in turn; return their ids, newest first."""
    branches = [Branch(driver, f"t{n}") for n in range(5)]
    order = [branches[n % 5].put({"run_id": f"r{n % 3}"}, n=n) for n in range(15)]
    return [thread_of(config)[2] for config in reversed(order)]


def _minute(number: int) -> str:
    """Return the id of a checkpoint that was put in the given minute."""
    return f"{0x1F000000 + 2 * number:08x}-0000-6000-8000-000000000000"


def _keys(store: BaseStore, prefix: str) -> list[str]:
    [answer] = store.read([Query(INDEX, (), [Range.of_prefix(prefix)])])
    return [key for key, _ in answer.ranges[0]]


def _threads(driver: Driver) -> Sequence[str]:
    saver = driver.saver
    assert isinstance(saver, SwarmStateSaver)
    return saver.threads() if driver.mode == "sync" else driver.run(saver.athreads())


def _listed(driver: Driver) -> list[str]:
    return [item.checkpoint["id"] for item in driver.list(None)]


def test_a_lost_index_loses_no_thread(driver: Driver, store: BaseStore) -> None:
    newest = _fill(driver)
    store.write([Batch(INDEX, clear=True)])
    assert _listed(driver) == newest
    for name in ("t0", "t1"):
        driver.delete_thread(name)
    assert len(_listed(driver)) == 9


def test_entries_of_lost_threads_invent_nothing(driver: Driver, store: BaseStore) -> None:
    _fill(driver)
    for n in range(4):
        store.write([Batch(f"langgraph:t{n}", clear=True)])
    assert {thread_of(item.config)[0] for item in driver.list(None)} == {"t4"}
    driver.delete_for_runs(["r0", "r1", "r2"])
    assert _listed(driver) == []
    assert _keys(store, "run/") == []
    for n in range(4):
        driver.delete_thread(f"t{n}")


def test_entries_of_threads_that_expired_go_when_all_threads_are_listed(
    driver: Driver, store: BaseStore
) -> None:
    # More than one read returns. An expired thread is simply missing.
    for n in range(1_100):
        driver.put(at(f"t{n}"), make_checkpoint(), make_metadata(run_id=f"r{n}/a"), {})
    kept = ["t500", "t99"]
    for name in store.namespaces("langgraph:"):
        if name.partition(":")[2] not in kept:
            store.write([Batch(name, clear=True)])
    assert sorted(_threads(driver)) == kept
    assert [key.partition("\x01")[2] for key in _keys(store, "time/")] == kept
    assert _keys(store, "run/") == ["run/r500%2Fa/t500", "run/r99%2Fa/t99"]
    for name in kept:
        store.write([Batch(f"langgraph:{name}", clear=True)])
    # Like a run that continues while its thread is deleted.
    store.write([Batch(INDEX, delete=_keys(store, "time/")[:1])])
    assert _threads(driver) == []
    assert store.namespaces() == []


def test_a_thread_that_comes_back_while_its_entries_are_removed_keeps_them(
    driver: Driver, store: BaseStore
) -> None:
    gone = make_checkpoint()
    driver.put(at("t"), gone, make_metadata(run_id="r"), {})
    entries = {area: _keys(store, area) for area in ("time/", "run/")}
    quick = Driver(driver.saver, "sync")
    for area in entries:
        store.write([Batch("langgraph:t", clear=True)])
        racing = RacingStore(store, lambda batch, area=area: batch.delete == entries[area])  # type: ignore[misc]  # bind the loop variable
        racing.before_write = lambda: quick.put(at("t"), gone, make_metadata(run_id="r"), {})
        other = driver.over(SwarmStateSaver(racing))
        assert _threads(other) == []
        assert {area: _keys(store, area) for area in entries} == entries
        assert _threads(other) == ["t"]


class _Unwritable(StoreLayer):
    def __init__(self, inner: BaseStore, error: type[Exception]) -> None:
        super().__init__(inner)
        self._error = error

    def write(self, batches: Any) -> None:
        raise self._error("nothing can be written")


@pytest.mark.parametrize("error", [StoreReadOnlyError, StoreUnavailableError])
def test_threads_are_told_where_the_index_cannot_be_written(error: type[Exception]) -> None:
    with Store() as store:
        saver = SwarmStateSaver(store)
        for name in ("t", "u"):
            saver.put(at(name), make_checkpoint(), make_metadata(), {})
        store.write([Batch("langgraph:t", clear=True)])
        assert SwarmStateSaver(_Unwritable(store, error)).threads() == ["u"]
        assert len(_keys(store, "time/")) == 2


def test_a_thread_that_another_one_replaced_leaves_nothing(
    driver: Driver, store: BaseStore
) -> None:
    Branch(driver, "old").put({"run_id": "r"}, a=1)
    Branch(driver, "new").put({"run_id": "s"}, a=2)
    old = make_checkpoint(checkpoint_id=_minute(1))
    driver.put(at("old"), old, make_metadata(run_id="ancient"), {})
    driver.copy_thread("new", "old")
    driver.delete_thread("old")
    driver.delete_thread("new")
    assert store.namespaces() == []


def test_a_run_that_another_one_replaced_leaves_nothing(driver: Driver, store: BaseStore) -> None:
    checkpoint = make_checkpoint()
    for run in ("old", "new"):
        driver.put(at(), checkpoint, make_metadata(run_id=run), {})
    driver.delete_for_runs(["old"])
    assert _keys(store, "run/") == ["run/new/t"]
    assert raw.keys(store, "t", "run") == ["run/new"]


def test_what_a_deleted_run_left_for_a_delta_channel_goes_with_a_later_deletion(
    driver: Driver,
) -> None:
    metadata: Any = {**make_metadata(run_id="new"), "counters_since_delta_snapshot": {"d": (1, 1)}}
    config = driver.put(at(), make_checkpoint({"d": [1]}), make_metadata(run_id="old"), {"d": 1})
    later = make_checkpoint({}, {"d": 1})
    driver.put(config, later, metadata, {})
    driver.delete_for_runs(["old"])
    assert len(_listed(driver)) == 2
    driver.delete_for_runs(["new"])
    driver.delete_for_runs(["old"])
    assert _listed(driver) == []


def test_a_thread_that_goes_on_after_its_deletion_is_listed(driver: Driver) -> None:
    branch = Branch(driver)
    branch.put(a=1)
    driver.delete_thread("t")
    branch.put(a=2)  # as by a run that the deletion did not stop
    assert _listed(driver) == [branch.id]
    assert driver.load(at()).checkpoint["channel_values"] == {"a": 2}


@pytest.mark.parametrize("run", ["a/b", "50%", "%2F", "a/", "x" * 300, "é\n", "*"])
def test_runs_may_be_named_anything(driver: Driver, store: BaseStore, run: str) -> None:
    for thread in ("t", "t/b", "u"):
        branch = Branch(driver, thread)
        branch.put({"run_id": run}, a=1)
        branch.put({"run_id": "other"}, a=2)
    driver.copy_thread("t", "copy")
    driver.delete_thread("u")
    driver.delete_for_runs([run])
    assert {item.metadata["run_id"] for item in driver.list(None)} == {"other"}
    assert len(driver.list(None)) == 3
    for thread in ("t", "t/b", "copy"):
        driver.delete_thread(thread)
    assert store.namespaces() == []


def test_many_threads_of_one_moment_are_listed_newest_first(driver: Driver) -> None:
    # More than are opened at once, all in one bucket of the index.
    branches = [Branch(driver, f"thread {n}") for n in range(70)]
    put = [branch.put(n=0) for branch in reversed(branches)]
    put += [branch.put(n=1) for branch in branches]
    assert _listed(driver) == [thread_of(config)[2] for config in reversed(put)]


def test_of_a_thread_without_subgraphs_the_newest_key_alone_is_read_for_its_name() -> None:
    with CountingStore(Store()) as store, SwarmStateSaver(store) as saver:
        driver = Driver(saver, "sync")
        for name in ("a", "b"):
            branch = Branch(driver, name)
            last = [branch.put(n=n) for n in range(20)][-1]
        store.reset()
        assert saver.threads() == ["b", "a"]
        read = [each.start for query in store.queries for each in query.ranges]
        assert not [start for start in read if start.startswith("run/")], "no thread is gone"
        threads = [query for query in store.queries if query.namespace != INDEX]
        answers = store.inner.read(threads)
        keys = [key for answer in answers for records in answer.ranges for key, _ in records]
        assert len(keys) == 2
        assert keys[-1].endswith(thread_of(last)[2])
        driver.close()


class _Watched(Store):
    """Counts how often all namespaces are listed."""

    listings = 0

    def namespaces(self, *args: Any, **options: Any) -> list[str]:
        self.listings += 1
        return super().namespaces(*args, **options)


def test_the_newest_are_found_without_a_look_at_every_thread() -> None:
    with _Watched() as store, SwarmStateSaver(store) as saver:
        names = [f"thread {n}" for n in range(2_500)]
        for n, name in enumerate(names):
            # As if each ran a minute after the last.
            checkpoint = make_checkpoint(checkpoint_id=_minute(n))
            saver.put(at(name), checkpoint, make_metadata(), {})
        newest = names[::-1]
        assert saver.threads(limit=5) == newest[:5]
        listed = [thread_of(item.config)[0] for item in saver.list(None, limit=1_200)]
        assert listed == newest[:1_200]
        assert store.listings == 0
        assert saver.threads() == newest
        assert store.listings == 1
        [answer] = store.read([Query(INDEX, (), [Range(limit=2)])])
        store.write([Batch(INDEX, delete=[key for key, _ in answer.ranges[0]])])
        assert saver.threads(limit=5) == newest[:5]
        assert sorted(saver.threads()) == sorted(names)


def test_a_thread_keeps_its_place_whatever_becomes_of_its_checkpoints() -> None:
    with _Watched() as store, SwarmStateSaver(store) as saver:

        def put(thread: str, config: Any, minute: int) -> Any:
            checkpoint = make_checkpoint(checkpoint_id=_minute(minute))
            return saver.put(config, checkpoint, make_metadata(run_id=f"{thread} {minute}"), {})

        others = [f"thread {n:04}" for n in range(0, 2_400, 2)]
        for name in others:
            put(name, at(name), int(name.split()[1]))
        config = at("long")
        for minute in (1, 2_361, 2_381, 2_401):
            config = put("long", config, minute)

        def newest(**places: int) -> list[str]:
            minutes = {name: int(name.split()[1]) for name in others} | places
            return sorted(minutes, key=lambda name: (minutes[name], name), reverse=True)[:100]

        assert saver.threads(limit=100) == newest(long=2_401)
        saver.copy_thread("long", "copy")
        assert saver.threads(limit=100) == newest(long=2_401, copy=2_401)
        saver.delete_for_runs(["long 2401"])
        assert saver.threads(limit=100) == newest(long=2_381, copy=2_381)
        saver.delete_for_runs(["long 2361"])
        assert saver.threads(limit=100) == newest(long=2_381, copy=2_381)
        saver.delete_for_runs(["long 2381", "long 1"])
        assert saver.threads(limit=100) == newest()
        # All of this was found without looking at every thread.
        assert store.listings == 0


def test_a_thread_that_goes_on_while_all_are_listed_keeps_its_place() -> None:
    with SwarmStateSaver() as saver:
        ids = [f"{0x1F000000 + n:08x}-0000-6000-8000-000000000000" for n in range(2_500)]
        for n, checkpoint_id in enumerate(ids):
            checkpoint = make_checkpoint(checkpoint_id=checkpoint_id)
            saver.put(at(f"thread {n}"), checkpoint, make_metadata(), {})
        listing = saver.list(None)
        listed = [next(listing).checkpoint["id"]]
        added = make_checkpoint(checkpoint_id=ids[-1].replace("1f", "2f", 1))
        saver.put(at("thread 1200", checkpoint_id=ids[1200]), added, make_metadata(), {})
        listed += [item.checkpoint["id"] for item in listing]
    assert [checkpoint_id for checkpoint_id in listed if checkpoint_id in ids] == ids[::-1]


@pytest.mark.parametrize("overwrite", [False, True])
def test_threads_are_copied_beside_others(
    driver: Driver, store: BaseStore, overwrite: bool
) -> None:
    branches = [Branch(driver, "t"), Branch(driver, "both")]
    newest = [branch.put({"run_id": "r"}, n=1) for branch in branches]
    with Store() as other, SwarmStateSaver(other) as saver:
        copy_store(store, other, prefix="langgraph:both")
        missing = len(store) - len(other)
        saver.put(at("u"), make_checkpoint(), make_metadata(run_id="mine"), {})
        saver.put(at("v"), make_checkpoint(), make_metadata(run_id="r"), {})
        for written in (missing, 0):
            report = copy_store(store, other, overwrite=overwrite)
            assert (report.failures, report.written) == ((), written)
        assert set(saver.threads()) == {"t", "both", "u", "v"}
        assert [saver.get_tuple(config) for config in newest] == [
            driver.load(config) for config in newest
        ]
        saver.delete_for_runs(["r"])
        assert saver.threads() == ["u"]
        saver.delete_for_runs(["mine"])
        assert saver.threads() == []

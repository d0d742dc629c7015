"""Pruning by number and age: exactly the right checkpoints go, and their space with them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import math
import random
import threading
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
import swarmstate
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.swarmstate import PruneReport, SwarmStateSaver
from langgraph.checkpoint.swarmstate.testing import Driver, Mode, graphs
from langgraph.checkpoint.swarmstate.testing.checkpoints import (
    Branch,
    at,
    make_checkpoint,
    make_metadata,
    thread_of,
)
from swarmstate import DiskStore
from swarmstate.base import BaseStore, Batch, Query, Result
from swarmstate.errors import CheckpointError, ConflictError
from swarmstate.sharing import blob_names

from tests.langgraph.helpers import raw
from tests.langgraph.helpers.counting import CountingStore
from tests.langgraph.helpers.racing import RacingStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SPACES = ["", "child:1", "child|x"]


@pytest.fixture
def store() -> RacingStore:
    return RacingStore(swarmstate.Store(), lambda batch: bool(batch.expect))


def prune(driver: Driver, thread_ids: Sequence[Any], **options: Any) -> PruneReport:
    report: PruneReport = driver._call(driver.saver, "prune", thread_ids, **options)
    return report


def put_aged(driver: Driver, config: Any, age: timedelta | str, values: dict[str, Any]) -> Any:
    """Put a checkpoint whose timestamp gives this age, or is the string `age`."""
    ts = age if isinstance(age, str) else (datetime.now(timezone.utc) - age).isoformat()
    checkpoint: Any = {**make_checkpoint(values), "ts": ts}
    stored = driver.put(config, checkpoint, make_metadata(run_id=f"run {age}"), {})
    driver.put_writes(stored, [("n", 1), ("log", ["w" * 500])], "task")
    return stored


def fill(driver: Driver, thread: str, count: int = 12) -> None:
    """Put checkpoints of decreasing age, in days, into each namespace."""
    rng = random.Random(thread)
    for ns in SPACES:
        config, log = at(thread, ns), [f"{thread}{ns}"]
        for n in range(count):
            log = [*log[rng.randrange(2) :], "".join(rng.choices("abcdef", k=300))]
            values = {"n": n, "log": log, "page": f"{n:04}" * 1000}
            config = put_aged(driver, config, timedelta(days=count - n), values)


def whole(items: Sequence[Any]) -> list[Any]:
    """Return checkpoints without their parents, which pruning may cut off."""
    return [item._replace(parent_config=None) for item in items]


POLICIES: list[dict[str, Any]] = [
    {},
    {"keep_last": 1},
    {"keep_last": 5},
    {"keep_last": 12},
    {"keep_last": 1000},
    {"older_than": timedelta(days=4, hours=12)},
    {"older_than": 4.5 * 24 * 3600},
    {"older_than": 0},
    {"older_than": math.inf},
    {"older_than": timedelta.max},
    {"keep_last": 2, "older_than": timedelta(days=4, hours=12)},
    {"keep_last": 8, "older_than": timedelta(days=4, hours=12)},
]


def stays(policy: dict[str, Any], position: int, age: timedelta) -> bool:
    """Return whether a checkpoint stays, as documented; `position` counts from the newest (0)."""
    if position < policy.get("keep_last", 1):
        return True
    limit = policy.get("older_than")
    if limit is None:
        return False
    seconds = limit.total_seconds() if isinstance(limit, timedelta) else limit
    return age.total_seconds() <= seconds


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_what_stays_is_complete_and_all_else_goes(
    driver: Driver, store: RacingStore, policy: dict[str, Any]
) -> None:
    fill(driver, "t")
    fill(driver, "other")
    others = driver.list(at("other", None))
    expected = []
    for item in driver.list(at("t", None)):
        position = 11 - item.checkpoint["channel_values"]["n"]
        if stays(policy, position, timedelta(days=position + 1)):
            expected.append(item)
    prune(driver, ["t"], **policy)
    for reader in (driver, driver.over(SwarmStateSaver(store))):
        found = reader.list(at("t", None))
        assert whole(found) == whole(expected)
        assert [reader.load(item.config) for item in found] == found
        kept = {thread_of(item.config) for item in found}
        parents = [item.parent_config for item in found if item.parent_config]
        assert kept.issuperset(thread_of(parent) for parent in parents)
        assert reader.list(at("other", None)) == others
    needed = {blob for item in found for blob in _blobs(store, item)}
    assert set(raw.keys(store, "t", "blob")) == needed
    assert len(raw.keys(store, "t", "write")) == 2 * len(found)
    assert len(raw.keys(store, "t", "run")) == len({item.metadata["run_id"] for item in found})


def _blobs(store: BaseStore, item: Any) -> Iterator[str]:
    _, ns, checkpoint_id = thread_of(item.config)
    content, _ = swarmstate.loads(raw.read(store, "t", f"checkpoint/{ns}/{checkpoint_id}"))
    for entry in content["channels"].values():
        yield from (f"blob/{name}" for name in blob_names(entry))


@pytest.mark.parametrize("policy", [*POLICIES[:3], *POLICIES[-2:], {"strategy": "delete"}], ids=str)
def test_a_dry_run_changes_nothing_and_says_exactly_what_would_go(
    driver: Driver, store: RacingStore, policy: dict[str, Any]
) -> None:
    for thread in ("t", "u", "other"):
        fill(driver, thread)
    before = raw.everything(store)
    store.reset()
    planned = prune(driver, ["t", "u", "u", "unknown"], dry_run=True, **policy)
    assert raw.everything(store) == before
    large = [query.keys for query in store.queries if len(query.keys) > 32]
    assert all(key.startswith("write/") for keys in large for key in keys)
    assert len(large) <= 2, "sizes are added up a few records at a time"
    store.reset()
    done = prune(driver, ["t", "u", "u", "unknown"], **policy)
    assert "blob" not in store.kinds, "nothing is read only to be counted"
    after = raw.everything(store)
    gone = {address: len(before[address]) for address in before.keys() - after.keys()}

    def count(kind: str) -> int:
        return sum(key.startswith(f"{kind}/") for _, key in gone)

    assert done == PruneReport(2, count("checkpoint"), count("write"), count("blob"), None)
    assert done == dataclasses.replace(planned, freed_bytes=None)
    assert planned.freed_bytes == sum(gone.values())
    assert count("checkpoint") > 0
    assert prune(driver, ["t", "u"], **policy) == PruneReport()
    assert prune(driver, ["t", "u"], dry_run=True, **policy) == PruneReport(freed_bytes=0)


@pytest.mark.parametrize(
    "options",
    [
        {"keep_last": 0},
        {"keep_last": -3},
        {"older_than": -1},
        {"older_than": timedelta(days=-1)},
        {"older_than": math.nan},
        {"strategy": "delete", "keep_last": 3},
        {"strategy": "delete", "older_than": 3},
        {"strategy": "newest"},
    ],
    ids=str,
)
@pytest.mark.parametrize("dry_run", [True, False])
def test_arguments_that_make_no_sense_delete_nothing(
    driver: Driver, store: RacingStore, options: dict[str, Any], dry_run: bool
) -> None:
    fill(driver, "t", 3)
    before = raw.everything(store)
    with pytest.raises(ValueError, match=r"keep_last|older_than|strategy"):
        prune(driver, ["t"], dry_run=dry_run, **options)
    assert raw.everything(store) == before


def test_the_strategy_of_langgraph_s_server_deletes(driver: Driver) -> None:
    # LangGraph's server calls custom savers with this strategy, and does not know "delete".
    for thread in ("t", "u", "other"):
        fill(driver, thread, 2)
    prune(driver, ["t", "u"], strategy="delete_all")
    assert {thread_of(item.config)[0] for item in driver.list(None)} == {"other"}


@pytest.mark.parametrize("ts", ["", "yesterday", "2020-13-01T00:00:00"])
def test_a_checkpoint_without_a_time_is_not_old(driver: Driver, ts: str) -> None:
    config = put_aged(driver, at(), ts, {"n": 0})
    config = put_aged(driver, config, timedelta(days=9), {"n": 1})
    put_aged(driver, config, timedelta(days=1), {"n": 2})
    assert prune(driver, ["t"], older_than=timedelta(days=3)).checkpoints == 1
    assert [item.checkpoint["channel_values"]["n"] for item in driver.list(at())] == [2, 0]


@pytest.mark.parametrize("ts", ["2020-01-01T00:00:00Z", "2020-01-01T00:00:00", "2020-01-01"])
def test_times_of_other_origin_are_read(driver: Driver, ts: str) -> None:
    put_aged(driver, put_aged(driver, at(), ts, {"n": 0}), timedelta(days=1), {"n": 1})
    assert prune(driver, ["t"], older_than=timedelta(days=3)).checkpoints == 1


def test_a_delta_channel_is_rebuilt_from_what_stays(driver: Driver, store: RacingStore) -> None:
    graph: Any = graphs.delta_log(driver.saver)
    for turn in range(30):
        driver.invoke(graph, {"n": turn}, at())
    before = {
        state.config["configurable"]["checkpoint_id"]: state.values
        for state in driver.history(graph, at())
    }
    report = prune(driver, ["t"], keep_last=7)
    fresh = driver.over(SwarmStateSaver(store))
    graph = graphs.delta_log(fresh.saver)
    found = driver.history(graph, at())
    assert report.checkpoints + len(found) == len(before)
    for state in found[:7]:
        assert state.values == before[state.config["configurable"]["checkpoint_id"]]
    expected = driver.invoke(graph, {"n": 30}, at())
    assert driver.state(graph, at()).values == expected


@pytest.mark.parametrize(
    "policy", [{}, {"keep_last": 4}, {"keep_last": 4, "older_than": 0}, {"keep_last": 99}], ids=str
)
@pytest.mark.parametrize("own", [None, True], ids=["inherits", "own"])
def test_a_run_of_a_subgraph_goes_with_the_checkpoint_it_was_started_from(
    driver: Driver, store: RacingStore, own: bool | None, policy: dict[str, Any]
) -> None:
    graph: Any = graphs.nested(driver.saver, [], own=own)
    for turn in range(5):
        driver.invoke(graph, {"n": turn}, at())
    before = driver.list(at("t", None))
    prune(driver, ["t"], **policy)
    found = driver.list(at("t", None))
    limit = policy.get("keep_last", 1)
    roots = [item for item in found if thread_of(item.config)[1] == ""]
    assert whole(roots) == whole([b for b in before if thread_of(b.config)[1] == ""][:limit])
    started_from = {thread_of(item.config)[2] for item in roots}
    spaces = {thread_of(item.config)[1]: item.metadata["parents"].get("") for item in before}
    live = {ns for ns, root in spaces.items() if ":" not in ns or root in started_from}
    assert {thread_of(item.config)[1] for item in found} == live
    assert set(raw.keys(store, "t", "blob")) == {b for item in found for b in _blobs(store, item)}


def test_a_run_of_a_subgraph_stays_while_its_start_is_not_stored(driver: Driver) -> None:
    # In the background the one may be stored before the other.
    root = Branch(driver)
    for n in range(3):
        root.put(n=n)
    Branch(driver, ns="inner:1").put({"parents": {"": str(uuid6())}}, n=7)
    assert prune(driver, ["t"]).checkpoints == 2
    assert driver.load(at("t", "inner:1")).checkpoint["channel_values"] == {"n": 7}


@pytest.mark.parametrize("parents", [None, "root", {}, {"": None}, {"": ["root"]}], ids=str)
def test_a_run_of_a_subgraph_stays_if_its_start_is_not_known(driver: Driver, parents: Any) -> None:
    root = Branch(driver)
    for n in range(2):
        root.put(n=n)
    Branch(driver, ns="inner:1").put({"parents": parents}, n=7)
    assert prune(driver, ["t"]).checkpoints == 1
    assert driver.load(at("t", "inner:1")).checkpoint["channel_values"] == {"n": 7}


def test_a_run_of_a_subgraph_stays_with_the_checkpoint_it_was_resumed_from(driver: Driver) -> None:
    root, inner = Branch(driver), Branch(driver, ns="inner:1")
    for n in range(2):
        root.put(n=n)
        inner.put({"parents": {"": root.id}}, n=n)
    assert prune(driver, ["t"]).checkpoints == 2
    assert driver.load(at("t", "inner:1")).checkpoint["channel_values"] == {"n": 1}


def test_a_run_of_a_subgraph_stays_with_an_ancestor_that_stays(driver: Driver) -> None:
    graph: Any = graphs.delta_log(driver.saver)
    for turn in range(3):
        driver.invoke(graph, {"n": turn}, at())
    older = driver.list(at())[2].config
    Branch(driver, ns="inner:1").put({"parents": {"": thread_of(older)[2]}}, n=7)
    prune(driver, ["t"], keep_last=1)
    assert driver.get_tuple(older) is not None
    assert driver.load(at("t", "inner:1")).checkpoint["channel_values"] == {"n": 7}


def test_ancestors_that_form_a_circle_are_kept_like_others(driver: Driver) -> None:
    configs = [at()]
    for n in range(4):
        checkpoint = make_checkpoint({}, {"d": 1}, checkpoint_id=str(n))
        metadata: Any = {**make_metadata(), "counters_since_delta_snapshot": {"d": (1, 1)}}
        configs.append(driver.put(configs[-1], checkpoint, metadata, {"d": 1}))
    # The second is stored anew, by whoever read the third and went on with its config.
    driver.put(configs[3], {**checkpoint, "id": "1"}, metadata, {})
    assert prune(driver, ["t"]).checkpoints == 1
    assert [thread_of(item.config)[2] for item in driver.list(at())] == ["3", "2", "1"]


def test_a_thread_with_nothing_to_prune_costs_one_read(driver: Driver, store: RacingStore) -> None:
    fill(driver, "t", 3)
    store.reset()
    assert prune(driver, ["t"], keep_last=3) == PruneReport()
    assert store.trips == ["read"]


def test_a_put_meanwhile_keeps_what_it_shares(driver: Driver, store: RacingStore) -> None:
    branch = Branch(driver)
    log = [f"{n} " * 300 for n in range(20)]
    old = branch.put(log=log)
    branch.put(log=["new"])
    other = SwarmStateSaver(store)
    values = {"log": log}
    revived: list[Any] = []

    def revive() -> None:
        """Put a checkpoint whose values only a checkpoint about to be deleted holds."""
        revived.append(other.put(old, make_checkpoint(values), make_metadata(), {}))

    store.before_write = revive
    prune(driver, ["t"])
    assert len(revived) == 1
    assert driver.load(at()).checkpoint["channel_values"] == values
    assert len(driver.list(at())) == 1
    fresh = driver.over(SwarmStateSaver(store))
    assert fresh.load(revived[0]).checkpoint["channel_values"] == values


def test_a_write_that_is_added_meanwhile_goes_with_its_checkpoint(
    driver: Driver, store: RacingStore
) -> None:
    branch = Branch(driver)
    old = branch.put(n=0)
    driver.put_writes(branch.put(n=1), [("n", 2)], "task")
    found: list[str] = []

    def add() -> None:
        SwarmStateSaver(store).put_writes(old, [("n", 1)], "late")
        found.extend(raw.keys(store, "t", "write"))

    store.before_write = add
    prune(driver, ["t"])
    assert len(found) == 2
    assert raw.keys(store, "t", "write") == [f"write//{branch.id}/task/0"]


def test_what_another_pruning_deletes_meanwhile_does_not_come_back(
    driver: Driver, store: RacingStore
) -> None:
    branch = Branch(driver)
    for n in range(4):
        branch.put(n=n)
    # The first would store the older of its two checkpoints again, without a parent.
    store.before_write = lambda: SwarmStateSaver(store).prune(["t"], keep_last=1)
    prune(driver, ["t"], keep_last=2)
    assert [item.checkpoint["channel_values"]["n"] for item in driver.list(at())] == [3]


def test_values_that_were_put_again_are_freed(driver: Driver, store: RacingStore) -> None:
    checkpoint = make_checkpoint({"page": "old " * 2000})
    driver.put(at(), checkpoint, make_metadata(), {"page": 1})
    checkpoint["channel_values"] = {"page": "new " * 2000}
    driver.over(SwarmStateSaver(store)).put(at(), checkpoint, make_metadata(), {"page": 1})
    found = driver.list(at())
    assert len(raw.keys(store, "t", "blob")) == 2
    assert prune(driver, ["t"]) == PruneReport(threads=1, blobs=1)
    assert driver.list(at()) == found
    assert raw.keys(store, "t", "blob") == [*_blobs(store, found[0])]


def test_a_thread_that_is_never_left_alone_is_left_as_it_is(
    driver: Driver, store: RacingStore
) -> None:
    branch = Branch(driver)
    for n in range(3):
        branch.put(n=n)
    other = SwarmStateSaver(store)
    added: list[Any] = []

    def go_on() -> None:
        assert len(added) < 100
        added.append(other.put(at(), make_checkpoint({"n": 0}), make_metadata(), {}))
        store.before_write = go_on

    store.before_write = go_on
    with pytest.raises(ConflictError, match="thread 't' was written to"):
        prune(driver, ["t"])
    store.before_write = None
    assert len(driver.list(at())) == 3 + len(added)
    prune(driver, ["t"])
    assert len(driver.list(at())) == 1
    assert raw.keys(store, "t", "gc") == []


def test_who_finds_everything_pruned_leaves_nothing_behind(mode: Mode) -> None:
    store = RacingStore(
        swarmstate.Store(), lambda batch: any(key.startswith("gc/") for key in batch.put)
    )
    driver = Driver(SwarmStateSaver(store), mode)
    fill(driver, "t", 3)
    store.before_write = lambda: SwarmStateSaver(store).prune(["t"])
    assert prune(driver, ["t"]) == PruneReport()
    assert raw.keys(store, "t", "gc") == []
    driver.close()


def test_a_fork_from_a_pruned_checkpoint_is_stored_in_full(
    driver: Driver, store: RacingStore
) -> None:
    branch = Branch(driver)
    branch.put(log=[f"{n} " * 300 for n in range(20)])
    driver.load(branch.config)
    fork = branch.fork()
    SwarmStateSaver(store).prune(["t"], strategy="delete")
    fork.put(log=[*fork.values["log"], "more"])
    fresh = driver.over(SwarmStateSaver(store))
    assert fresh.load(fork.config).checkpoint["channel_values"] == fork.values


def test_writers_and_pruning_do_not_disturb_each_other(tmp_path: Path) -> None:
    saver = SwarmStateSaver(tmp_path / "agents.db")
    branch = Branch(Driver(saver, "sync"))
    failures: list[BaseException] = []

    def write() -> None:
        try:
            for n in range(80):
                branch.put(n=n, log=[*branch.values.get("log", ())[-20:], f"{n} " * 200])
                found = saver.get_tuple(at())
                assert found is not None
                assert found.checkpoint["channel_values"] == branch.values
        except BaseException as error:
            failures.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    pruner = SwarmStateSaver(saver.store)
    while writer.is_alive():
        with contextlib.suppress(ConflictError):
            pruner.prune(["t"], keep_last=3)
        for item in pruner.list(at()):
            assert len(item.checkpoint["channel_values"]["log"]) > 0
    writer.join()
    assert failures == []
    pruner.prune(["t"], keep_last=3)
    assert len(list(pruner.list(at()))) == 3
    found = SwarmStateSaver(saver.store).get_tuple(at())
    assert found is not None
    assert found.checkpoint["channel_values"] == branch.values
    saver.close()


class TakingTurns(CountingStore):
    """Lets every other task take a step before each of its own."""

    async def aread(self, queries: Sequence[Query]) -> list[Result]:
        await asyncio.sleep(0)
        return await super().aread(queries)

    async def awrite(self, batches: Sequence[Batch]) -> None:
        await asyncio.sleep(0)
        await super().awrite(batches)


@pytest.mark.parametrize("lead", range(6))
def test_all_who_delete_from_one_thread_at_once_come_through(lead: int) -> None:
    saver = SwarmStateSaver(TakingTurns(swarmstate.Store()))
    branch = Branch(Driver(saver, "sync"))
    log = [f"{n} " * 300 for n in range(20)]
    for n in range(12):
        branch.put({"run_id": f"run {n % 4}"}, log=[*log, f"{n}"])

    async def delete(position: int, run_id: str) -> None:
        for _ in range(position * lead):
            await asyncio.sleep(0)
        await saver.adelete_for_runs([run_id])

    async def main() -> None:
        # A server that rolls back a run asks for this twice.
        runs = ("run 0", "run 0", "run 1")
        await asyncio.gather(*(delete(position, run) for position, run in enumerate(runs)))

    asyncio.run(main())
    found = list(saver.list(at()))
    assert [item.metadata["run_id"] for item in found] == ["run 3", "run 2"] * 3
    assert found[0].checkpoint["channel_values"] == branch.values
    assert saver.prune(["t"], keep_last=6) == PruneReport()


def test_any_number_of_runs_is_deleted_from_one_thread_at_once() -> None:
    saver = SwarmStateSaver(TakingTurns(swarmstate.Store()))
    branch = Branch(Driver(saver, "sync"))
    for n in range(31):
        branch.put({"run_id": f"run {n}"}, log=[f"{n}"])

    async def main() -> None:
        await asyncio.gather(*(saver.adelete_for_runs([f"run {n}"]) for n in range(30)))

    asyncio.run(main())
    assert [item.metadata["run_id"] for item in saver.list(at())] == ["run 30"]


def test_pruning_leaves_a_damaged_thread_alone(driver: Driver, store: RacingStore) -> None:
    fill(driver, "t", 3)
    key = raw.keys(store, "t", "checkpoint")[1]
    raw.replace(store, "t", key, b"\xff")
    kept = {kind: raw.keys(store, "t", kind) for kind in ("checkpoint", "write", "blob")}
    for options in ({}, {"dry_run": True}, {"keep_last": 2}):
        with pytest.raises(CheckpointError, match=key.rpartition("/")[2]):
            prune(driver, ["t"], **options)
    assert {kind: raw.keys(store, "t", kind) for kind in kept} == kept
    assert prune(driver, ["t"], strategy="delete").checkpoints == 9
    assert raw.everything(store) == {}


def test_pruning_does_not_hide_that_a_parent_is_missing(driver: Driver, store: RacingStore) -> None:
    branch = Branch(driver)
    for n in range(4):
        branch.put(n=n)
    missing = raw.keys(store, "t", "checkpoint")[2]
    raw.delete(store, "t", missing)
    prune(driver, ["t"])
    [newest] = driver.list(at())
    assert newest.parent_config is not None
    assert thread_of(newest.parent_config)[2] == missing.rpartition("/")[2]


def test_the_file_shrinks_while_others_write(tmp_path: Path) -> None:
    path = tmp_path / "agents.db"
    store = DiskStore(path, durability="normal")
    saver = SwarmStateSaver(store)
    branch = Branch(Driver(saver, "sync"))
    for n in range(120):
        branch.put(n=n, log=[f"{n:05}" * 20_000])
    store.vacuum()  # Also moves the contents of the WAL into the file.
    before = path.stat().st_size
    assert before > 10_000_000
    written = Branch(Driver(saver, "sync"), "busy")
    stop = threading.Event()
    failures: list[BaseException] = []

    def write() -> None:
        try:
            while not stop.is_set():
                written.put(n=written.step, log=[f"{written.step} " * 100] * 5)
        except BaseException as error:
            failures.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        planned = saver.prune(["t"], keep_last=2, dry_run=True)
        assert saver.prune(["t"], keep_last=2).checkpoints == 118
        store.vacuum()
    finally:
        stop.set()
        writer.join()
    assert failures == []
    assert planned.freed_bytes is not None
    assert planned.freed_bytes > 0.8 * before
    saver.prune(["busy"])
    store.vacuum()
    assert path.stat().st_size < before / 10
    store.close()
    with SwarmStateSaver(path) as saver:
        for line in (branch, written):
            found = saver.get_tuple(line.config)
            assert found is not None
            assert found.checkpoint["channel_values"] == line.values
        assert len(list(saver.list(at()))) == 2

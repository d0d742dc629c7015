"""Pending writes to large values share their contents with the checkpoint that follows."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest
import swarmstate
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.swarmstate import Stats, SwarmStateSaver
from langgraph.checkpoint.swarmstate.testing import Driver
from langgraph.checkpoint.swarmstate.testing.checkpoints import (
    Branch,
    at,
    make_metadata,
)
from swarmstate.errors import CheckpointError

from tests.langgraph.helpers import raw
from tests.langgraph.helpers.counting import CountingStore
from tests.langgraph.helpers.logs import both, long_log, rows, text, written


@pytest.fixture
def store() -> CountingStore:
    return CountingStore(swarmstate.Store())


def test_what_a_task_wrote_is_stored_once(driver: Driver, store: CountingStore) -> None:
    branch = Branch(driver)
    branch.put(log=long_log())
    writes = {}
    for n in range(8):
        said = AIMessage(text(f"said {n}"), id=f"said {n}")
        driver.put_writes(branch.config, [("log", [said]), ("n", n)], f"task {n}")
        writes[n] = branch.config, [("log", [said]), ("n", n)]
        branch.put(log=[*branch.values["log"], said], n=n)
        holding = [key for key, data in raw.everything(store).items() if said.text.encode() in data]
        assert len(holding) == 1
    for reader in both(driver, store):
        for config, expected in writes.values():
            assert written(reader, config) == expected
        listed = {item.config["configurable"]["checkpoint_id"]: item for item in reader.list(at())}
        for config, expected in writes.values():
            item = listed[config["configurable"]["checkpoint_id"]]
            assert [(channel, value) for _, channel, value in item.pending_writes or []] == expected


def test_a_file_of_a_dict_is_stored_once(driver: Driver, store: CountingStore) -> None:
    branch = Branch(driver)
    files = {f"/f{n}": text(n, 2000) for n in range(20)}
    branch.put(files=files)
    for n in range(5):
        edit = {f"/f{n}": text(f"edit {n}", 2000)}
        driver.put_writes(branch.config, [("files", edit)], f"task {n}")
        assert written(driver, branch.config) == [("files", edit)]
        files = {**files, **edit}
        branch.put(files=files)
        [changed] = edit.values()
        assert sum(changed.encode() in data for data in raw.everything(store).values()) == 1


def test_an_image_that_comes_as_input_is_stored_once(driver: Driver, store: CountingStore) -> None:
    branch = Branch(driver)
    branch.put(log=long_log())
    image = HumanMessage(text("image", 200_000), id="image")
    branch.put(__start__={"log": [image]})
    driver.put_writes(branch.config, [("log", [image])], "start")
    branch.drop("__start__")
    branch.put(log=[*branch.values["log"], image])
    data = [data for data in raw.everything(store).values() if len(data) > 100_000]
    assert len(data) == 1
    assert driver.load(at()).checkpoint["channel_values"] == branch.values


def test_reading_them_costs_no_further_round_trip(driver: Driver, store: CountingStore) -> None:
    branch = Branch(driver)
    branch.put(log=long_log())
    writes = [("log", [text(n) for n in range(50)]), ("d", text("d", 20_000))]
    driver.put_writes(branch.config, writes, "task")
    for reader in both(driver, store):
        for config in (at(), branch.config):
            store.reset()
            assert written(reader, config) == writes
            assert store.trips == ["read", "read"]
        store.reset()
        assert len(reader.list(at(), limit=1)) == 1
        # The keys, then the records, then everything these refer to.
        assert store.trips == ["read", "read", "read"]
    parent = branch.config
    branch.put(log=long_log())
    for reader in both(driver, store):
        store.reset()
        found = reader.delta_history(branch.config, ["log", "d"])
        assert store.trips == ["read", "read"]
        assert found["log"]["seed"] == long_log()
        for channel, value in writes:
            assert [write[2] for write in found[channel]["writes"]] == [value]
        assert driver.load(branch.config).parent_config == parent


@pytest.mark.parametrize("late", [False, True], ids=["before the next checkpoint", "after it"])
def test_what_a_task_hands_on_is_not_stored_again(
    driver: Driver, store: CountingStore, late: bool
) -> None:
    branch = Branch(driver)
    branch.put(log=long_log(), report={"rows": rows(), "by": "audit"}, notes=text("notes", 9_000))
    branch.put(notes=branch.values["notes"])
    expected = []
    size = sum(map(len, raw.everything(store).values()))
    for n in range(8):
        said = AIMessage(text(f"said {n}"), id=f"said {n}")
        report = branch.values["report"]
        added = {**report, "rows": {**report["rows"], f"added {n}": text(f"added {n}")}}
        notes = branch.values["notes"]
        writes = [("log", [*branch.values["log"], said]), ("report", added), ("notes", notes)]
        expected.append((branch.config, writes))
        if late:
            branch.put(**dict(writes))
        driver.put_writes(expected[-1][0], writes, "task")
        if not late:
            branch.put(**dict(writes))
    grown = sum(map(len, raw.everything(store).values())) - size
    assert grown < 2 * size
    for reader in both(driver, store):
        for config, writes in expected:
            assert written(reader, config) == writes


@pytest.mark.parametrize("seed", range(12))
def test_whatever_a_task_writes_reads_back(driver: Driver, store: CountingStore, seed: int) -> None:
    rng = random.Random(seed)
    branch = Branch(driver)
    values: dict[str, Any] = {"log": long_log(), "report": {"rows": rows(), "by": "audit"}}
    branch.put(**values)
    expected = []
    for n in range(14):
        log, inside = list(values["log"]), dict(values["report"]["rows"])
        for _ in range(rng.randrange(4)):
            at_ = rng.randrange(len(log))
            edit = rng.randrange(7)
            if edit == 0:
                log[at_] = HumanMessage(text(("edit", n), 300), id=str(n))
            elif edit == 6 and isinstance(log[at_], HumanMessage):
                log[at_].content = text(("in place", n), 300)
            elif edit == 1:
                log[at_:at_] = [text(("new", n)), 7, HumanMessage(text(n), id="h")]
            elif edit == 2:
                del log[at_ : at_ + rng.randrange(12)]
                log.append("end")
            elif edit == 3:
                log[at_:] = [*log[at_:], *log[:at_]]
            elif edit == 4:
                row = inside.pop(rng.choice([*inside]))
                inside[text(("row", n), 20)] = row if rng.random() < 0.5 else [row, row]
            elif edit == 5:
                inside[rng.choice([*inside])] = {"list": log[at_ : at_ + 20]}
        values = {"log": log, "report": {"rows": inside, "by": "audit"}}
        config, order = branch.config, rng.random()
        if order < 0.3:
            branch.put(**values)
        driver.put_writes(config, [*values.items()], f"task {n:02}")
        expected.append((config, copy.deepcopy([*values.items()])))
        if 0.3 < order < 0.7:
            branch.put(**values)
        if rng.random() < 0.3:
            values = driver.load(at()).checkpoint["channel_values"]
    for reader in both(driver, store):
        found: dict[str, list[tuple[str, Any]]] = {}
        for config, writes in expected:
            found.setdefault(str(config), []).extend(writes)
        for config, _ in expected:
            assert written(reader, config) == found[str(config)]


def test_reading_what_was_handed_on_costs_no_further_round_trip(
    driver: Driver, store: CountingStore
) -> None:
    branch = Branch(driver)
    branch.put(log=long_log())
    writes = [("log", [*branch.values["log"], text(n)]) for n in range(7)]
    for n, write in enumerate(writes):
        driver.put_writes(branch.config, [write], f"task {n}")
    for reader in both(driver, store):
        # The second time, the values are recalled from memory.
        for config in (at(), branch.config, at(), branch.config):
            store.reset()
            assert written(reader, config) == writes
            assert store.trips == ["read", "read"]
        store.reset()
        assert len(reader.list(at(), limit=1)) == 1
        assert store.trips == ["read", "read", "read"]


def test_what_was_handed_on_stays_though_its_checkpoint_is_put_again(
    driver: Driver, store: CountingStore
) -> None:
    branch = Branch(driver)
    first = branch.put(log=long_log())
    handed_on = list(branch.values["log"])
    driver.put_writes(first, [("log", handed_on)], "task")
    again = driver.load(at()).checkpoint
    driver.put(at("t"), {**again, "channel_values": {"log": ["short"]}}, make_metadata(0), {})
    driver.prune(["t"])
    for reader in both(driver, store):
        assert reader.load(first).checkpoint["channel_values"] == {"log": ["short"]}
        assert written(reader, first) == [("log", handed_on)]


def test_what_was_known_of_a_deleted_thread_is_stored_again(
    driver: Driver, store: CountingStore
) -> None:
    branch = Branch(driver)
    branch.put(log=long_log())
    other = driver.over(SwarmStateSaver(store))
    other.delete_thread("t")
    again = Branch(other)
    again.put(log=[text(("again", n)) for n in range(20)])
    driver.put_writes(again.config, [("log", branch.values["log"])], "task")
    for reader in both(driver, store):
        assert written(reader, again.config) == [("log", long_log())]


def test_what_is_written_first_stays(driver: Driver, store: CountingStore) -> None:
    branch = Branch(driver)
    branch.put(log=long_log())
    for n in range(3):
        driver.put_writes(branch.config, [("log", [text(f"attempt {n}")])], "task")
    assert written(driver, branch.config) == [("log", [text("attempt 0")])]
    branch.put(log=[*branch.values["log"], text("attempt 2")])
    assert driver.load(at()).checkpoint["channel_values"] == branch.values
    for reader in both(driver, store):
        config = driver.load(at()).parent_config
        assert config is not None
        assert written(reader, config) == [("log", [text("attempt 0")])]


def test_pruning_keeps_what_kept_writes_hold_and_frees_the_rest(
    driver: Driver, store: CountingStore
) -> None:
    branch = Branch(driver)
    for n in range(6):
        branch.put(log=[*branch.values.get("log", long_log()), text(n)])
        driver.put_writes(branch.config, [("log", [text(f"pending {n}")])], "task")
    driver.prune(["t"])
    for reader in both(driver, store):
        assert written(reader, at()) == [("log", [text("pending 5")])]
    held = b"".join(raw.everything(store).values())
    assert [text(f"pending {n}").encode() in held for n in range(6)] == [False] * 5 + [True]
    # No write shares what the next checkpoint holds, so it is deleted with that checkpoint.
    branch.put(log=[*branch.values["log"], text("lost")], n=1)
    kept = branch.config
    branch.put(log=branch.values["log"][:-1])
    branch.put(log=branch.values["log"][:3])
    driver.prune(["t"])
    held = b"".join(raw.everything(store).values())
    assert text("lost").encode() not in held
    assert text("pending 5").encode() not in held
    assert driver.get_tuple(kept) is None
    assert driver.load(at()).checkpoint["channel_values"] == branch.values


def test_blobs_of_writes_without_a_checkpoint_stay(driver: Driver, store: CountingStore) -> None:
    branch = Branch(driver)
    branch.put(log=long_log())
    driver.put_writes(at("t", "", "not put yet"), [("log", [text("early")])], "task")
    branch.put(log=[*branch.values["log"], text("more")])
    driver.prune(["t"])
    held = b"".join(raw.everything(store).values())
    assert text("early").encode() in held


def test_a_list_that_became_small_meanwhile_is_read_all_the_same(
    driver: Driver, store: CountingStore
) -> None:
    branch = Branch(driver)
    branch.put(log=long_log())
    other = driver.over(SwarmStateSaver(store))
    before = other.load(at())
    # Another process puts a checkpoint that refers to no blob. A saver that last saw the long list
    # then stores a write that follows it.
    branch.put(log=[])
    other.put_writes(branch.config, [("log", [text("late")])], "task")
    for reader in both(driver, store):
        for config in (at(), branch.config):
            assert written(reader, config) == [("log", [text("late")])]
        assert [item.checkpoint["id"] for item in reader.list(at())][1] == before.checkpoint["id"]


def test_stats_count_what_writes_share(driver: Driver, store: CountingStore) -> None:
    def stats() -> Stats:
        found: Stats = driver._call(driver.saver, "stats", "t")
        return found

    branch = Branch(driver)
    branch.put(log=long_log())
    alone = stats()
    driver.put_writes(branch.config, [("log", [text("said")])], "task")
    written = stats()
    assert written.writes == 1
    assert written.blobs == alone.blobs + 1
    # No checkpoint holds the write's contents yet.
    assert written.saved_bytes == alone.saved_bytes
    branch.put(log=[*branch.values["log"], text("said")])
    shared = stats()
    assert shared.blobs == written.blobs
    # Everything is shared except the header of the list, which is in the record.
    newest = shared.channels["log"].newest_bytes
    assert shared.saved_bytes - written.saved_bytes == newest - 3 > 40 * 900


@pytest.mark.parametrize("damage", ["flip", "delete"])
def test_a_damaged_blob_of_a_write_is_named(
    driver: Driver, store: CountingStore, damage: str
) -> None:
    branch = Branch(driver)
    branch.put(log=long_log())
    intact = branch.config
    branch.put(n=1)
    driver.put_writes(branch.config, [("log", [text("pending")])], "the task")
    [key] = [
        key
        for (namespace, key), data in raw.everything(store).items()
        if key.startswith("blob/") and text("pending").encode() in data
    ]
    if damage == "flip":
        raw.replace(store, "t", key, raw.read(store, "t", key).replace(b"a", b"b", 1))
    else:
        raw.delete(store, "t", key)
    for reader in both(driver, store):
        with pytest.raises(CheckpointError, match="thread 't'") as caught:
            reader.get_tuple(branch.config)
        checkpoint_id = branch.config["configurable"]["checkpoint_id"]
        for part in (checkpoint_id, "the task", "log", key.removeprefix("blob/")):
            assert part in str(caught.value)
        assert len(reader.load(intact).checkpoint["channel_values"]["log"]) == 40


def test_small_values_and_their_writes_stay_in_their_records(
    driver: Driver, store: CountingStore
) -> None:
    branch = Branch(driver)
    branch.put(log=["x" * 500])
    driver.put_writes(branch.config, [("log", [text("w", 5000)])], "task")
    assert raw.keys(store, "t", "blob") == []
    assert written(driver, at()) == [("log", [text("w", 5000)])]


@pytest.mark.parametrize("seed", range(8))
def test_any_writes_read_back_beside_puts_prunes_copies_and_forks(seed: int) -> None:
    rng = random.Random(seed)
    store = CountingStore(swarmstate.Store())
    driver = Driver(SwarmStateSaver(store), "sync")
    values: dict[str, Any] = {"log": long_log(20), "files": {}, "n": 0, "page": ""}
    branch = Branch(driver)
    expected: dict[str, list[tuple[str, Any]]] = {}
    states: dict[str, Any] = {}
    for step in range(60):
        branch.put(**values)
        checkpoint_id = branch.config["configurable"]["checkpoint_id"]
        states[checkpoint_id] = dict(values)
        said = [
            AIMessage(text((seed, step, n), rng.choice([5, 70, 900])), id=f"{step}/{n}")
            for n in range(rng.choice([0, 1, 1, 3, 40]))
        ]
        name = f"/f{rng.randrange(30)}"
        file = text(rng.random(), rng.choice([10, 2000, 9000]))
        if rng.random() < 0.6:
            file = values["files"].get(name, "") + file
        files = {name: file}
        page = text(rng.random(), rng.choice([10, 3000]))
        if rng.random() < 0.7:
            at_ = rng.randrange(len(values["page"]) + 1)
            page = values["page"][:at_] + page + values["page"][at_:]
        writes = [("log", said), ("files", files), ("page", page), ("n", step)]
        saver = driver if rng.random() < 0.7 else driver.over(SwarmStateSaver(store))
        saver.put_writes(branch.config, writes, "task")
        expected[checkpoint_id] = writes
        log = [*values["log"], *said] if rng.random() < 0.9 else values["log"][-2:]
        values = {"log": log, "files": {**values["files"], **files}, "n": step, "page": page}
        if rng.random() < 0.1:
            driver.prune(["t"], keep_last=rng.choice([1, 3, 10]))
    for reader in both(driver, store):
        for thread in ("t", "copy"):
            for item in reader.list(at(thread)):
                found = item.checkpoint["id"]
                assert item.checkpoint["channel_values"] == states[found]
                assert [tuple(write[1:]) for write in item.pending_writes or []] == expected[found]
        driver.copy_thread("t", "copy")

"""`stats` counts exactly what the store holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import swarmstate
from langgraph.checkpoint.swarmstate import ChannelStats, Stats
from langgraph.checkpoint.swarmstate.testing import Driver
from langgraph.checkpoint.swarmstate.testing.checkpoints import Branch, at
from swarmstate import dumps
from swarmstate.errors import CheckpointError

from tests.langgraph.helpers import raw
from tests.langgraph.helpers.counting import CountingStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from swarmstate.base import BaseStore


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BaseStore]:
    inner = (
        swarmstate.Store()
        if request.param == "memory"
        else swarmstate.DiskStore(tmp_path / "agents.db")
    )
    with inner:
        yield CountingStore(inner)


def stats(driver: Driver, *thread: Any) -> Stats:
    found: Stats = driver._call(driver.saver, "stats", *thread)
    return found


def fill(driver: Driver, thread: str = "t", ns: str = "") -> Branch:
    branch = Branch(driver, thread, ns)
    for n in range(30):
        log = [*branch.values.get("log", ()), f"{thread} {ns} {n} " * 100]
        config = branch.put(n=n, log=log)
        driver.put_writes(config, [("n", n), ("log", ["w" * 100])], "task")
    return branch


def test_counts_and_bytes_are_those_of_the_records(driver: Driver, store: BaseStore) -> None:
    for thread in ("t", "u"):
        for ns in ("", "child:1"):
            fill(driver, thread, ns)
    for thread in ("t", "u"):
        found = stats(driver, thread)
        sizes = {
            kind: [len(raw.read(store, thread, key)) for key in raw.keys(store, thread, kind)]
            for kind in ("checkpoint", "write", "blob")
        }
        assert (found.threads, found.checkpoints, found.writes) == (1, 60, 120)
        assert found.blobs == len(sizes["blob"])
        assert found.checkpoint_bytes == sum(sizes["checkpoint"])
        assert found.write_bytes == sum(sizes["write"])
        assert found.blob_bytes == sum(sizes["blob"])
        assert found.stored_bytes == sum(map(sum, sizes.values()))
    both = stats(driver)
    assert both.threads == 2
    assert both.stored_bytes == stats(driver, "t").stored_bytes + stats(driver, "u").stored_bytes
    assert both.channels["log"].stored_bytes == sum(
        stats(driver, thread).channels["log"].stored_bytes for thread in ("t", "u")
    )


def test_a_channel_is_as_large_as_its_serialized_values(driver: Driver) -> None:
    branch = Branch(driver)
    whole = 0
    for n in range(40):
        branch.put(n=n, log=[*branch.values.get("log", ()), f"{n} " * 200])
        whole += len(dumps(branch.values["log"]))
    found = stats(driver, "t")
    log = found.channels["log"]
    assert log.newest_bytes == len(dumps(branch.values["log"]))
    assert log.unshared_bytes == whole
    assert log.newest_bytes <= log.stored_bytes < log.unshared_bytes / 3
    assert found.channels["n"] == ChannelStats(1, 40, 40)
    assert list(found.channels) == ["log", "n"]
    assert found.saved_bytes == found.unshared_bytes - found.stored_bytes
    assert found.saved_bytes == log.unshared_bytes - log.stored_bytes


def test_sharing_saves_nothing_where_nothing_is_shared(driver: Driver) -> None:
    branch = Branch(driver)
    for n in range(5):
        branch.put(n=n, page=f"{n:04}" * 1000)
    found = stats(driver, "t")
    assert found.blobs == 5
    assert found.saved_bytes == 0
    assert found.channels["page"].stored_bytes == found.channels["page"].unshared_bytes
    branch.put(n=5)
    assert stats(driver, "t").saved_bytes == found.channels["page"].newest_bytes


def test_what_a_value_holds_twice_is_stored_once(driver: Driver) -> None:
    branch = Branch(driver)
    branch.put(log=["x" * 3000] * 5)
    whole = len(dumps(branch.values["log"]))
    found = stats(driver, "t")
    assert found.blobs == 1
    assert found.channels["log"].newest_bytes == found.channels["log"].unshared_bytes == whole
    assert found.channels["log"].stored_bytes < whole / 4
    assert found.saved_bytes == 4 * found.blob_bytes


def test_a_dropped_channel_is_not_in_the_newest_checkpoint(driver: Driver) -> None:
    branch = Branch(driver)
    branch.put(gone="x" * 100, n=1)
    branch.drop("gone")
    branch.put(n=2)
    assert stats(driver, "t").channels["gone"] == ChannelStats(0, 102, 102)


def test_what_a_dry_run_promises_is_what_stats_misses(driver: Driver) -> None:
    fill(driver)
    before = stats(driver, "t")
    report = driver._call(driver.saver, "prune", ["t"], keep_last=3, dry_run=True)
    driver.prune(["t"], keep_last=3)
    after = stats(driver, "t")
    assert before.checkpoints - after.checkpoints == report.checkpoints == 27
    assert before.writes - after.writes == report.writes == 54
    assert before.blobs - after.blobs == report.blobs
    # The oldest remaining checkpoint also lost its parent's id.
    assert 0 <= before.stored_bytes - after.stored_bytes - report.freed_bytes < 50


def test_nothing_is_an_empty_answer(driver: Driver) -> None:
    assert stats(driver) == Stats() == stats(driver, "unknown")
    assert str(Stats()).count("\n") == 2
    driver.put_writes(at("t", "", "not put yet"), [("n", 1)], "task")
    found = stats(driver)
    assert (found.threads, found.checkpoints, found.writes) == (0, 0, 1)


def test_it_decodes_no_user_value(driver: Driver) -> None:
    fill(driver)
    expected = stats(driver, "t")

    class Blind:
        def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
            raise AssertionError("a value was encoded")

        def loads_typed(self, data: tuple[str, bytes]) -> Any:
            raise AssertionError("a value was decoded")

    driver.saver.serde = Blind()
    assert stats(driver, "t") == expected


def test_it_names_a_damaged_record(driver: Driver, store: BaseStore) -> None:
    fill(driver)
    key = raw.keys(store, "t", "checkpoint")[7]
    raw.replace(store, "t", key, raw.read(store, "t", key)[:-1])
    with pytest.raises(CheckpointError, match=key.rpartition("/")[2]):
        stats(driver, "t")


def test_it_reads_as_a_table() -> None:
    found = Stats(
        threads=2,
        checkpoints=1234,
        writes=5,
        blobs=67,
        checkpoint_bytes=999,
        write_bytes=1000,
        blob_bytes=2_500_000,
        unshared_bytes=3_000_000_000,
        channels={"messages": ChannelStats(10, 2_400_000, 2_900_000_000), "n": ChannelStats()},
    )
    assert str(found).splitlines() == [
        "threads 2, checkpoints 1,234, pending writes 5, blobs 67",
        "stored 2.5 MB: checkpoints 999 B, pending writes 1.0 kB, blobs 2.5 MB",
        "without sharing 3.0 GB, saved 3.0 GB",
        "channel      newest     stored   unshared",
        "messages       10 B     2.4 MB     2.9 GB",
        "n               0 B        0 B        0 B",
    ]

"""The disk store: the contract, and what only it promises within one process."""

from __future__ import annotations

import os
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Literal

import pytest
import swarmstate
from swarmstate.backends.disk import DiskStore as Alias
from swarmstate.base import Batch, Query, Range
from swarmstate.disk import DiskStore
from swarmstate.testing import StoreContract


class TestFull(StoreContract):
    persistent = True
    shared = True
    manual_clock = True
    durability: Literal["full", "normal"] = "full"

    def make_store(self, path: Path) -> DiskStore:
        path.mkdir(exist_ok=True)
        return DiskStore(path / "state.db", durability=self.durability, clock=self.clock)


class TestNormal(TestFull):
    durability = "normal"


def test_the_documented_import_path_is_the_same_class() -> None:
    assert Alias is DiskStore
    assert swarmstate.DiskStore is DiskStore


def test_concurrent_writers_share_commits(tmp_path: Path) -> None:
    threads, rounds = 16, 50
    start = Barrier(threads)

    def write(thread: int) -> None:
        start.wait()
        for index in range(rounds):
            store.write([Batch(f"thread-{thread}", put={f"{index:03}": b"v"})])

    with DiskStore(tmp_path / "state.db") as store, ThreadPoolExecutor(threads) as pool:
        list(pool.map(write, range(threads)))
        writes, commits = store.commits()
        assert writes == threads * rounds
        assert commits < writes / 2
        queries = [Query(f"thread-{thread}", ranges=[Range()]) for thread in range(threads)]
        assert all(len(result.ranges[0]) == rounds for result in store.read(queries))


def test_a_lone_writer_starts_no_thread(tmp_path: Path) -> None:
    with DiskStore(tmp_path / "state.db") as store:
        store.write([Batch("n", put={"k": b"v"})])
        assert store.read([Query("n", keys=["k"])])[0].values == [b"v"]
        assert not own_threads()


def test_closing_leaves_one_file_and_no_handle(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = DiskStore(path)
    store.write([Batch("n", put={"k": b"v"})])
    assert store.read([Query("n", keys=["k"])])[0].values == [b"v"]
    store.vacuum()  # opens the connection that copies the WAL
    store.close()
    store.close()
    assert os.listdir(tmp_path) == ["state.db"]
    assert not [handle for handle in own_handles() if handle.startswith(str(tmp_path))]


def test_large_values_and_many_records_read_back(tmp_path: Path) -> None:
    values = {f"{size:08}": os.urandom(size) for size in (0, 1, 4095, 4096, 70_000, 20_000_000)}
    values |= {f"small-{index:05}": b"%d" % index for index in range(5000)}
    with DiskStore(tmp_path / "state.db") as store:
        store.write([Batch("n", put=values)])
    with DiskStore(tmp_path / "state.db") as store:
        assert dict(store.read([Query("n", ranges=[Range()])])[0].ranges[0]) == values


def test_vacuum_shrinks_the_file(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with DiskStore(path) as store:
        store.write([Batch("n", put={"large": bytes(5_000_000)})])
        store.write([Batch("n", clear=True), Batch("kept", put={"k": b"v"})])
        with pytest.raises(ValueError, match="max_pages"):
            store.vacuum(max_pages=-1)
        assert store.vacuum(max_pages=10) == 10 * 8192
        assert store.vacuum() > 4_500_000
        assert path.stat().st_size < 200_000
        assert store.read([Query("kept", keys=["k"])])[0].values == [b"v"]


def test_a_deleted_namespace_leaves_no_records_behind(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with DiskStore(path) as store:
        store.write([Batch("n", put={f"{index}": b"secret" for index in range(100)})])
        store.write([Batch("n", clear=True)])
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM record").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM namespace").fetchone() == (0,)
    connection.close()


def test_large_values_that_are_deleted_or_replaced_leave_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with DiskStore(path) as store:
        store.write([Batch("n", put={key: bytes(1000) for key in ("a", "b", "c")})])
        store.write([Batch("n", delete=["a"], delete_ranges=[("b", "c")], put={"c": b"small"})])
        assert store.keys("n") == ["c"]
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM large_value").fetchone() == (0,)
    connection.close()


def test_paths_of_any_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("plain.db", "file:uri.db?mode=memory", "ünï cödé.db", "100%25.db", "a#b.db"):
        for path in (name, Path(name), tmp_path / name):
            with DiskStore(path) as store:
                store.set("n", "k", name)
        assert (tmp_path / name).is_file()
    os.symlink("plain.db", "link.db")
    with DiskStore("link.db") as store:
        assert store.get("n", "k") == "plain.db"
        assert store.path == tmp_path.resolve() / "plain.db"


def test_a_relative_path_stays_where_it_was_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(tmp_path)
    with DiskStore("state.db") as store:
        monkeypatch.chdir(elsewhere)
        store.set("n", "k", 1)
        assert store.get("n", "k") == 1
    assert not os.listdir(elsewhere)


def test_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep down").mkdir()
    for url, path in (
        (f"disk://{tmp_path}/absolute.db", "absolute.db"),
        ("disk://relative.db", "relative.db"),
        ("disk://deep%20down/a%3Fb.db?durability=normal&timeout=1.5", "deep down/a?b.db"),
    ):
        with swarmstate.open(url) as store:
            store.set("n", "k", 1)
        assert (tmp_path / path).is_file()
    for option, message in (
        ("mode=ro", "use durability or timeout"),
        ("durability=none", "durability must be"),
        ("durability", "durability must be"),
        ("timeout=-1", "timeout must be"),
        ("timeout=soon", "timeout in a disk:// URL to be a number of seconds, found 'soon'"),
    ):
        with pytest.raises(ValueError, match=message):
            swarmstate.open(f"disk://a.db?{option}")
    assert not (tmp_path / "a.db").exists()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"durability": "fast"}, ValueError),
        ({"timeout": -1}, ValueError),
        ({"timeout": float("nan")}, ValueError),
        ({"clock": 3}, TypeError),
    ],
)
def test_invalid_options_create_nothing(
    tmp_path: Path, options: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error, match=next(iter(options))):
        DiskStore(tmp_path / "state.db", **options)  # type: ignore[arg-type]
    assert not os.listdir(tmp_path)


def own_threads() -> list[str]:
    if sys.platform != "linux":
        pytest.skip("threads are listed through /proc")
    names = [task.joinpath("comm").read_text() for task in Path("/proc/self/task").iterdir()]
    return [name for name in names if name.startswith("swarmstate")]


def own_handles() -> list[str]:
    if sys.platform != "linux":
        pytest.skip("handles are listed through /proc")
    handles = []
    for handle in os.listdir("/proc/self/fd"):
        try:
            handles.append(os.readlink(f"/proc/self/fd/{handle}"))
        except FileNotFoundError:
            continue
    return handles

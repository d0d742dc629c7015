"""The index file: it saves reading all records, and is never wrong."""

from __future__ import annotations

import os
import random
import stat
import struct
import subprocess
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from swarmstate import BaseStore, DiskStore, Store
from swarmstate.base import Query, Result
from swarmstate.layers import CompressedStore, EncryptedStore, KeyRing, new_key
from swarmstate.vectors import Collection, Record
from swarmstate.vectors import _layout as layout

from tests.servers.waiting import wait_until

MANY = 3000


class Watched(DiskStore):
    """Counts the records that are read in ranges."""

    scanned = 0

    def read(self, queries: Sequence[Query]) -> list[Result]:
        results = super().read(queries)
        for result in results:
            for records in result.ranges:
                self.scanned += sum(key.startswith(layout.ITEM) for key, _ in records)
        return results


def vector(number: int, dimensions: int = 8) -> list[float]:
    rng = random.Random(number)
    return [rng.gauss(0, 1) for _ in range(dimensions)]


def record(number: int, version: int = 0) -> Record:
    value = {"n": number, "v": version}
    return Record(f"{number:05}", value, [vector(number + 7 * version)], ("s", str(number % 3)))


def fill(collection: Collection, count: int = MANY) -> None:
    for start in range(0, count, 500):
        collection.upsert(record(number) for number in range(start, min(start + 500, count)))


def contents(collection: Collection) -> Any:
    dimensions = collection.stats().dimensions or 1
    queries = [vector(number, dimensions) for number in range(-3, 3)]
    searches = [collection.search(query, limit=5) for query in queries]
    return collection.select(embeddings=True), searches, collection.scopes()


def expect_as_without(collection: Collection) -> None:
    """Check that a collection finds what one without a snapshot finds."""
    plain = Collection(collection.store, collection.namespace, snapshots=False)
    assert contents(collection) == contents(plain)


def saved(path: Path) -> Path:
    """Fill a collection in a new store and save its index; return the file."""
    with DiskStore(path, durability="normal") as store:
        collection = Collection(store, "memories")
        fill(collection)
        collection.optimize()
        file = collection.stats().snapshot
    assert file is not None
    assert file.parent == Path(f"{path}-derived")
    return file


def test_who_comes_later_reads_the_file_and_what_was_written_since(tmp_path: Path) -> None:
    file = saved(tmp_path / "store.db")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with DiskStore(tmp_path / "store.db") as store:
        # Without an index, nothing is saved.
        writer = Collection(store, "memories")
        writer.upsert([record(1, version=1), record(MANY)])
        writer.delete(["00002"])
    with Watched(tmp_path / "store.db") as watched:
        collection = Collection(watched, "memories")
        assert collection.count() == MANY
        assert watched.scanned == 0
        assert collection.get(["00001"])[0] == record(1, version=1)._replace(
            embeddings=tuple(collection.select(filter={"n": 1}, embeddings=True)[0].embeddings)
        )
        stats = collection.stats()
        assert (stats.made_of, stats.problem, stats.snapshot) == ("snapshot", None, file)
        assert (stats.records, stats.vectors, stats.dimensions) == (MANY, MANY, 8)
        assert stats.snapshot_bytes == file.stat().st_size
        expect_as_without(collection)


def test_the_index_is_saved_again_before_the_log_forgets(tmp_path: Path) -> None:
    saved(tmp_path / "store.db")
    with DiskStore(tmp_path / "store.db", durability="normal") as store:
        collection = Collection(store, "memories")
        assert collection.count() == MANY
        for number in range(2 * layout.KEPT):
            collection.upsert([record(number % 50, version=number)])
        wait_until(lambda: collection.stats().problem is None, "nothing is wrong with the file")
    with Watched(tmp_path / "store.db") as watched:
        collection = Collection(watched, "memories")
        assert collection.count() == MANY
        assert watched.scanned == 0
        expect_as_without(collection)


def test_a_first_index_is_saved_in_the_background(tmp_path: Path) -> None:
    with DiskStore(tmp_path / "store.db", durability="normal") as store:
        fill(Collection(store, "memories"))
        collection = Collection(store, "memories")
        assert collection.count() == MANY
        wait_until(lambda: bool(collection.stats().snapshot_bytes), "the index is saved")
    with Watched(tmp_path / "store.db") as watched:
        assert Collection(watched, "memories").count() == MANY
        assert watched.scanned == 0


def test_a_process_that_ends_at_once_leaves_the_file(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with DiskStore(path, durability="normal") as store:
        fill(Collection(store, "memories"))
    folder = Path(f"{path}-derived")
    folder.mkdir()
    program = (
        "from swarmstate import DiskStore; from swarmstate.vectors import Collection; import sys; "
        "print(Collection(DiskStore(sys.argv[1]), 'memories').stats().made_of)"
    )
    made_of = [
        subprocess.run(
            [sys.executable, "-W", "error", "-c", program, str(path)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for _ in range(2)
    ]
    assert made_of == ["records", "snapshot"]
    # Beside the file there is only its lock, and nothing unfinished.
    assert sorted(each.suffix for each in folder.iterdir()) == [".index", ".lock"]


def test_who_is_too_far_behind_reads_all_records(tmp_path: Path) -> None:
    file = saved(tmp_path / "store.db")
    with DiskStore(tmp_path / "store.db", durability="normal") as store:
        writer = Collection(store, "memories")
        for number in range(layout.KEPT + 2 * layout.TRIMMED):
            writer.upsert([record(number % 50, version=1)])
    with Watched(tmp_path / "store.db") as watched:
        collection = Collection(watched, "memories")
        expect_as_without(collection)
        assert watched.scanned >= 2 * MANY
        assert collection.stats().made_of == "records"
        collection.optimize()
        assert file.exists()


@pytest.mark.parametrize("change", ["clear", "restore", "copy over", "recreate"])
def test_another_collection_in_its_place_is_not_taken_for_it(tmp_path: Path, change: str) -> None:
    path = tmp_path / "store.db"
    with DiskStore(path, durability="normal") as store:
        fill(Collection(store, "memories"))
        earlier = store.snapshot()
        Collection(store, "memories").upsert([record(MANY)])
        fill(Collection(store, "other"), 10)
        collection = Collection(store, "memories")
        collection.optimize()
        file = collection.stats().snapshot
        assert file is not None
        assert file.exists()
        # Bypasses the collection, which would remove the file.
        if change == "restore":
            store.restore(earlier)
        elif change == "copy over":
            store.copy("other", "memories")
        else:
            store.clear("memories")
        if change == "recreate":
            Collection(store, "memories").upsert([record(1)])
    count = {"clear": 0, "restore": MANY, "copy over": 10, "recreate": 1}[change]
    with DiskStore(path) as store:
        collection = Collection(store, "memories")
        assert collection.count() == count
        expect_as_without(collection)
        assert collection.stats().made_of == "records"


def test_clearing_removes_the_file(tmp_path: Path) -> None:
    file = saved(tmp_path / "store.db")
    with DiskStore(tmp_path / "store.db") as store:
        Collection(store, "memories").clear()
    assert not file.exists()


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_ignored_and_written_anew(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    file = saved(folder / "store.db")
    content = bytearray(file.read_bytes())
    # A fraction of the length, which varies; in integers, since a float product may round up to the
    # length.
    place = data.draw(st.integers(0, 2**32 - 1)) * len(content) >> 32
    if data.draw(st.booleans()):
        content[place] ^= data.draw(st.integers(1, 255))
    else:
        del content[place:]
    file.write_bytes(content)
    expect_written_anew(folder / "store.db")


def expect_written_anew(path: Path) -> None:
    """Check that the index is built from the records, and next time from a new file."""
    with DiskStore(path) as store:
        collection = Collection(store, "memories")
        expect_as_without(collection)
        assert collection.stats().made_of == "records"
        collection.optimize()
        assert collection.stats().problem is None
    with DiskStore(path) as store:
        assert Collection(store, "memories").stats().made_of == "snapshot"


@pytest.mark.parametrize("entry", [b"log/3/\0", b"log/4/0", b"\0", b"log/3/fff"])
def test_a_file_that_has_read_no_entry_of_a_log_is_ignored(tmp_path: Path, entry: bytes) -> None:
    file = saved(tmp_path / "store.db")
    content = bytearray(file.read_bytes())
    start = 0
    while start < len(content):
        place = content.index(b"log/3/", start)
        content[place : place + len(entry)] = entry
        # Fix the checksums, as if the segment had been written this way.
        [length] = struct.unpack_from("<Q", content, start + 32)
        end = start + 48 + length
        struct.pack_into("<I", content, start + 40, zlib.crc32(content[start + 48 : end]))
        struct.pack_into("<I", content, start + 44, zlib.crc32(content[start : start + 44]))
        start = end
    file.write_bytes(content)
    expect_written_anew(tmp_path / "store.db")


def test_why_a_file_is_not_used_or_written_is_told(tmp_path: Path) -> None:
    file = saved(tmp_path / "store.db")
    file.write_bytes(b"something else entirely, and long enough to be one")
    with DiskStore(tmp_path / "store.db") as store:
        collection = Collection(store, "memories", snapshots=file.parent)
        assert collection.count() == MANY
    blocked = tmp_path / "blocked"
    blocked.write_text("a file, where a folder should be")
    with DiskStore(tmp_path / "store.db") as store:
        collection = Collection(store, "memories", snapshots=blocked)
        assert collection.count() == MANY
        wait_until(lambda: bool(collection.stats().problem), "saving fails")
        assert collection.count() == MANY
        with pytest.raises(OSError, match=r"blocked|exists|directory"):
            collection.optimize()


def test_where_it_is_saved(tmp_path: Path) -> None:
    with DiskStore(tmp_path / "store.db") as store:
        assert Collection(store, "c").stats().snapshot is not None
        assert Collection(store, "c", snapshots=False).stats().snapshot is None
        assert Collection(CompressedStore(store), "z").stats().snapshot is not None
        # Encrypted data must not lie next to an unencrypted copy.
        encrypted = EncryptedStore(store, KeyRing({"k": new_key()}))
        assert Collection(encrypted, "e").stats().snapshot is None
        elsewhere = Collection(Store(), "m", snapshots=tmp_path / "elsewhere")
        fill(elsewhere)
        elsewhere.optimize()
        assert len(list((tmp_path / "elsewhere").glob("*.index"))) == 1
    assert Collection(Store(), "m").stats().snapshot is None


# Changes records and searches, in two processes, each reopening several times.
WORKER = """
import random, sys
from swarmstate import DiskStore
from swarmstate.vectors import Collection, Record
from swarmstate.vectors import _layout as layout, _snapshots, _refreshing

layout.SAVED = 5
_refreshing.WORTHWHILE = 10
path, worker = sys.argv[1], int(sys.argv[2])
rng = random.Random(worker)
for turn in range(6):
    with DiskStore(path, durability="normal") as store:
        collection = Collection(store, "memories")
        for _ in range(30):
            name = f"{rng.randrange(60)}"
            collection.upsert([Record(name, {"by": worker}, [[rng.random(), rng.random()]])])
            collection.count()
            if rng.random() < 0.2:
                collection.delete([f"{rng.randrange(60)}"])
        if rng.random() < 0.5:
            collection.optimize()
        plain = Collection(store, "memories", snapshots=False)
        # Others write meanwhile: equal is only what lies still.
        while collection.select(embeddings=True) != plain.select(embeddings=True):
            pass
"""


def test_processes_share_the_file(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(path), str(worker)],
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONWARNINGS": "error"},
        )
        for worker in range(3)
    ]
    for worker in workers:
        _, errors = worker.communicate(timeout=240)
        assert worker.returncode == 0, errors.decode()
    with DiskStore(path) as store:
        collection = Collection(store, "memories")
        assert collection.stats().made_of == "snapshot"
        expect_as_without(collection)


def test_a_store_of_ones_own_has_no_folder_unless_it_says_so() -> None:
    assert BaseStore.derived_folder.__get__(Store()) is None

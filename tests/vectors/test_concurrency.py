"""Many threads and processes on one collection lose nothing and see each other's writes."""

from __future__ import annotations

import subprocess
import sys
from array import array
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from swarmstate import BaseStore, Batch, DiskStore, Query, Store
from swarmstate.errors import DimensionError
from swarmstate.layers import Operation, StoreLayer
from swarmstate.vectors import Collection, Record
from swarmstate.vectors._refreshing import refresh

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from swarmstate import Result

# Stores records, changes one that all share, deletes some, and finds each immediately.
WRITER = """
import sys
from threading import Thread
from swarmstate import DiskStore
from swarmstate.vectors import Collection, Record

path, writer = sys.argv[1], int(sys.argv[2])
with DiskStore(path) as store:
    collection = Collection(store, "memories")

    def work(thread):
        for number in range(25):
            name = f"{writer}-{thread}-{number}"
            collection.upsert([
                Record(name, {"by": writer}, [[1.0, number]], ("w", str(writer))),
                Record("shared", {"by": name}, [[float(writer), 1.0]]),
            ])
            assert collection.count(scope=("w", str(writer)), filter={"by": writer}) > 0
            assert name in {record.id for record in collection.select(scope=("w", str(writer)))}
            if number % 5 == 0:
                assert collection.delete([name]) == 1

    threads = [Thread(target=work, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(collection.count(scope=("w", str(writer))))
"""


class Meanwhile(StoreLayer):
    """Runs an action just before records, or further pages of them, are read the next time."""

    def __init__(self, store: BaseStore) -> None:
        super().__init__(store)
        self.act: Callable[[], None] | None = None

    def reading(self, queries: Sequence[Query]) -> Operation[list[Result]]:
        starts = [each.start for each in queries[0].ranges]
        if self.act is not None and any(
            key.startswith("item/") and key != "item/" for key in (*queries[0].keys, *starts)
        ):
            act, self.act = self.act, None
            act()
        return (yield from super().reading(queries))


def test_a_collection_that_is_begun_anew_during_a_search_is_searched() -> None:
    store = Store()
    layer = Meanwhile(store)
    searching, writing = Collection(layer, "memories"), Collection(store, "memories")
    writing.upsert([Record("a", {}, [[1.0, 2.0]])])
    assert len(searching.search([1.0, 2.0])) == 1
    writing.upsert([Record("b", {}, [[1.0, 2.0]])])

    def begin_anew() -> None:
        writing.clear()
        writing.upsert([Record("b", {}, [[1.0]])])

    layer.act = begin_anew
    assert [match.record.id for match in searching.search([1.0])] == ["b"]


@pytest.mark.parametrize("size", [1, 600])
def test_a_collection_that_is_begun_anew_while_it_is_loaded_is_searched(size: int) -> None:
    store = Store()
    layer = Meanwhile(store)
    searching, writing = Collection(layer, "memories"), Collection(store, "memories")
    writing.upsert([Record(f"{n:04}", {}, [[1.0, 2.0]]) for n in range(600)])

    def begin_anew() -> None:
        writing.clear()
        writing.upsert([Record(f"{n:04}", {"new": True}, [[1.0]]) for n in range(700)][-size:])

    layer.act = begin_anew
    found = searching.search([1.0], limit=1000)
    assert len(found) == size
    assert all(match.record.value == {"new": True} for match in found)


def test_records_of_several_dimensions_are_refused_not_searched_for_ever() -> None:
    store = Store()
    collection = Collection(store, "memories")
    collection.upsert([Record("a", {}, [[1.0, 2.0]])])
    Collection(store, "others").upsert([Record("b", {}, [[1.0]])])
    [others] = store.read([Query("others", ["item/b"])])
    assert others.values[0] is not None
    store.write([Batch("memories", put={"item/b": others.values[0]})])
    with pytest.raises(DimensionError):
        Collection(store, "memories").search([1.0, 2.0])


def test_processes_lose_nothing_and_see_each_other(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with DiskStore(path) as store:
        watching = Collection(store, "memories")
        assert watching.count() == 0
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, str(path), str(writer)],
                stdout=subprocess.PIPE,
                text=True,
            )
            for writer in range(4)
        ]
        seen = 0
        while any(writer.poll() is None for writer in writers):
            now = watching.count(filter={"by": {"$gte": 0}})
            seen = max(seen, now)
        for writer in writers:
            output, _ = writer.communicate()
            assert (writer.returncode, output) == (0, "80\n")
        expected = {f"{w}-{t}-{n}" for w in range(4) for t in range(4) for n in range(25) if n % 5}
        fresh = Collection(store, "memories")
        for collection in (watching, fresh):
            assert {record.id for record in collection.select()} == expected | {"shared"}
        assert watching.select(embeddings=True) == fresh.select(embeddings=True)


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_threads_that_change_the_same_records_end_with_what_is_stored(
    kind: str, tmp_path: Path
) -> None:
    with Store() if kind == "memory" else DiskStore(tmp_path / "store.db") as store:
        check_threads(store)


def check_threads(store: BaseStore) -> None:
    # Several objects, like several processes, with several threads each.
    collections = [Collection(store, "memories") for _ in range(3)]

    def work(thread: int) -> None:
        collection = collections[thread % 3]
        for number in range(60):
            name = f"{(thread + number) % 7}"
            if number % 9 == 8:
                collection.delete([name])
            else:
                record = Record(name, {"by": thread, "n": number}, [[thread + 1.0, number]])
                collection.upsert([record])
            if number % 3 == 0:
                collection.search([1.0, 1.0])

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(work, range(12)))
    stored = [record for record in collections[0].get([f"{i}" for i in range(7)]) if record]
    for collection in collections:
        assert collection.select(embeddings=True) == stored


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_changes_to_the_same_record_are_never_lost(kind: str, tmp_path: Path) -> None:
    def count(record: Record) -> Record:
        return record._replace(value={"n": record.value["n"] + 1})

    with Store() if kind == "memory" else DiskStore(tmp_path / "store.db") as store:
        collections = [Collection(store, "memories") for _ in range(3)]
        collections[0].upsert([Record("a", {"n": 0}, [[1.0, 2.0]]), Record("b", {"n": 0})])

        def work(thread: int) -> None:
            for _ in range(20):
                assert collections[thread % 3].modify(["a", "b", "unknown"], count) == 2

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(work, range(6)))
        for collection in collections:
            records = collection.select(embeddings=True)
            assert [record.value["n"] for record in records] == [120, 120]
            assert records[0].embeddings == (array("f", [1.0, 2.0]),)


def test_a_record_that_is_read_and_written_at_once_is_read_again() -> None:
    store = Store()
    collection, other = (Collection(store, "memories") for _ in range(2))
    collection.upsert([Record("a", {"v": 1})])
    assert collection.count() == 1
    # Two writers in one lane would notice each other.
    collection._methods.shared.lane, other._methods.shared.lane = 0, 1
    other.upsert([Record("a", {"v": 2})])
    writing = collection._methods.upsert([Record("a", {"v": 3})])
    write = next(writing)
    reading = refresh(collection._methods.shared)
    changed = reading.send(next(reading).run(store))
    old = changed.run(store)
    write.run(store)
    with pytest.raises(StopIteration):
        reading.send(old)
    with pytest.raises(StopIteration):
        writing.send(None)
    [record] = collection.select()
    assert record.value == {"v": 3}

"""Damage in a disk store's file: reading it is an error, and everything else still works."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from swarmstate.base import Batch, Query, Range, Result
from swarmstate.disk import DiskStore
from swarmstate.errors import StoreFormatError


def test_a_damaged_file_is_an_error_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with DiskStore(path) as store:
        store.write([Batch("n", put={f"{index:04}": bytes(500) for index in range(1000)})])
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    with pytest.raises(StoreFormatError, match="damaged"), DiskStore(path) as store:
        store.items("n")


def test_a_file_that_was_cut_is_damaged_where_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with DiskStore(path) as store:
        store.write([Batch("n", put={f"{index}": bytes(300_000) for index in range(6)})])
        # The vacuum moves everything from the WAL to the file; the write then puts the index in
        # both.
        store.vacuum()
        store.write([Batch("n", put={"small": bytes(1000)})])
        os.truncate(path, path.stat().st_size // 10 * 9)
        for index in range(5):
            assert store.read([Query("n", keys=[f"{index}"])])[0].values == [bytes(300_000)]
        with pytest.raises(StoreFormatError, match="damaged"):
            store.read([Query("n", keys=["5"])])


def contents(store: DiskStore) -> list[Result]:
    return store.read([Query(name, ranges=[Range()]) for name in store.namespaces()])


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE record SET value = 'text'",
        "UPDATE record SET value = 1.5",
        "UPDATE record SET key = CAST(x'ff' AS TEXT)",
        "UPDATE record SET value = 12345",
        "UPDATE namespace SET name = CAST(x'ff' AS TEXT)",
    ],
)
def test_what_no_store_writes_is_damage(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "state.db"
    with DiskStore(path) as store:
        store.write([Batch("n", put={"k": b"v"}, ttl=60)])
    connection = sqlite3.connect(path)
    connection.execute(damage)
    connection.commit()
    connection.close()
    with DiskStore(path) as store, pytest.raises(StoreFormatError, match="damaged"):
        contents(store)


def test_ids_that_are_used_up_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with DiskStore(path) as store:
        store.write([Batch("n", put={"k": bytes(1000)})])
    connection = sqlite3.connect(path)
    for table, column in (("large_value", "id"), ("record", "value")):
        connection.execute(f"UPDATE {table} SET {column} = {2**63 - 1}")
    connection.commit()
    connection.close()
    with DiskStore(path) as store:
        for key in ("first", "second"):
            with pytest.raises(StoreFormatError, match="damaged"):
                store.write([Batch("n", put={key: bytes(1000)})])
            with pytest.raises(StoreFormatError, match="damaged"):
                store.copy("n", key)
        assert store.read([Query("n", keys=["k"])])[0].values == [bytes(1000)]


@pytest.fixture
def with_a_lost_value(tmp_path: Path) -> Path:
    """A store of three large values, the second of which is missing from the file."""
    path = tmp_path / "state.db"
    with DiskStore(path) as store:
        store.write([Batch("n", put={key: key.encode() * 1000 for key in "abc"})])
    connection = sqlite3.connect(path)
    connection.execute(
        "DELETE FROM large_value WHERE id = (SELECT value FROM record WHERE key = 'b')"
    )
    connection.commit()
    connection.close()
    return path


def test_no_value_takes_the_place_of_a_lost_one_in_a_copy(with_a_lost_value: Path) -> None:
    with DiskStore(with_a_lost_value) as store:
        store.set("target", "k", "before")
        with pytest.raises(StoreFormatError, match="damaged"):
            store.copy("n", "target")
        assert store.items("target") == [("k", "before")]


def test_a_lost_value_can_be_replaced(with_a_lost_value: Path) -> None:
    with DiskStore(with_a_lost_value) as store:
        store.write([Batch("n", put={"b": b"B" * 1000})])
        expected = [b"a" * 1000, b"B" * 1000, b"c" * 1000]
        assert store.read([Query("n", keys=[*"abc"])])[0].values == expected


KEY = b"key 0255"
DAMAGED_KEYS = {"no UTF-8": b"key \xff255", "out of order": b"\x02ey 0255"}


@pytest.mark.parametrize("damage", DAMAGED_KEYS)
@pytest.mark.parametrize("gone", ["deleted", "expired"])
def test_damage_in_what_is_gone_keeps_nobody_from_writing(
    tmp_path: Path, gone: str, damage: str
) -> None:
    path, now = tmp_path / "state.db", 1000.0
    with DiskStore(path, clock=lambda: now) as store:
        store.set("n", "k", "before")
        for name, ttl in (("key", 60), ("other", 90)):
            put = {f"{name} {index:04}": bytes(1000) for index in range(600)}
            store.write([Batch(name, put=put, ttl=ttl)])
    path.write_bytes(path.read_bytes().replace(KEY, DAMAGED_KEYS[damage]))
    with DiskStore(path, clock=lambda: now) as store:
        if gone == "deleted":
            store.clear("key")
            store.clear("other")
        else:
            now = 2000.0
        for index in range(10):
            store.set("n", "k", index)
        size = path.stat().st_size
        with pytest.raises(StoreFormatError, match=r"deleted or expired.*swarmstate copy"):
            store.vacuum()
        assert path.stat().st_size < size - 500_000
        assert store.namespaces() == ["n"]
        assert store.items("n") == [("k", 9)]

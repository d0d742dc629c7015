"""Rotating the key of an encrypted store while it is in use."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from swarmstate import Batch, DiskStore, Query, Store
from swarmstate.base import BaseStore
from swarmstate.errors import ConflictError, EncryptionError, StoreUnavailableError
from swarmstate.layers import EncryptedStore, KeyRing, Operation, Rotation, StoreLayer, new_key

OLD, NEW = new_key(), new_key()
BEFORE = KeyRing({"old": OLD})
DURING = KeyRing({"old": OLD, "new": NEW}, active="new")
AFTER = KeyRing({"new": NEW})


def fill(store: BaseStore, namespaces: int = 3, records: int = 150) -> None:
    for number in range(namespaces):
        put = {f"key{index:04}": f"{number} {index}" for index in range(records)}
        store.set_many(f"n{number}", put)


def check(store: BaseStore, namespaces: int = 3, records: int = 150) -> None:
    for number in range(namespaces):
        expected = [(f"key{index:04}", f"{number} {index}") for index in range(records)]
        assert store.items(f"n{number}") == expected


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_the_old_key_is_not_needed_afterwards(mode: str) -> None:
    below = Store()
    fill(EncryptedStore(below, BEFORE))
    store = EncryptedStore(below, DURING)
    check(store)
    done = store.rotate() if mode == "sync" else asyncio.run(store.arotate())
    assert done == Rotation(namespaces=3, records=450, rotated=450)
    check(EncryptedStore(below, AFTER))
    with pytest.raises(EncryptionError):
        EncryptedStore(below, BEFORE).get("n0", "key0000")
    assert store.rotate() == Rotation(3, 450, 0)


def test_no_record_is_passed_over() -> None:
    below = Store()
    # Each key is the immediate successor of the one before, so every page break has a close
    # neighbor.
    keys = ["k" + "\x01" * length for length in range(200)]
    EncryptedStore(below, BEFORE).set_many("n", dict.fromkeys(keys, 1))
    fill(EncryptedStore(below, BEFORE), namespaces=250, records=1)
    assert EncryptedStore(below, DURING).rotate() == Rotation(251, 450, 450)
    check(EncryptedStore(below, AFTER), namespaces=250, records=1)
    assert EncryptedStore(below, AFTER).items("n") == [(key, 1) for key in keys]


def test_only_what_has_the_prefix() -> None:
    below = Store()
    fill(EncryptedStore(below, BEFORE))
    assert EncryptedStore(below, DURING).rotate("n1") == Rotation(1, 150, 150)
    EncryptedStore(below, AFTER).get("n1", "key0000")
    EncryptedStore(below, BEFORE).get("n0", "key0000")


def test_expiry_stays() -> None:
    below = Store()
    EncryptedStore(below, BEFORE).set("n", "k", 1, ttl=3600)
    EncryptedStore(below, DURING).rotate()
    [result] = below.read([Query("n", ask_ttl=True)])
    assert result.ttl is not None
    assert 3500 < result.ttl <= 3600


class Interrupted(StoreLayer):
    """Fails after a number of writes."""

    def __init__(self, store: BaseStore, writes: int) -> None:
        super().__init__(store)
        self.left = writes

    def writing(self, batches: Sequence[Batch]) -> Operation[None]:
        if not self.left:
            raise StoreUnavailableError("the power went out")
        self.left -= 1
        yield from super().writing(batches)


def test_an_interrupted_rotation_goes_on(tmp_path: Path) -> None:
    with DiskStore(tmp_path / "state.db") as below:
        fill(EncryptedStore(below, BEFORE))
        with pytest.raises(StoreUnavailableError):
            EncryptedStore(Interrupted(below, 4), DURING).rotate()
        check(EncryptedStore(below, DURING))
        done = EncryptedStore(below, DURING).rotate()
        assert 0 < done.rotated < 450
        check(EncryptedStore(below, AFTER))


class Meddled(StoreLayer):
    """Lets another writer write just before each write."""

    def __init__(self, store: BaseStore, meddling: list[Batch], keys: KeyRing) -> None:
        super().__init__(store)
        self.meddling = meddling
        self.other = EncryptedStore(store, keys)

    def writing(self, batches: Sequence[Batch]) -> Operation[None]:
        if self.meddling:
            self.other.write([self.meddling.pop(0)])
        yield from super().writing(batches)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (Batch("n", put={"a": b"newer"}), {"a": b"newer", "b": b"2"}),
        (Batch("n", delete=["a"]), {"b": b"2"}),
        (Batch("n", clear=True), {}),
        (Batch("n", clear=True, put={"c": b"3"}), {"c": b"3"}),
    ],
    ids=["replaced", "deleted", "cleared", "cleared and written"],
)
def test_what_is_written_meanwhile_is_kept(change: Batch, expected: dict[str, bytes]) -> None:
    below = Store()
    EncryptedStore(below, BEFORE).write([Batch("n", put={"a": b"1", "b": b"2"})])
    EncryptedStore(Meddled(below, [change], AFTER), DURING).rotate()
    [found] = EncryptedStore(below, AFTER).read([Query("n", keys=["a", "b", "c"])])
    values = zip("abc", found.values, strict=True)
    assert {key: value for key, value in values if value is not None} == expected


def test_beside_busy_writers_no_write_is_lost() -> None:
    below = Store()
    before = EncryptedStore(below, BEFORE)
    counters = [f"counter{index}" for index in range(8)]
    before.set_many("n", dict.fromkeys(counters, 0))
    store = EncryptedStore(below, DURING)
    stop = threading.Event()
    written = dict.fromkeys(counters, 0)

    def write(key: str) -> None:
        while not stop.is_set():
            written[key] += 1
            store.set("n", key, written[key])
            if store.get("n", key) != written[key]:
                raise AssertionError(f"{key}: a write was lost")

    threads = [threading.Thread(target=write, args=(key,)) for key in counters]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            before.set_many("m", {f"{index:03}": index for index in range(100)})
            assert store.rotate().records == 108
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert dict(store.items("n")) == written
    assert EncryptedStore(below, AFTER).items("n") == store.items("n")


def test_a_writer_with_the_old_key_is_reported() -> None:
    below = Store()
    EncryptedStore(below, BEFORE).write([Batch("n", put={"a": b"0"})])
    busy = [Batch("n", put={"a": str(index).encode()}) for index in range(100)]
    with pytest.raises(ConflictError):
        EncryptedStore(Meddled(below, busy, BEFORE), DURING).rotate()
    assert EncryptedStore(below, DURING).read([Query("n", keys=["a"])])[0].values != [None]


def test_damage_stops_it_and_is_named() -> None:
    below = Store()
    fill(EncryptedStore(below, BEFORE), namespaces=1)
    below.set("n0", "key0007", "plaintext")
    with pytest.raises(EncryptionError, match="key0007"):
        EncryptedStore(below, DURING).rotate()


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_expected_values_hold_though_a_value_was_encrypted_anew(mode: str) -> None:
    """Compare-and-swap compares the stored value, not its current encryption."""
    below = Store()
    EncryptedStore(below, BEFORE).write([Batch("n", put={"a": b"1"})])
    anew = [Batch("n", put={"a": b"1"}), Batch("n", put={"a": b"1"})]
    store = EncryptedStore(Meddled(below, anew, AFTER), DURING)
    swap = Batch("n", put={"a": b"2"}, expect_values={"a": b"1", "b": None})
    if mode == "sync":
        store.write([swap])
    else:
        asyncio.run(store.awrite([swap]))
    assert not anew
    assert store.read([Query("n", keys=["a"])])[0].values == [b"2"]
    other = EncryptedStore(Meddled(below, [Batch("n", put={"a": b"3"})], AFTER), DURING)
    with pytest.raises(ConflictError):
        other.write([swap._replace(expect_values={"a": b"2"})])
    assert store.read([Query("n", keys=["a"])])[0].values == [b"3"]

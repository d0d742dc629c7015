"""What the memory store's snapshots promise beyond the contract."""

from __future__ import annotations

import pytest
from swarmstate import Snapshot, Store
from swarmstate.base import BaseStore, Batch
from swarmstate.errors import InvalidNameError


def test_snapshots_outlive_their_store() -> None:
    store = Store()
    store.set("n", "a", 1)
    snapshot = store.snapshot()
    store.close()
    del store
    assert snapshot.keys == [("n", "a")]
    with Store() as other:
        other.restore(snapshot)
        assert other.get("n", "a") == 1


def test_a_restored_store_does_not_write_into_the_snapshot() -> None:
    store = Store()
    store.write([Batch("n", put={f"key{index:04}": b"old" for index in range(1_000)})])
    snapshot = store.snapshot()
    store.restore(snapshot)
    store.write([Batch("n", put={"key0500": b"new"}, delete=["key0501"])])
    assert set(snapshot.records("n").values()) == {b"old"}
    assert len(snapshot) == 1_000


def test_the_own_snapshot_equals_the_one_that_any_store_takes() -> None:
    store = Store()
    for name in ["n", "m", "😀"]:
        store.set_many(name, {"a": 1, "b": [2], "\uffff": name})
    general = BaseStore.snapshot(store)
    own = store.snapshot()
    assert own.keys == general.keys
    assert own.diff(general) == {"added": [], "removed": [], "changed": []}
    assert own.size_bytes == general.size_bytes
    store.clear()
    BaseStore.restore(store, own)
    assert store.snapshot().diff(own) == {"added": [], "removed": [], "changed": []}


def test_diff_between_stores_compares_contents() -> None:
    first, second = Store(), Store()
    for store in [first, second]:
        store.write([Batch(f"n{index}", put={"a": b"1", "b": b"2"}) for index in range(100)])
    second.write([Batch("n7", put={"a": b"changed"})])
    assert second.snapshot().diff(first.snapshot()) == {
        "added": [],
        "removed": [],
        "changed": [("n7", "a")],
    }


def test_an_empty_snapshot() -> None:
    snapshot = Store().snapshot()
    assert snapshot.keys == []
    assert snapshot.namespaces == []
    assert snapshot.size_bytes == 0
    assert len(snapshot) == 0


def test_it_says_what_it_is() -> None:
    store = Store()
    store.set("n", "a", 1)
    assert repr(store.snapshot()) == "<swarmstate.Snapshot 1 of 1 records>"


def test_snapshots_cannot_be_changed() -> None:
    snapshot = Store().snapshot()
    with pytest.raises(AttributeError):
        snapshot.id = 7  # type: ignore[misc]
    snapshot.keys.append(("n", "a"))
    assert snapshot.keys == []


def test_records_given_to_a_snapshot_are_checked() -> None:
    with pytest.raises(InvalidNameError):
        Snapshot.of_records(1, 0.0, {"": {"a": b"1"}})
    with pytest.raises(TypeError, match="bytes"):
        Snapshot.of_records(1, 0.0, {"n": {"a": "text"}})  # type: ignore[dict-item]
    assert Snapshot.of_records(1, 0.0, {"n": {}}).namespaces == []

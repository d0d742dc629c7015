"""The value plane."""

from __future__ import annotations

import time
from typing import Any

import pytest

from swarmstate import Snapshot, Store
from swarmstate.base import BaseStore, Batch, Query
from swarmstate.errors import EncodeError
from swarmstate.testing._harness import Harness, Plane

VALUES: list[Any] = [
    None,
    True,
    0,
    -(2**63),
    2**64 - 1,
    1.5,
    "",
    "text with NUL \x00 and 😀",
    b"",
    b"\x00\xff",
    [],
    {},
    [1, [2, [3, {"deep": [None, True]}]]],
    {"step": 3, "name": "onboarding", "items": [1, 2, 3], "ok": True},
    {1: "int key", "s": {"nested": {}}},
]


class Unknown:
    """A class that no codec supports."""

    def __reduce__(self) -> str:
        raise TypeError("this value cannot be reduced")


class ValueContract(Harness):
    """Python values in and out."""

    def test_values_come_back(self, plane: Plane) -> None:
        for index, value in enumerate(VALUES):
            plane.set("n", f"key{index:02}", value)
        for index, value in enumerate(VALUES):
            found = plane.get("n", f"key{index:02}")
            assert found == value
            assert type(found) is type(value)
        assert [value for _, value in plane.items("n")] == VALUES

    def test_a_missing_value_is_the_default(self, plane: Plane) -> None:
        plane.set("n", "none", None)
        assert plane.get("n", "missing") is None
        assert plane.get("n", "missing", 7) == 7
        assert plane.get("m", "missing", default="other") == "other"
        assert plane.get("n", "none", 7) is None
        assert plane.namespaces() == ["n"]

    def test_setting_replaces(self, plane: Plane) -> None:
        plane.set("n", "a", [1])
        plane.set("n", "a", {"two": 2})
        assert plane.get("n", "a") == {"two": 2}
        assert plane.length() == 1

    def test_what_is_returned_is_independent(self, plane: Plane) -> None:
        value = {"list": [1, 2]}
        plane.set("n", "a", value)
        value["list"].append(3)
        first = plane.get("n", "a")
        assert first == {"list": [1, 2]}
        first["list"].clear()
        plane.get_many("n", ["a"])["a"]["list"].clear()
        plane.items("n")[0][1]["list"].clear()
        assert plane.get("n", "a") == {"list": [1, 2]}

    def test_many_at_once(self, plane: Plane) -> None:
        plane.set_many("n", {"a": 1, "b": [2], "c": None})
        assert plane.get_many("n", ["c", "missing", "a"]) == {"a": 1, "c": None}
        assert plane.get_many("n", []) == {}
        assert plane.get_many("n", (key for key in "ab")) == {"a": 1, "b": [2]}
        plane.set_many("n", {})
        plane.set_many("m", {})
        assert plane.namespaces() == ["n"]

    def test_a_value_that_cannot_be_encoded_changes_nothing(self, plane: Plane) -> None:
        plane.set("n", "a", 1)
        with pytest.raises(EncodeError):
            plane.set("n", "a", Unknown())
        with pytest.raises(EncodeError):
            plane.set_many("n", {"a": 2, "b": [Unknown()]})
        assert plane.items("n") == [("a", 1)]

    def test_contains_and_delete(self, plane: Plane) -> None:
        plane.set_many("n", {"a": None, "ab": 2})
        assert plane.contains("n", "a")
        assert not plane.contains("n", "b")
        assert not plane.contains("m", "a")
        assert plane.delete("n", "a")
        assert not plane.contains("n", "a")
        assert not plane.delete("n", "a")
        assert not plane.delete("m", "a")
        assert plane.contains("n", "ab")
        assert plane.delete("n", "ab")
        assert plane.namespaces() == []

    def test_keys_and_items(self, plane: Plane) -> None:
        plane.set_many("n", {"b/2": 2, "b/1": 1, "a": 0, "b0": 3, "😀": 5, "\uffff": 4})
        assert plane.keys("n") == ["a", "b/1", "b/2", "b0", "\uffff", "😀"]
        assert plane.keys("n", "b/") == ["b/1", "b/2"]
        assert plane.keys("n", prefix="x") == []
        assert plane.items("n", "b/") == [("b/1", 1), ("b/2", 2)]
        assert plane.items("n", prefix="x") == []
        assert plane.keys("m") == []
        assert plane.items("m") == []

    def test_clear(self, plane: Plane) -> None:
        for name in ["n", "m", "o"]:
            plane.set_many(name, {"a": 1, "b": 2})
        plane.clear("n")
        plane.clear("none")
        assert plane.namespaces() == ["m", "o"]
        plane.clear()
        plane.clear()
        assert plane.namespaces() == []
        assert plane.length() == 0

    def test_length_counts_all_records(self, plane: Plane) -> None:
        assert plane.length() == 0
        for index in range(250):
            plane.set_many(f"n{index}", {"a": 1, "b": 2})
        assert plane.length() == 500
        plane.clear()
        assert plane.length() == 0

    def test_an_empty_store_is_true(self, store: BaseStore) -> None:
        assert len(store) == 0
        assert store

    def test_both_planes_are_one_store(self, plane: Plane) -> None:
        plane.set("n", "a", {"x": 1})
        [result] = plane.read([Query("n", keys=["a"])])
        plane.write([Batch("m", put={"b": result.values[0]})])
        assert plane.get("m", "b") == {"x": 1}
        assert plane.delete("m", "b")
        assert plane.records("m") == {}

    def test_a_snapshot_says_what_it_holds(self, plane: Plane) -> None:
        plane.write([Batch("n", put={"b": b"22", "a": b"1"}), Batch("m", put={"c": b"333"})])
        snapshot = plane.snapshot()
        assert isinstance(snapshot, Snapshot)
        assert snapshot.keys == [("m", "c"), ("n", "a"), ("n", "b")]
        assert snapshot.namespaces == ["m", "n"]
        assert snapshot.records("n") == {"a": b"1", "b": b"22"}
        assert snapshot.records("none") == {}
        assert snapshot.size_bytes == 6
        assert len(snapshot) == 3
        assert isinstance(snapshot.timestamp, float)
        assert abs(snapshot.timestamp - time.time()) < 3600

    def test_snapshots_count_from_one_and_know_their_parent(self, plane: Plane) -> None:
        snapshots = [plane.snapshot() for _ in range(3)]
        assert [snapshot.id for snapshot in snapshots] == [1, 2, 3]
        assert [snapshot.parent for snapshot in snapshots] == [None, 1, 2]

    def test_a_snapshot_does_not_change(self, plane: Plane) -> None:
        plane.set_many("n", {"a": 1, "b": 2})
        snapshot = plane.snapshot()
        before = snapshot.records("n")
        plane.set("n", "a", "new")
        plane.delete("n", "b")
        plane.set("m", "c", 3)
        assert snapshot.records("n") == before
        assert snapshot.keys == [("n", "a"), ("n", "b")]

    def test_diff(self, plane: Plane) -> None:
        plane.set_many("n", {"same": 1, "changed": 1, "removed": 1, "rewritten": 1})
        plane.set("gone", "a", 1)
        base = plane.snapshot()
        plane.set_many("n", {"changed": 2, "added": 1, "rewritten": 1})
        plane.delete("n", "removed")
        plane.clear("gone")
        plane.set("come", "a", 1)
        later = plane.snapshot()
        assert later.diff(base) == {
            "added": [("come", "a"), ("n", "added")],
            "removed": [("gone", "a"), ("n", "removed")],
            "changed": [("n", "changed")],
        }
        assert base.diff(later)["added"] == [("gone", "a"), ("n", "removed")]
        assert later.diff(later) == {"added": [], "removed": [], "changed": []}

    def test_restore_brings_back_exactly_the_snapshot(self, plane: Plane) -> None:
        for index in range(150):
            plane.set_many(f"n{index}", {"a": index, "b": [index]})
        snapshot = plane.snapshot()
        plane.set("n0", "a", "changed")
        plane.set("n1", "new", 1)
        plane.delete("n2", "a")
        plane.clear("n3")
        for index in range(150):
            plane.set(f"new{index}", "a", 1)
        plane.restore(snapshot)
        assert plane.snapshot().diff(snapshot) == {"added": [], "removed": [], "changed": []}
        assert plane.get("n149", "b") == [149]
        assert plane.namespaces("new") == []

    @pytest.mark.parametrize("snapshot", [None, 42, {"n": {"a": 1}}, Store()], ids=type)
    def test_what_is_no_snapshot_is_refused(self, plane: Plane, snapshot: Any) -> None:
        plane.set("n", "a", 1)
        with pytest.raises(TypeError, match="Snapshot"):
            plane.restore(snapshot)
        assert plane.items("n") == [("a", 1)]

    def test_a_snapshot_can_be_restored_more_than_once(self, plane: Plane) -> None:
        plane.set("n", "a", 1)
        snapshot = plane.snapshot()
        for value in [2, 3]:
            plane.set("n", "a", value)
            plane.restore(snapshot)
            assert plane.items("n") == [("a", 1)]

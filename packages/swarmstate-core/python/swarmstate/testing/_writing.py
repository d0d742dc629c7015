"""Writes: the parts of a batch, expectations, copies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from swarmstate.base import Batch, Expect, Query, Range
from swarmstate.errors import ConflictError
from swarmstate.testing._harness import Harness, Plane


class WriteContract(Harness):
    """What `write` and `copy` change."""

    def test_put_writes_and_replaces(self, plane: Plane) -> None:
        plane.write([Batch("n", put={"a": b"1", "b": b"2"})])
        plane.write([Batch("n", put={"b": b"", "c": b"\x00\xff"})])
        assert plane.records("n") == {"a": b"1", "b": b"", "c": b"\x00\xff"}

    def test_any_mapping_and_sequence_will_do(self, plane: Plane) -> None:
        put: Mapping[str, bytes] = MappingProxyType({"a": b"1", "b": b"2"})
        plane.write((Batch("n", put=put, put_if_absent=MappingProxyType({"c": b"3"})),))
        plane.write([Batch("n", delete=("a",))])
        [result] = plane.read((Query("n", keys=("b", "c"), ranges=(Range(),)),))
        assert result.values == [b"2", b"3"]
        assert len(result.ranges[0]) == 2

    @pytest.mark.parametrize("flag", [0, 1])
    def test_a_number_may_stand_for_a_bool(self, plane: Plane, flag: Any) -> None:
        plane.write([Batch("n", put={"a": b"1", "b": b"2"})])
        wanted = Range(reverse=flag, keys_only=flag)
        [result] = plane.read([Query("n", ranges=[wanted], ask_ttl=flag)])
        assert result.ranges == [[("b", b""), ("a", b"")] if flag else [("a", b"1"), ("b", b"2")]]
        assert result.ttl == (math.inf if flag else None)
        plane.write([Batch("n", put={"c": b"3"}, clear=flag)])
        assert plane.keys("n") == (["c"] if flag else ["a", "b", "c"])

    def test_an_iterator_is_refused(self, plane: Plane) -> None:
        """A second look at it, as a store may need, finds nothing."""
        plane.write([Batch("n", put={"a": b"1", "b": b"2"})])
        keys: Any = iter(["a"])
        queries: Any = iter([Query("n", keys=["a"])])
        batches: Any = (Batch("n", put={"c": b"3"}) for _ in range(1))
        wanted: Any = map(Range, "ab")
        ranges: Any = iter([("", None)])
        for request in (queries, [Query("n", keys=keys)], [Query("n", ranges=wanted)]):
            with pytest.raises(TypeError, match="must be a sequence, not"):
                plane.read(request)
        for request in (batches, [Batch("n", delete=keys)], [Batch("n", delete_ranges=ranges)]):
            with pytest.raises(TypeError, match="must be a sequence, not"):
                plane.write(request)
        assert plane.records("n") == {"a": b"1", "b": b"2"}

    def test_put_if_absent_keeps_what_is_there(self, plane: Plane) -> None:
        plane.write([Batch("n", put={"a": b"old", "empty": b""})])
        plane.write([Batch("n", put_if_absent={"a": b"new", "b": b"new", "empty": b"new"})])
        assert plane.records("n") == {"a": b"old", "b": b"new", "empty": b""}

    def test_deleting(self, plane: Plane) -> None:
        plane.write([Batch("n", put={"a": b"1", "b": b"2", "c": b"3"})])
        plane.write([Batch("n", delete=["b", "none", "b"])])
        assert plane.records("n") == {"a": b"1", "c": b"3"}
        plane.write([Batch("none", delete=["a"])])
        assert plane.namespaces() == ["n"]

    def test_deleting_ranges(self, plane: Plane) -> None:
        keys = dict.fromkeys(["a", "a/", "b", "c", "d", "\uffff", "😀"], b"")
        plane.write([Batch("n", put=keys)])
        plane.write([Batch("n", delete_ranges=[("a/", "c"), ("c", "c"), ("d", "a"), ("a", "")])])
        assert list(plane.records("n")) == ["a", "c", "d", "\uffff", "😀"]
        plane.write([Batch("n", delete_ranges=[("\uffff", None), ("", "b")])])
        assert list(plane.records("n")) == ["c", "d"]
        plane.write([Batch("n", delete_ranges=[("", None)])])
        assert plane.namespaces() == []

    def test_clearing(self, plane: Plane) -> None:
        plane.write([Batch("n", put={"a": b"1"}), Batch("m", put={"a": b"1"})])
        plane.write([Batch("n", clear=True), Batch("none", clear=True)])
        assert plane.namespaces() == ["m"]
        plane.write([Batch("m", clear=True, put={"b": b"2"})])
        assert plane.records("m") == {"b": b"2"}

    def test_a_put_always_wins(self, plane: Plane) -> None:
        plane.write([Batch("n", put={"a": b"old", "z": b"old"})])
        plane.write(
            [
                Batch(
                    "n",
                    put={"a": b"new"},
                    put_if_absent={"a": b"absent", "b": b"absent", "z": b"absent"},
                    delete=["a", "b"],
                    delete_ranges=[("", None)],
                )
            ]
        )
        assert plane.records("n") == {"a": b"new", "b": b"absent", "z": b"absent"}

    def test_a_namespace_exists_while_it_holds_a_record(self, plane: Plane) -> None:
        plane.write([Batch("n"), Batch("n", ttl=60), Batch("n", put={})])
        assert plane.namespaces() == []
        plane.write([Batch("n", put={"a": b"", "b": b""})])
        plane.write([Batch("n", delete=["a"])])
        assert plane.namespaces() == ["n"]
        plane.write([Batch("n", delete=["b"])])
        assert plane.namespaces() == []

    def test_batches_are_applied_in_their_order(self, plane: Plane) -> None:
        plane.write([])
        plane.write(
            [
                Batch("n", put={"a": b"1"}),
                Batch("n", put_if_absent={"a": b"2", "b": b"2"}),
                Batch("m", put={"a": b"3"}),
                Batch("n", delete=["a"]),
            ]
        )
        assert plane.records("n") == {"b": b"2"}
        assert plane.records("m") == {"a": b"3"}

    @pytest.mark.parametrize("together", [False, True])
    def test_each_of_several_batches_changes_what_it_names(
        self, plane: Plane, together: bool
    ) -> None:
        """Not what its neighbors name, even if they change several keys in the same way."""
        plane.write([Batch(name, put=dict.fromkeys("abcdef", b"old")) for name in "mno"])
        batches = [
            Batch("m", delete=["a", "b"]),
            Batch("n", delete=["c", "d"]),
            Batch("o", delete_ranges=[("b", "c"), ("d", "e")]),
            Batch("m", delete_ranges=[("e", "f"), ("f", None)]),
            Batch("n", put={"a": b"new", "g": b"new"}),
            Batch("m", put={"c": b"new", "h": b"new"}),
            Batch("o", put_if_absent={"b": b"absent", "c": b"absent"}),
            Batch("n", put_if_absent={"d": b"absent", "e": b"absent"}),
            Batch("m", put={"i": b"new"}, expect_values={"a": None, "c": b"new"}),
            Batch("o", put={"i": b"new"}, expect_values={"d": None, "a": b"old"}),
        ]
        for part in [batches] if together else [[batch] for batch in batches]:
            plane.write(part)
        old, new, absent = b"old", b"new", b"absent"
        assert [plane.records(name) for name in "mno"] == [
            {"c": new, "d": old, "h": new, "i": new},
            {"a": new, "b": old, "d": absent, "e": old, "f": old, "g": new},
            {"a": old, "b": absent, "c": old, "e": old, "f": old, "i": new},
        ]

    def test_an_expectation_that_holds(self, plane: Plane) -> None:
        # Neighbors of the keys that start with the prefix: just before and just after them.
        plane.write([Batch("n", put={"log.": b"", "log0": b""})])
        plane.write([Batch("n", put={"log/1": b""}, expect=Expect("log/", None))])
        plane.write([Batch("n", put={"log/2": b""}, expect=Expect("log/", "log/1"))])
        plane.write([Batch("n", put={"other": b""}, expect=Expect("", "log0"))])
        plane.write([Batch("n", clear=True, put={"end": b""}, expect=Expect("log/", "log/2"))])
        assert list(plane.records("n")) == ["end"]

    @pytest.mark.parametrize("last_key", [None, "log/0", "log/1", "log/22", "other"])
    def test_a_conflict_leaves_nothing_applied(self, plane: Plane, last_key: str | None) -> None:
        plane.write([Batch("n", put={"log/1": b"1", "log/2": b"2", "zebra": b"z"})])
        before = plane.records("n")
        refused = Batch(
            "n",
            put={"log/3": b"3", "log/2": b"new"},
            put_if_absent={"x": b"x"},
            delete=["log/1"],
            delete_ranges=[("z", None)],
            clear=True,
            ttl=0.001,
            expect=Expect("log/", last_key),
        )
        with pytest.raises(ConflictError, match="log/"):
            plane.write([refused])
        assert plane.records("n") == before

    def test_expected_values_that_hold(self, plane: Plane) -> None:
        plane.write([Batch("n", put={"a": b"1"}, expect_values={"a": None, "b": None})])
        plane.write([Batch("n", put={"a": b""}, expect_values={"a": b"1"})])
        both = Batch("n", put={"a": b"3"}, expect=Expect("", "a"), expect_values={"a": b""})
        plane.write([both, Batch("n", put={"b": b"4"}, expect_values={"a": b"3", "b": None})])
        assert plane.records("n") == {"a": b"3", "b": b"4"}
        plane.write([Batch("n", clear=True, expect_values={"b": b"4"})])
        assert plane.namespaces() == []

    @pytest.mark.parametrize(
        "expected",
        [{"a": None}, {"a": b""}, {"a": b"11"}, {"none": b""}, {"a": b"1", "b": b"1"}],
        ids=str,
    )
    def test_another_value_is_a_conflict(
        self, plane: Plane, expected: dict[str, bytes | None]
    ) -> None:
        plane.write([Batch("n", put={"a": b"1", "b": b"2"})])
        refused = Batch("n", put={"a": b"new"}, delete=["b"], ttl=0.001, expect_values=expected)
        with pytest.raises(ConflictError, match="key"):
            plane.write([refused])
        assert plane.records("n") == {"a": b"1", "b": b"2"}
        # Both expectations must hold.
        with pytest.raises(ConflictError):
            plane.write([refused._replace(expect=Expect("", "b"))])
        with pytest.raises(ConflictError):
            plane.write([Batch("n", clear=True, expect=Expect("", "a"), expect_values={"a": b"1"})])
        assert plane.records("n") == {"a": b"1", "b": b"2"}

    @pytest.mark.parametrize("value", ["text", 1])
    def test_expected_values_must_be_bytes_or_none(self, plane: Plane, value: Any) -> None:
        with pytest.raises(TypeError, match="bytes"):
            plane.write([Batch("n", put={"a": b""}, expect_values={"a": value})])
        with pytest.raises(ValueError, match="key"):
            plane.write([Batch("n", put={"a": b""}, expect_values={"": None})])
        assert plane.namespaces() == []

    def test_batches_before_a_conflict_are_applied_and_those_after_are_not(
        self, plane: Plane
    ) -> None:
        with pytest.raises(ConflictError):
            plane.write(
                [
                    Batch("n", put={"a": b"1"}),
                    Batch("n", put={"b": b"2"}, expect=Expect("", None)),
                    Batch("m", put={"c": b"3"}),
                ]
            )
        assert plane.records("n") == {"a": b"1"}
        assert plane.namespaces() == ["n"]

    @pytest.mark.parametrize("value", ["text", bytearray(b"x"), memoryview(b"x"), None, 1])
    def test_values_must_be_bytes(self, plane: Plane, value: Any) -> None:
        for invalid in [Batch("n", put={"a": value}), Batch("n", put_if_absent={"a": value})]:
            with pytest.raises(TypeError, match="bytes"):
                plane.write([Batch("n", put={"b": b""}), invalid])
        assert plane.namespaces() == []

    def test_a_big_value_and_a_big_batch(self, plane: Plane) -> None:
        put = {f"key{index:05}": str(index).encode() for index in range(5_000)}
        plane.write([Batch("n", put=put), Batch("m", put={"big": b"\xa5" * 3_000_000})])
        assert plane.records("n") == put
        assert plane.records("m") == {"big": b"\xa5" * 3_000_000}

    def test_a_copy_holds_exactly_the_records_of_its_source(self, plane: Plane) -> None:
        plane.write([Batch("source", put={"a": b"1", "b": b"2"})])
        plane.write([Batch("target", put={"a": b"old", "z": b"old"})])
        plane.copy("source", "target")
        assert plane.records("target") == {"a": b"1", "b": b"2"}
        assert plane.records("source") == {"a": b"1", "b": b"2"}

    def test_a_copy_outlives_its_source(self, plane: Plane) -> None:
        plane.write([Batch("source", put={"a": b"1", "b": b"2"})])
        plane.copy("source", "target")
        plane.write([Batch("source", put={"a": b"new"}, delete=["b"])])
        assert plane.records("target") == {"a": b"1", "b": b"2"}
        plane.write([Batch("target", put={"c": b"3"})])
        assert plane.records("source") == {"a": b"new"}
        plane.write([Batch("source", clear=True)])
        assert plane.records("target") == {"a": b"1", "b": b"2", "c": b"3"}

    def test_copying_an_absent_namespace_empties_the_target(self, plane: Plane) -> None:
        plane.write([Batch("target", put={"a": b"1"})])
        plane.copy("none", "target")
        assert plane.namespaces() == []
        # The target can be used again.
        assert plane.records("target") == {}
        plane.write([Batch("target", put={"b": b"2"})])
        assert plane.records("target") == {"b": b"2"}

    def test_copying_a_namespace_onto_itself_changes_nothing(self, plane: Plane) -> None:
        plane.write([Batch("n", put={"a": b"1"})])
        plane.copy("n", "n")
        plane.copy("none", "none")
        assert plane.records("n") == {"a": b"1"}
        assert plane.namespaces() == ["n"]

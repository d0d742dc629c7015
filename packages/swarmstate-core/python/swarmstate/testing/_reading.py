"""Reads: points, ranges, namespaces."""

from __future__ import annotations

import pytest

from swarmstate.base import Batch, Query, Range, Result
from swarmstate.testing._harness import Harness, Plane

# UTF-8 byte order is code-point order; UTF-16 order would put the last one before "\ue000".
ORDERED = ["A", "B", "a", "a/", "a/b", "aa", "b", "é", "퟿", "\ue000", "\uffff", "😀"]

# Characters that have a meaning in the pattern languages of databases.
PATTERNS = ["a%", "a*", "a?", "a[bc]", "a\\", "a_", "ab", "a{b}"]


def fill(plane: Plane, namespace: str, keys: list[str]) -> None:
    """Write each key with itself as its value, in reverse order."""
    plane.write([Batch(namespace, put={key: key.encode() for key in reversed(keys)})])


def keys_of(plane: Plane, namespace: str, wanted: Range) -> list[str]:
    """Return the keys of a range, after checking that each has its own value."""
    [result] = plane.read([Query(namespace, ranges=[wanted])])
    for key, value in result.ranges[0]:
        assert value == (b"" if wanted.keys_only else key.encode())
    return [key for key, _ in result.ranges[0]]


class ReadContract(Harness):
    """What `read` and `namespaces` return."""

    def test_points_come_back_in_the_order_asked_for(self, plane: Plane) -> None:
        plane.write([Batch("n", put={"a": b"1", "b": b"2", "empty": b""})])
        [result] = plane.read([Query("n", keys=["b", "none", "a", "b", "empty"])])
        assert result == Result([b"2", None, b"1", b"2", b""], [])
        assert isinstance(result, Result)

    def test_a_namespace_that_does_not_exist_is_empty_and_stays_absent(self, plane: Plane) -> None:
        [result] = plane.read([Query("n", keys=["a"], ranges=[Range()], ttl=60)])
        assert result == Result([None], [[]])
        assert plane.namespaces() == []

    def test_queries_are_answered_in_their_order(self, plane: Plane) -> None:
        plane.write([Batch("n", put={"k": b"n"}), Batch("m", put={"k": b"m"})])
        queries = [Query("n", ["k"]), Query("none", ["k"]), Query("m", ["k"]), Query("n", ["k"])]
        assert [result.values for result in plane.read(queries)] == [[b"n"], [None], [b"m"], [b"n"]]

    def test_nothing_asked_is_nothing_answered(self, plane: Plane) -> None:
        plane.write([Batch("n", put={"k": b"v"})])
        assert plane.read([]) == []
        assert plane.read([Query("n")]) == [Result([], [])]

    def test_points_and_several_ranges_in_one_query(self, plane: Plane) -> None:
        fill(plane, "n", ["a", "b", "c"])
        [result] = plane.read(
            [Query("n", keys=["c"], ranges=[Range("b"), Range("x"), Range(stop="b")])]
        )
        assert result.values == [b"c"]
        assert result.ranges == [[("b", b"b"), ("c", b"c")], [], [("a", b"a")]]

    def test_keys_are_ordered_by_their_bytes(self, plane: Plane) -> None:
        fill(plane, "n", ORDERED)
        assert keys_of(plane, "n", Range()) == ORDERED
        assert keys_of(plane, "n", Range(reverse=True)) == ORDERED[::-1]

    @pytest.mark.parametrize("reverse", [False, True])
    @pytest.mark.parametrize("start", ["", "a", "a/a", "b", "\ue000", "z", "\U0010ffff"])
    def test_a_range_includes_its_start_and_excludes_its_stop(
        self, plane: Plane, start: str, reverse: bool
    ) -> None:
        fill(plane, "n", ORDERED)
        for stop in [None, "", "a", "aa", "é", "\uffff", "😁"]:
            wanted = [key for key in ORDERED if key >= start and (stop is None or key < stop)]
            wanted.sort(reverse=reverse)
            assert keys_of(plane, "n", Range(start, stop, reverse)) == wanted, (start, stop)

    @pytest.mark.parametrize("reverse", [False, True])
    def test_a_limit_cuts_the_range_at_its_end(self, plane: Plane, reverse: bool) -> None:
        fill(plane, "n", ORDERED)
        wanted = sorted(ORDERED[2:-1], reverse=reverse)
        for limit in [0, 1, 3, len(wanted), 1000, 2**63, 2**70]:
            found = keys_of(plane, "n", Range(ORDERED[2], ORDERED[-1], reverse, limit))
            assert found == wanted[:limit]

    def test_keys_only_leaves_the_values_out(self, plane: Plane) -> None:
        fill(plane, "n", ORDERED)
        wanted = Range("a", "b", reverse=True, limit=2, keys_only=True)
        assert keys_of(plane, "n", wanted) == ["aa", "a/b"]

    @pytest.mark.parametrize("prefix", ["", "a", "a/", "퟿", "\uffff", "\U0010ffff", "a\U0010ffff"])
    def test_a_prefix_range_holds_what_starts_with_it(self, plane: Plane, prefix: str) -> None:
        keys = sorted({*ORDERED, prefix or "x", prefix + "0", prefix + "\U0010ffff"})
        fill(plane, "n", keys)
        wanted = [key for key in keys if key.startswith(prefix)]
        assert keys_of(plane, "n", Range.of_prefix(prefix)) == wanted
        assert keys_of(plane, "n", Range.of_prefix(prefix, reverse=True, limit=1)) == wanted[-1:]

    def test_prefixes_are_no_patterns(self, plane: Plane) -> None:
        fill(plane, "n", PATTERNS)
        for key in PATTERNS:
            fill(plane, key, ["k"])
        for key in PATTERNS:
            assert keys_of(plane, "n", Range.of_prefix(key)) == [key]
            assert plane.namespaces(key) == [key]

    def test_namespaces_are_ordered_by_their_bytes(self, plane: Plane) -> None:
        for name in reversed(ORDERED):
            fill(plane, name, ["k"])
        assert plane.namespaces() == ORDERED
        assert plane.namespaces("a") == ["a", "a/", "a/b", "aa"]
        assert plane.namespaces("a/") == ["a/", "a/b"]
        assert plane.namespaces("x") == []

    def test_namespaces_after_a_name_and_up_to_a_limit(self, plane: Plane) -> None:
        for name in ORDERED:
            fill(plane, name, ["k"])
        assert plane.namespaces(after="a/0") == [name for name in ORDERED if name > "a/0"]
        assert plane.namespaces("a", after="a") == ["a/", "a/b", "aa"]
        assert plane.namespaces("a", after="B") == ["a", "a/", "a/b", "aa"]
        assert plane.namespaces("a/", after="B") == ["a/", "a/b"]
        assert plane.namespaces("a", after="é") == []
        assert plane.namespaces("a", after="a", limit=2) == ["a/", "a/b"]
        assert plane.namespaces(limit=0) == []
        assert plane.namespaces(limit=1000) == plane.namespaces(limit=2**70) == ORDERED

    def test_namespaces_can_be_paged(self, plane: Plane) -> None:
        names = sorted(f"name{index}" for index in range(100))
        plane.write([Batch(name, put={"k": b"v"}) for name in names])
        found: list[str] = []
        while page := plane.namespaces("name", after=found[-1] if found else None, limit=7):
            assert len(page) <= 7
            found += page
        assert found == names

    @pytest.mark.parametrize("limit", [-1, -(2**40), -(2**70)])
    def test_a_negative_limit_is_refused(self, plane: Plane, limit: int) -> None:
        with pytest.raises(ValueError, match="limit"):
            plane.read([Query("n", ranges=[Range(limit=limit)])])
        with pytest.raises(ValueError, match="limit"):
            plane.namespaces(limit=limit)

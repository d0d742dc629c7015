"""The contract; the package describes it."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from langgraph.store.base import GetOp, InvalidNamespaceError, Op, PutOp, SearchOp
from langgraph.store.swarmstate.testing._base import Memory, Mode, embed, plain_result
from langgraph.store.swarmstate.testing._meaning import MeaningContract
from langgraph.store.swarmstate.testing.reference import Reference
from langgraph.store.swarmstate.testing.strategies import batches

__all__ = ["Memory", "MemoryContract"]


class MemoryContract(MeaningContract):
    """The whole contract.

    Attributes:
        examples: How many sequences to generate for each test.
    """

    def test_generated_batches_do_what_they_do_in_memory(self, mode: Mode) -> None:
        """Every result equals that of the reference."""

        @settings(max_examples=self.examples)
        @given(batches())
        def compare(sequence: list[list[Op]]) -> None:
            reference = Reference()
            with self.memory(mode) as memory:
                for ops in sequence:
                    memory.now += 1
                    found = [plain_result(result) for result in memory.call("batch", ops)]
                    assert found == reference.batch(ops)

        compare()

    def test_a_page_may_be_as_large_as_numbers_are(self, mode: Mode) -> None:
        """Any large number may ask for everything."""
        with self.memory(mode, index={"dims": 16, "embed": embed}) as ours:
            ours.call("put", ("a",), "k", {"text": "tea"})
            for query in (None, "tea"):
                for number in (sys.maxsize, 1 << 64):
                    assert len(ours.call("search", ("a",), query=query, limit=number)) == 1
                    assert ours.call("search", ("a",), query=query, offset=number) == []
            assert ours.call("list_namespaces", limit=1 << 64) == [("a",)]

    def test_what_was_put_last_comes_first(self, ours: Memory) -> None:
        """Items of one moment are ordered by namespace and key, with any characters and pages."""
        expected = []
        # As joined strings, the last two would sort the other way around.
        places = (("n",), ("n", "m"), ("n", "m", "x"), ("n", "m-"))
        for ours.now in (-7.0, 0.0, 0.25, 3_000.0, 4e9):
            for labels in reversed(places):
                for n, key in enumerate(("a", "a/b", "a%2Fb", "b", "ä", "\U0001f600")):
                    name = f"{key} {ours.now}"
                    ttl = 1e10 if n % 3 else None
                    ours.call("put", labels, name, {"n": n}, ttl=ttl)
                    expected.append((-ours.now, labels, name, n))
            ours.call("put", ("n",), f"gone {ours.now}", {"n": 0}, ttl=1e-6)
        ours.now += 1
        expected.sort()
        for wanted in (None, {"n": {"$gt": 2}}, {"n": 0}, {"n": 9}):
            passing = [
                (labels, key)
                for _, labels, key, n in expected
                if not wanted or (n > 2 if isinstance(wanted["n"], dict) else n == wanted["n"])
            ]
            for offset, limit in ((0, 1000), (0, 1), (3, 10), (17, 1), (2000, 1), (0, 0)):
                options = {"filter": wanted, "offset": offset, "limit": limit}
                found = ours.call("search", ("n",), **options, refresh_ttl=False)
                assert [(item.namespace, item.key) for item in found] == passing[
                    offset : offset + limit
                ]

    def test_namespaces_match_label_by_label(self, ours: Memory) -> None:
        """Neither `acme` nor `john_doe` finds a label that only looks similar."""
        for label in ("acme", "acme-corp", "john_doe", "john-doe", "johnXdoe"):
            ours.call("put", (label, "x"), "k", {"label": label})
        for label in ("acme", "john_doe"):
            found = ours.call("search", (label,))
            assert [item.value["label"] for item in found] == [label]
            assert ours.call("list_namespaces", prefix=(label,)) == [(label, "x")]
        ours.call("put", ("x", "acme"), "k", {})
        for suffix, start in ((("x",), "acme"), (("acme",), "x"), (("john_doe", "x"), "john_doe")):
            assert ours.call("list_namespaces", suffix=suffix, limit=1)[0][0] == start
        for prefix, count in ((("*", "x"), 5), (("acme", "*"), 1), (("acme", "x"), 1)):
            assert len(ours.call("list_namespaces", prefix=prefix)) == count

    def test_reading_creates_nothing(self, ours: Memory) -> None:
        """Neither `get` nor a search creates a namespace."""
        assert ours.call("get", ("a",), "k") is None
        assert ours.call("search", ("a",)) == []
        assert ours.call("list_namespaces") == []
        ours.call("put", ("a",), "k", {"n": 1})
        ours.call("delete", ("a",), "k")
        assert ours.call("list_namespaces") == []
        assert ours.store.store.namespaces() == []

    def test_bad_namespaces_are_refused_as_by_langgraph(self, ours: Memory) -> None:
        """The errors are LangGraph's own."""
        for namespace in ((), ("",), ("a.b",), ("langgraph", "x"), (1,)):
            with pytest.raises(InvalidNamespaceError):
                ours.call("put", namespace, "k", {"n": 1})
        # Only newer releases of LangGraph check this themselves.
        with pytest.raises(ValueError, match="NUL"):
            ours.call("put", ("\x00",), "k", {"n": 1})
        for namespace in (("a.b",), ("",)):
            with pytest.raises(InvalidNamespaceError):
                ours.call("get", namespace, "k")
            with pytest.raises(InvalidNamespaceError):
                ours.call("search", namespace)
            with pytest.raises(InvalidNamespaceError):
                ours.call("list_namespaces", suffix=namespace)
            for op in (GetOp(namespace, "k"), PutOp(namespace, "k", {"n": 1}), SearchOp(namespace)):
                with pytest.raises(InvalidNamespaceError):
                    ours.call("batch", [op])
        assert ours.store.store.namespaces() == []

    def test_what_makes_no_sense_is_refused_before_anything_is_done(self, ours: Memory) -> None:
        """Covers unknown operators, negative numbers and values that cannot be stored."""
        ours.call("put", ("a",), "k", {"n": 1})
        with pytest.raises(ValueError, match=r"Unsupported operator: \$in"):
            ours.call("search", ("a",), filter={"n": {"$in": [1]}})
        with pytest.raises(ValueError, match="limit"):
            ours.call("search", ("a",), limit=-1)
        with pytest.raises(ValueError, match="offset"):
            ours.call("list_namespaces", offset=-1)
        with pytest.raises(ValueError, match="max_depth"):
            ours.call("list_namespaces", max_depth=-1)
        with pytest.raises(TypeError, match="item 'bad'"):
            ours.call("put", ("a",), "bad", {"n": lambda: None})
        with pytest.raises(ValueError, match="nan"):
            ours.call("put", ("a",), "bad", {"n": 2}, ttl=float("nan"))
        with pytest.raises(ValueError, match="Unknown operation type"):
            ours.call("batch", [PutOp(("a",), "bad", {"n": 2}), "put"])
        assert [item.key for item in ours.call("search", ("a",))] == ["k"]

    def test_orders_leave_out_what_they_cannot_compare(self, ours: Memory) -> None:
        """Here `InMemoryStore` raises. Strings are compared as strings."""
        for key, value in {"1": 5, "2": None, "3": "2026-05", "4": [1], "5": 10**400}.items():
            ours.call("put", ("a",), key, {"n": value})
        ours.call("put", ("a",), "6", {})

        def keys(**wanted: Any) -> set[str]:
            found = ours.call(
                "search", ("a",), filter={"n": {f"${k}": v for k, v in wanted.items()}}
            )
            return {item.key for item in found}

        assert keys(gt=4) == {"1", "5"}
        assert keys(lt=6.5) == {"1"}
        assert keys(gte="2026-01", lt="2027") == {"3"}
        assert keys(ne=5) == {"2", "3", "4", "5", "6"}
        assert keys(eq=None) == {"2", "6"}

    def test_lists_match_as_wholes(self, ours: Memory) -> None:
        """A list in a filter is neither a prefix nor a set of alternatives."""
        ours.call("put", ("a",), "k", {"l": [1, {"x": 2, "y": 3}]})
        for wanted, count in (
            ([1, {"x": 2}], 1),
            ([1, {"x": {"$gt": 1}}], 1),
            ([1], 0),
            ([1, {"x": 2}, 3], 0),
            ([], 0),
            (1, 0),
        ):
            assert len(ours.call("search", ("a",), filter={"l": wanted})) == count, wanted

    def test_items_are_independent_of_what_was_put(self, ours: Memory) -> None:
        """Changing a value after it was put or returned does not change the stored one."""
        value: dict[str, Any] = {"list": [1]}
        ours.call("put", ("a",), "k", value)
        value["list"].append(2)
        ours.call("get", ("a",), "k").value["list"].append(3)
        assert ours.call("get", ("a",), "k").value == {"list": [1]}

    def test_items_say_when_they_were_put(self, ours: Memory) -> None:
        """They keep the times of their first and last put."""
        created = datetime(2026, 3, 29, 1, 30, 0, 250_000, tzinfo=timezone.utc)
        updated = created + timedelta(days=200, microseconds=1)
        for moment in (created, updated):
            ours.now = moment.timestamp()
            ours.call("put", ("a",), "k", {"n": 1})
        ours.now += 60
        for item in (ours.call("get", ("a",), "k"), *ours.call("search", ("a",))):
            assert (item.created_at, item.updated_at) == (created, updated)

    def test_items_expire_each_for_itself(self, ours: Memory) -> None:
        """Expired items are invisible immediately, to every operation; reading renews expiry."""
        for key, minutes in (("short", 1), ("long", 10), ("none", None)):
            ours.call("put", ("a", key), key, {"n": 1}, ttl=minutes)
        ours.now = 59.9
        assert ours.call("get", ("a", "short"), "short", refresh_ttl=False) is not None
        ours.now = 60.0
        assert ours.call("get", ("a", "short"), "short") is None
        assert {item.key for item in ours.call("search", ("a",), refresh_ttl=False)} == {
            "long",
            "none",
        }
        assert ours.call("list_namespaces") == [("a", "long"), ("a", "none")]
        ours.now = 599.0
        assert ours.call("get", ("a", "long"), "long") is not None
        ours.now = 1100.0
        assert len(ours.call("search", ("a",))) == 2
        ours.now = 1650.0
        assert ours.call("get", ("a", "long"), "long") is not None
        ours.now = 2250.0
        assert ours.call("get", ("a", "long"), "long") is None
        assert ours.call("get", ("a", "none"), "none") is not None

    def test_putting_again_replaces_the_expiry(self, ours: Memory) -> None:
        """The new one may be none; an infinite or huge time to live also means none."""
        ours.call("put", ("a",), "k", {"n": 1}, ttl=1)
        ours.call("put", ("a",), "k", {"n": 2}, ttl=5)
        ours.call("put", ("a",), "l", {"n": 1}, ttl=1e300)
        ours.call("put", ("a",), "l", {"n": 1}, ttl=1)
        ours.call("put", ("a",), "l", {"n": 2})
        ours.call("put", ("a",), "m", {"n": 1}, ttl=float("inf"))
        ours.now = 240.0
        found = ours.call("search", ("a",), refresh_ttl=False)
        assert {item.key for item in found} == {"k", "l", "m"}
        ours.now = 300.0
        assert {item.key for item in ours.call("search", ("a",))} == {"l", "m"}

    def test_a_sweep_removes_what_has_expired_and_nothing_else(self, ours: Memory) -> None:
        """No record of an expired item remains."""
        began = ours.now = 1_700_000_000.0
        for number in range(250):
            namespace = (f"u{number % 121}",)
            ours.call("put", namespace, f"k/{number}", {"n": number}, ttl=1 + number % 2)
        ours.call("put", ("stays",), "k", {"n": 0})
        ours.now = began + 59
        assert ours.call("sweep_ttl") == 0
        ours.now = began + 60
        assert ours.call("sweep_ttl") == 125
        assert ours.call("sweep_ttl") == 0
        assert len(ours.call("search", (), limit=1000, refresh_ttl=False)) == 126
        ours.now = began + 120
        assert ours.call("sweep_ttl") == 125
        assert ours.store.store.namespaces() == ["langgraph-store:stays"]
        assert len(ours.store.store.keys("langgraph-store:stays")) == 2

    def test_every_value_of_the_codec_comes_back(self, ours: Memory) -> None:
        """Including values that JSON does not have."""
        value = {"bytes": b"\x00", "set": {1, 2}, "big": 1 << 80, "nested": {1: {"two": (3,)}}}
        ours.call("put", ("a",), "k", value)
        assert ours.call("get", ("a",), "k").value == {**value, "nested": {1: {"two": [3]}}}

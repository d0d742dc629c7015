"""Expiry of namespaces."""

from __future__ import annotations

import math
from typing import Any

import pytest

from swarmstate.base import Batch, Expect, Query, Range, Result
from swarmstate.testing._harness import TTL, Harness, Plane


class ExpiryContract(Harness):
    """Times to live."""

    def test_an_expired_namespace_is_invisible(self, plane: Plane) -> None:
        plane.write([Batch("n", put={"a": b"1"}, ttl=TTL), Batch("m", put={"a": b"1"})])
        self.let_expire(plane, "n")
        [result] = plane.read([Query("n", keys=["a"], ranges=[Range()], ttl=60)])
        assert result == Result([None], [[]])
        assert plane.namespaces() == ["m"]
        assert plane.length() == 1
        assert plane.get("n", "a", "default") == "default"
        assert not plane.contains("n", "a")
        assert not plane.delete("n", "a")
        assert plane.snapshot().keys == [("m", "a")]

    def test_it_is_visible_until_it_expires(self, plane: Plane) -> None:
        plane.write([Batch("n", put={"a": b"1"}, ttl=60)])
        if self.manual_clock:
            self.clock.advance(59.9)
        assert plane.records("n") == {"a": b"1"}
        assert plane.namespaces() == ["n"]
        if self.manual_clock:
            self.clock.advance(0.1)
            assert plane.records("n") == {}
            assert plane.namespaces() == []

    def test_a_name_starts_clean_after_it_expired(self, plane: Plane) -> None:
        plane.write([Batch("n", put={"a": b"1", "b": b"1"}, ttl=TTL)])
        self.let_expire(plane, "n")
        plane.write([Batch("n", put_if_absent={"a": b"2"}, expect=Expect("", None))])
        assert plane.records("n") == {"a": b"2"}
        if self.manual_clock:
            self.clock.advance(1_000_000)
            assert plane.records("n") == {"a": b"2"}

    def test_writes_leave_the_expiry_as_it_is(self, plane: Plane) -> None:
        plane.write([Batch("n", put={"a": b"1"}, ttl=TTL)])
        plane.write([Batch("n", put={"b": b"2"}, delete=["a"])])
        plane.set("n", "c", 3)
        self.let_expire(plane, "n")
        assert plane.records("n") == {}

    @pytest.mark.parametrize(
        ("keys", "ranges"),
        [
            (["a", "b"], []),
            ([], [("", None)]),
            ([], [("a", "b"), ("b", "c")]),
            (["b"], [("a", "b")]),
        ],
    )
    def test_replacing_all_records_at_once_leaves_it(
        self, plane: Plane, keys: list[str], ranges: list[tuple[str, str | None]]
    ) -> None:
        plane.write([Batch(name, put={"a": b"1", "b": b"1"}, ttl=60) for name in "nmo"])
        plane.write([Batch("lasting", put={"a": b"1", "b": b"1"})])
        replaced = [
            Batch(name, put=put, put_if_absent=absent, delete=keys, delete_ranges=ranges, ttl=ttl)
            for name, put, absent, ttl in [
                ("n", {"c": b"2"}, {}, None),
                ("lasting", {"c": b"2"}, {}, None),
                ("m", {}, {"c": b"2"}, None),
                ("o", {"c": b"2"}, {}, 3600),
            ]
        ]
        plane.write(replaced)
        names = [batch.namespace for batch in replaced]
        assert [plane.records(name) for name in names] == [{"c": b"2"}] * 4
        results = plane.read([Query(name, ask_ttl=True) for name in names])
        ttls = [result.ttl for result in results]
        assert ttls == pytest.approx([60, math.inf, 60, 3600], abs=30)

    def test_a_later_ttl_replaces_an_earlier_one(self, plane: Plane) -> None:
        plane.write([Batch("longer", put={"a": b"1"}, ttl=TTL), Batch("longer", ttl=3600)])
        plane.write([Batch("never", put={"a": b"1"}, ttl=TTL), Batch("never", ttl=math.inf)])
        plane.write([Batch("shorter", put={"a": b"1"}, ttl=3600), Batch("shorter", ttl=TTL)])
        self.let_expire(plane, "shorter")
        assert plane.namespaces() == ["longer", "never"]
        # And all of their records.
        assert [plane.records(name) for name in ("longer", "never")] == [{"a": b"1"}] * 2

    def test_reading_can_refresh_it(self, plane: Plane) -> None:
        for name in ["read", "kept"]:
            plane.write([Batch(name, put={"a": b"1"}, ttl=TTL)])
        plane.read([Query("read", ttl=3600), Query("none", ttl=3600)])
        plane.read([Query("kept", keys=["a"])])
        self.let_expire(plane, "kept")
        assert plane.namespaces() == ["read"]

    def test_the_time_to_live_is_answered_if_asked(self, plane: Plane) -> None:
        plane.write([Batch("n", put={"a": b"1"}, ttl=60), Batch("m", put={"a": b"1"})])
        queries = [Query(name, keys=["a"], ask_ttl=True) for name in ["n", "m", "none"]]
        brief, lasting, absent = plane.read(queries)
        assert brief.values == [b"1"]
        assert brief.ttl is not None
        assert 0 < brief.ttl <= 60
        assert (lasting.ttl, absent.ttl) == (math.inf, None)
        # The query's own `ttl` is included, and a query that does not ask gets no answer.
        [renewed, kept] = plane.read([Query("n", ttl=3600, ask_ttl=True), Query("n")])
        assert renewed.ttl is not None
        assert 60 < renewed.ttl <= 3600
        assert kept.ttl is None
        plane.write([Batch("n", ttl=math.inf)])
        assert plane.read([Query("n", ask_ttl=True)])[0].ttl == math.inf
        if self.manual_clock:
            plane.write([Batch("n", ttl=60)])
            self.clock.advance(45)
            assert plane.read([Query("n", ask_ttl=True)])[0].ttl == 15

    def test_each_query_is_answered_before_the_next_one_sets_an_expiry(self, plane: Plane) -> None:
        plane.write([Batch("n", put={"a": b"1"}, ttl=60), Batch("m", put={"a": b"1"})])
        ttls = [None, 3600, None, 7200, math.inf, None, 60, 1800]
        queries = [Query("n", keys=["a"], ttl=ttl, ask_ttl=True) for ttl in ttls]
        queries.insert(3, Query("m", ask_ttl=True))
        results = plane.read(queries)
        assert results.pop(3).ttl == math.inf
        assert [result.values for result in results] == [[b"1"]] * len(ttls)
        expected = [60, 3600, 3600, 7200, math.inf, math.inf, 60, 1800]
        assert [result.ttl for result in results] == pytest.approx(expected, abs=30)
        assert plane.read([Query("n", ask_ttl=True)])[0].ttl == pytest.approx(1800, abs=30)

    def test_clearing_removes_it(self, plane: Plane) -> None:
        plane.write([Batch("n", put={"a": b"1"}, ttl=TTL), Batch("m", put={"a": b"1"}, ttl=TTL)])
        plane.write([Batch("n", clear=True, put={"b": b"2"})])
        self.let_expire(plane, "m")
        assert plane.records("n") == {"b": b"2"}

    def test_deleting_the_last_record_removes_it(self, plane: Plane) -> None:
        plane.write([Batch("n", put={"a": b"1"}, ttl=TTL), Batch("m", put={"a": b"1"}, ttl=TTL)])
        plane.write([Batch("n", delete=["a"])])
        plane.write([Batch("n", put={"b": b"2"})])
        self.let_expire(plane, "m")
        assert plane.records("n") == {"b": b"2"}

    @pytest.mark.parametrize(
        "emptying",
        [{"clear": True}, {"delete": ["a"]}, {"delete_ranges": [("", None)]}],
        ids=lambda each: next(iter(each)),
    )
    @pytest.mark.parametrize(
        "filling",
        [{"put": {"b": b"2"}}, {"put_if_absent": {"b": b"2"}}],
        ids=lambda each: next(iter(each)),
    )
    def test_a_write_may_empty_a_namespace_and_fill_it_again(
        self, plane: Plane, emptying: dict[str, Any], filling: dict[str, Any]
    ) -> None:
        """In separate batches: the refilled namespace is new, and does not expire."""
        for ttl in (60, None):
            plane.write([Batch("n", clear=True, put={"a": b"1"}, ttl=ttl)])
            plane.write([Batch("n", **emptying), Batch("n", **filling)])
            assert plane.records("n") == {"b": b"2"}
            assert plane.namespaces() == ["n"]
            assert plane.read([Query("n", ask_ttl=True)])[0].ttl == math.inf
        plane.write([Batch("n", put={"a": b"1"}), Batch("n", delete=["b"]), Batch("n", **emptying)])
        assert plane.namespaces() == []
        assert plane.length() == 0

    def test_a_copy_expires_with_its_source(self, plane: Plane) -> None:
        plane.write([Batch("n", put={"a": b"1"}, ttl=TTL), Batch("target", put={"a": b"1"})])
        plane.write([Batch("lasting", put={"a": b"1"}), Batch("other", put={"a": b"1"}, ttl=TTL)])
        plane.copy("n", "target")
        plane.copy("lasting", "other")
        self.let_expire(plane, "target")
        self.let_expire(plane, "n")
        assert plane.namespaces() == ["lasting", "other"]

    def test_an_expired_source_is_absent(self, plane: Plane) -> None:
        plane.write([Batch("n", put={"a": b"1"}, ttl=TTL), Batch("target", put={"a": b"1"})])
        self.let_expire(plane, "n")
        plane.copy("n", "target")
        assert plane.namespaces() == []

    def test_ttl_of_values(self, plane: Plane) -> None:
        plane.set("n", "a", 1, ttl=TTL)
        plane.set_many("m", {"a": 1}, ttl=TTL)
        plane.set("lasting", "a", 1, ttl=3600)
        self.let_expire(plane, "n")
        self.let_expire(plane, "m")
        assert plane.namespaces() == ["lasting"]

    def test_a_restored_namespace_does_not_expire(self, plane: Plane) -> None:
        plane.set("n", "a", 1, ttl=TTL)
        snapshot = plane.snapshot()
        self.let_expire(plane, "n")
        plane.restore(snapshot)
        plane.set("m", "a", 1, ttl=TTL)
        self.let_expire(plane, "m")
        assert plane.get("n", "a") == 1

    @pytest.mark.parametrize("ttl", [0, -1, -0.001, math.nan, -math.inf])
    def test_a_ttl_must_be_positive(self, plane: Plane, ttl: float) -> None:
        with pytest.raises(ValueError, match="ttl"):
            plane.write([Batch("n", put={"b": b""}), Batch("n", put={"a": b""}, ttl=ttl)])
        with pytest.raises(ValueError, match="ttl"):
            plane.read([Query("n", ttl=ttl)])
        with pytest.raises(ValueError, match="ttl"):
            plane.set("n", "a", 1, ttl=ttl)
        with pytest.raises(TypeError, match="ttl"):
            plane.write([Batch("n", put={"a": b""}, ttl="soon")])  # type: ignore[arg-type]  # what is tested
        assert plane.namespaces() == []

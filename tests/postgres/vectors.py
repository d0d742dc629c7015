"""Helpers to fill and compare collections."""

from __future__ import annotations

from swarmstate.vectors import Collection, Match, Record


def expect_equal(found: list[Match], expected: list[Match]) -> None:
    """Check that the records and scores are equal; equally near records may be in any order."""
    assert [match.score for match in found] == [match.score for match in expected]
    names = [(match.score, match.record.id) for match in found]
    assert names == [(match.score, match.record.id) for match in expected]
    assert [match.record for match in found] == [match.record for match in expected]


def fill(collection: Collection, count: int = 50) -> None:
    collection.upsert(Record(f"{n:03}", {"n": n}, [[1.0, float(n)]]) for n in range(count))

"""Search finds what a comparison with every vector finds; approximate search, nearly all of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from swarmstate import Store
from swarmstate.vectors import Collection, Metric, Record

if TYPE_CHECKING:
    from numpy.typing import NDArray

METRICS: list[Metric] = ["cosine", "dot", "l2"]


def exact_score(metric: Metric, query: NDArray[Any], vector: NDArray[Any]) -> float:
    """Return the score in double precision, computed straight from the definition."""
    query, vector = query.astype(np.float64), vector.astype(np.float64)
    if metric == "l2":
        return -float(np.linalg.norm(query - vector))
    product = float(query @ vector)
    if metric == "dot":
        return product
    norms = float(np.linalg.norm(query) * np.linalg.norm(vector))
    return product / norms if norms else 0.0


def numbers(seed: int, count: int, dimensions: int, scale: float = 1.0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((count, dimensions)) * scale).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    metric=st.sampled_from(METRICS),
    seed=st.integers(0, 2**32),
    dimensions=st.sampled_from([1, 2, 15, 16, 33, 384]),
    scale=st.sampled_from([1e-20, 1e-3, 1.0, 1e4, 1e15]),
    limit=st.integers(1, 30),
    offset=st.integers(0, 5),
    removed=st.sets(st.integers(0, 199), max_size=100),
    replaced=st.sets(st.integers(0, 199), max_size=50),
)
def test_finds_what_comparing_every_vector_finds(
    metric: Metric,
    seed: int,
    dimensions: int,
    scale: float,
    limit: int,
    offset: int,
    removed: set[int],
    replaced: set[int],
) -> None:
    vectors = numbers(seed, 200, dimensions, scale)
    collection = Collection(Store(), "memories", metric=metric)
    collection.upsert(
        Record(f"{i:03}", {"n": i}, [vectors[i]], ("all", f"part-{i % 3}"), [f"c{i % 4}"])
        for i in range(200)
    )
    collection.delete(f"{i:03}" for i in removed)
    vectors[sorted(replaced)] = numbers(seed + 1, len(replaced), dimensions, scale)
    collection.upsert(
        Record(f"{i:03}", {"n": i}, [vectors[i]], ("all", f"part-{i % 3}"), [f"c{i % 4}"])
        for i in replaced
    )
    left = [i for i in range(200) if i not in removed or i in replaced]
    query = numbers(seed + 2, 1, dimensions, scale)[0]

    def expect(found: list[Any], among: list[int]) -> None:
        scores = {f"{i:03}": exact_score(metric, query, vectors[i]) for i in among}
        best = sorted(scores.values(), reverse=True)[offset : offset + limit]
        assert [match.score for match in found] == pytest.approx(best, rel=1e-9, abs=1e-12)
        assert len({match.record.id for match in found}) == len(best)
        for match in found:
            assert match.score == pytest.approx(scores[match.record.id], rel=1e-9, abs=1e-12)

    expect(collection.search(query, limit=limit, offset=offset), left)
    found = collection.search(
        query,
        limit=limit,
        offset=offset,
        scope=("all", "part-1"),
        categories=["c1", "c2"],
        filter={"n": {"$gte": 20, "$lt": 150}},
    )
    expect(found, [i for i in left if i % 3 == 1 and i % 4 in (1, 2) and 20 <= i < 150])


def test_a_scope_selects_whole_segments_whatever_is_in_them() -> None:
    collection = Collection(Store(), "memories")
    scopes = [("a",), ("a\0",), ("a\0b",), ("a", "\0b"), ("a", "b"), ("a\0", "b"), ("",), ("\0",)]
    collection.upsert(Record(str(i), {}, [[1.0]], scope) for i, scope in enumerate(scopes))
    for wanted in scopes:
        below = {scope for scope in scopes if scope[: len(wanted)] == wanted}
        assert {record.scope for record in collection.select(scope=wanted)} == below
        assert {match.record.scope for match in collection.search([1.0], scope=wanted)} == below
        assert collection.count(scope=wanted) == len(below)
    assert collection.delete_where(scope=("a",)) == 3
    assert {record.id for record in collection.select()} == {"1", "2", "5", "6", "7"}


def test_equal_scores_are_ordered_by_id() -> None:
    collection = Collection(Store(), "memories")
    names = ["d", "b", "é", "a", "c", "Z"]
    collection.upsert(Record(name, {}, [[1.0, 2.0]]) for name in names)
    found = [match.record.id for match in collection.search([3.0, 1.0], limit=4)]
    assert found == ["Z", "a", "b", "c"]
    assert [m.record.id for m in collection.search([3.0, 1.0], limit=9, offset=4)] == ["d", "é"]


def test_a_zero_vector_is_near_to_nothing_and_far_from_nothing() -> None:
    collection = Collection(Store(), "memories")
    collection.upsert(
        [
            Record("zero", {}, [[0.0, 0.0]]),
            Record("along", {}, [[2.0, 0.0]]),
            Record("against", {}, [[-1.0, 0.0]]),
        ]
    )
    found = collection.search([1.0, 0.0])
    assert [(m.record.id, m.score) for m in found] == [("along", 1), ("zero", 0), ("against", -1)]
    assert [m.score for m in collection.search([0.0, 0.0])] == [0, 0, 0]


def test_a_record_counts_with_its_nearest_embedding_and_is_found_once() -> None:
    collection = Collection(Store(), "memories")
    collection.upsert(
        [
            Record("two", {}, [[1.0, 0.0], [0.9, 0.1]]),
            Record("one", {}, [[0.0, 1.0]]),
            Record("none", {"silent": True}),
        ]
    )
    found = collection.search([1.0, 0.0], limit=2, embeddings=True)
    assert [match.record.id for match in found] == ["two", "one"]
    assert [len(match.record.embeddings) for match in found] == [2, 1]
    assert [record.id for record in collection.select()] == ["none", "one", "two"]


@pytest.mark.parametrize("metric", METRICS)
def test_numbers_at_the_ends_of_float32_are_ranked_correctly(metric: Metric) -> None:
    collection = Collection(Store(), "memories", metric=metric)
    sizes = {"huge": 3e38, "large": 1e30, "one": 1.0, "small": 1e-38, "least": 1e-45}
    vectors = {
        f"{name}{sign}": np.array([sign * size, sign * size / 2], dtype=np.float32)
        for name, size in sizes.items()
        for sign in (1, -1)
    }
    collection.upsert(Record(name, {}, [vector]) for name, vector in vectors.items())
    for query in vectors.values():
        best = sorted(exact_score(metric, query, each) for each in vectors.values())[::-1][:4]
        found = [match.score for match in collection.search(query, limit=4)]
        assert found == pytest.approx(best, rel=1e-9, abs=1e-80)
        assert not any(math.isnan(score) for score in found)


def test_approximate_search_finds_nearly_all_and_exact_search_all() -> None:
    rng = np.random.default_rng(7)
    centres = rng.standard_normal((100, 32))
    data = centres[rng.integers(0, 100, 20_200)] + rng.standard_normal((20_200, 32)) * 0.4
    vectors = data[:20_000].astype(np.float32)
    queries = data[20_000:].astype(np.float32)
    collection = Collection(Store(), "memories", approximate_above=5_000)
    collection.upsert(
        Record(f"{i:05}", {"n": i}, [vectors[i]], (f"{i % 2}",)) for i in range(20_000)
    )
    collection.optimize()
    scores = queries.astype(np.float64) @ vectors.T.astype(np.float64)
    scores /= np.linalg.norm(vectors.astype(np.float64), axis=1)
    found_approximately = 0
    for query, row in zip(queries, scores, strict=True):
        best = {f"{i:05}" for i in np.argsort(-row)[:10]}
        exact = collection.search(query, exact=True)
        assert {match.record.id for match in exact} == best
        found_approximately += len(best & {m.record.id for m in collection.search(query)})
        # So few are selected that all of them are ranked.
        few = collection.search(query, filter={"n": {"$lt": 4_000}})
        best = {f"{i:05}" for i in np.argsort(-row[:4_000])[:10]}
        assert {match.record.id for match in few} == best
    assert found_approximately >= 0.95 * 2000


@pytest.mark.parametrize("metric", METRICS)
def test_approximate_search_finds_as_many_as_there_are_wherever_they_lie(metric: Metric) -> None:
    rng = np.random.default_rng(11)
    centres = rng.standard_normal((40, 16)) * 4
    languages = np.arange(6_000) % 40
    vectors = (centres[languages] + rng.standard_normal((6_000, 16))).astype(np.float32)
    collection = Collection(Store(), "memories", metric=metric, approximate_above=1_000)
    collection.upsert(
        Record(f"{i:04}", {"own": int(languages[i]) < 20}, [vectors[i]]) for i in range(6_000)
    )
    collection.optimize()
    assert collection.stats().clusters
    found = wanted = 0
    for query in vectors[20:40]:
        # Many more than the neighboring clusters hold.
        assert len(collection.search(query, limit=3_000)) == 3_000
        assert len(collection.search(query, limit=10, offset=5_990)) == 10
        # Nothing near the query is selected.
        best = collection.search(query, filter={"own": True}, exact=True)
        near = collection.search(query, filter={"own": True})
        assert len(near) == 10
        found += len({match.record.id for match in near} & {match.record.id for match in best})
        wanted += 10
    assert found >= 0.9 * wanted

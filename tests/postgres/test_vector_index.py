"""Searches use a pgvector index if somebody has created one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from swarmstate.vectors import Collection, Match, Metric, Record
from swarmstate_postgres import PostgresStore, vector_index_sql
from swarmstate_postgres._vector_index import can_go_on_looking

from tests.postgres.test_vectors import rows_read
from tests.servers.postgres import PostgresServer

METRICS: tuple[Metric, ...] = ("cosine", "dot", "l2")
COUNT = 4_000


@pytest.fixture(scope="module")
def url(postgres_server: PostgresServer) -> str:
    """Return a database with a collection for each metric, and its index."""
    url = postgres_server.new_database()
    rng = np.random.default_rng(11)
    near = rng.standard_normal((40, 64))
    data = (near[rng.integers(40, size=COUNT)] + rng.standard_normal((COUNT, 64))).astype("f")
    with PostgresStore(url) as store:
        for metric in METRICS:
            collection = Collection(store, named(metric), metric=metric)
            collection.upsert(
                Record(f"{n:04}", {"n": n}, [data[n], data[-n]][: 1 + n % 2], (f"s{n % 400}",))
                for n in range(COUNT)
            )
            assert collection.stats().vectors == COUNT * 3 // 2
    for metric in METRICS:
        postgres_server.execute(vector_index_sql(named(metric), 64, metric=metric), url=url)
    # The server does this by itself within a minute.
    postgres_server.execute("ANALYZE swarmstate_vector", url=url)
    return url


def named(metric: Metric) -> str:
    """Return a name that SQL has to quote."""
    return f"it's\\{metric}"


def queries() -> Iterator[Any]:
    yield from np.random.default_rng(13).standard_normal((10, 64)).astype("f")


def ids(found: list[Match]) -> list[str]:
    return [match.record.id for match in found]


@pytest.mark.parametrize("metric", METRICS)
def test_nearly_all_of_the_nearest_are_found(url: str, metric: Metric) -> None:
    hits = 0
    with PostgresStore(url) as store:
        collection = Collection(store, named(metric), metric=metric)
        for query in queries():
            found, exact = collection.search(query), collection.search(query, exact=True)
            assert len(set(ids(found))) == 10
            scores = {match.record.id: match.score for match in exact}
            assert all(match.score <= exact[0].score for match in found)
            assert all(scores.get(m.record.id, m.score) == m.score for m in found)
            hits += len(set(ids(found)) & set(ids(exact)))
    assert hits >= 90


@pytest.mark.parametrize("metric", METRICS)
def test_an_index_looks_at_few(postgres_server: PostgresServer, url: str, metric: Metric) -> None:
    before = rows_read(postgres_server, url)
    with PostgresStore(url) as store:
        Collection(store, named(metric), metric=metric).search(next(queries()))
    searched = rows_read(postgres_server, url)
    with PostgresStore(url) as store:
        Collection(store, named(metric), metric=metric).search(next(queries()), exact=True)
    assert searched - before < COUNT / 4
    assert rows_read(postgres_server, url) - searched >= COUNT


@pytest.mark.parametrize(
    "where",
    [
        {"filter": {"n": 77}},
        {"filter": {"n": {"$lt": 15}}},
        {"scope": ("s7",)},
        {"scope": ("none",)},
    ],
)
def test_what_a_filter_leaves_is_found_whole(url: str, where: dict[str, Any]) -> None:
    with PostgresStore(url) as store, PostgresStore(url, pgvector=False) as plain:
        ours, theirs = Collection(store, named("cosine")), Collection(plain, named("cosine"))
        for query in queries():
            found = ours.search(query, limit=20, **where)
            assert ids(found) == ids(theirs.search(query, limit=20, **where))


def test_pages_beyond_what_an_index_finds(url: str) -> None:
    with PostgresStore(url) as store, PostgresStore(url, pgvector=False) as plain:
        ours, theirs = Collection(store, named("cosine")), Collection(plain, named("cosine"))
        query = next(queries())
        found = ours.search(query, limit=10, offset=2_000)
        assert ids(found) == ids(theirs.search(query, limit=10, offset=2_000))


def test_an_index_of_another_metric_changes_nothing(url: str) -> None:
    with PostgresStore(url) as store, PostgresStore(url, pgvector=False) as plain:
        ours = Collection(store, named("cosine"), metric="l2")
        theirs = Collection(plain, named("cosine"), metric="l2")
        for query in queries():
            assert ids(ours.search(query)) == ids(theirs.search(query))


def test_an_index_may_be_made_and_dropped_at_any_time(postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database()
    sql = vector_index_sql("memories", 2)
    with PostgresStore(url) as store:
        collection = Collection(store, "memories")
        collection.upsert(Record(f"{n}", {}, [[1.0, n]]) for n in range(50))
        expected = ids(collection.search([1.0, 25.0]))
        postgres_server.execute(sql, url=url)
        postgres_server.execute(sql, url=url)
        assert ids(collection.search([1.0, 25.0])) == expected
        with PostgresStore(url) as other:
            opened = Collection(other, "memories")
            assert ids(opened.search([1.0, 25.0])) == expected
            opened.upsert([Record("new", {}, [[1.0, 25.0]])])
            [(name,)] = postgres_server.execute(
                "SELECT indexname FROM pg_indexes WHERE indexname LIKE '%vector_near%'", url=url
            )
            postgres_server.execute(f"DROP INDEX {name}", url=url)
            assert ids(opened.search([1.0, 25.0]))[:2] == ["25", "new"]


def test_what_is_equally_near_is_in_order_on_each_page(url: str) -> None:
    with PostgresStore(url) as store, PostgresStore(url, pgvector=False) as plain:
        ours, theirs = Collection(store, named("cosine")), Collection(plain, named("cosine"))
        nothing = [0.0] * 64
        for offset in (0, 10, 300):
            found = ours.search(nothing, offset=offset)
            assert ids(found) == ids(theirs.search(nothing, offset=offset))


def test_an_index_looks_at_few_of_records_with_many_embeddings(
    postgres_server: PostgresServer,
) -> None:
    url = postgres_server.new_database()
    rng = np.random.default_rng(17)
    near = rng.standard_normal((400, 32))
    with PostgresStore(url) as store:
        collection = Collection(store, "chunks")
        collection.upsert(
            Record(f"{n:03}", {}, near[n] + rng.standard_normal((10, 32)) / 20) for n in range(400)
        )
        expected = ids(collection.search(near[7]))
    postgres_server.execute(vector_index_sql("chunks", 32), url=url)
    postgres_server.execute("ANALYZE swarmstate_vector", url=url)
    before = rows_read(postgres_server, url)
    with PostgresStore(url) as store:
        found = ids(Collection(store, "chunks").search(near[7]))
    assert rows_read(postgres_server, url) - before < 2_000
    assert found[0] == "007"
    assert len(set(found) & set(expected)) >= 8


def test_a_collection_may_get_other_dimensions_than_its_index(
    postgres_server: PostgresServer,
) -> None:
    url = postgres_server.new_database()
    rng = np.random.default_rng(19)
    data = rng.standard_normal((2_000, 16)).astype("f")
    with PostgresStore(url) as store:
        collection = Collection(store, "memories")
        collection.upsert([Record("a", {}, [[1.0, 2.0]])])
        collection.search([1.0, 2.0])
        postgres_server.execute(vector_index_sql("memories", 2), url=url)
        collection.clear()
        collection.upsert(Record(f"{n:04}", {}, [data[n]]) for n in range(2_000))
        expected = ids(collection.search(data[7]))
        assert collection.stats().searched_by == "pgvector"
    # An index for another metric does not get in the way either.
    for metric in ("l2", "cosine"):
        postgres_server.execute(vector_index_sql("memories", 16, metric=metric), url=url)
    postgres_server.execute("ANALYZE swarmstate_vector", url=url)
    before = rows_read(postgres_server, url)
    with PostgresStore(url) as store:
        found = ids(Collection(store, "memories").search(data[7]))
    assert rows_read(postgres_server, url) - before < 500
    assert len(set(found) & set(expected)) >= 8


@pytest.mark.parametrize(
    ("release", "is_known_to_do"),
    [
        ("0.8.0.google-3", True),
        ("0.10", True),
        ("1.0dev", True),
        ("0.7.4", False),
        ("unknown", False),
    ],
)
def test_services_may_name_releases_of_pgvector_in_their_own_way(
    postgres_server: PostgresServer, release: str, is_known_to_do: bool
) -> None:
    assert can_go_on_looking(release) == is_known_to_do
    url = postgres_server.new_database()
    with PostgresStore(url) as store:
        Collection(store, "memories").upsert([Record("a", {}, [[1.0, 2.0]])])
        assert Collection(store, "memories").stats().searched_by == "pgvector"
    postgres_server.execute(vector_index_sql("memories", 2), url=url)
    renaming = f"UPDATE pg_extension SET extversion = '{release}' WHERE extname = 'vector'"
    postgres_server.execute(renaming, url=url)
    with PostgresStore(url) as store:
        assert ids(Collection(store, "memories").search([1.0, 2.0])) == ["a"]


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("memories", 0), {}, "1 to 2000 dimensions, found 0"),
        (("memories", 2_001), {}, "1 to 2000 dimensions, found 2001"),
        (("memories", 2), {"metric": "hamming"}, "metric to be one of"),
        (("memories", 2), {"prefix": "a-b"}, "prefix"),
        (("memories", 2), {"schema": ""}, "schema"),
    ],
)
def test_indexes_that_cannot_be_are_refused(
    arguments: tuple[Any, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        vector_index_sql(*arguments, **options)

"""Collections searched by pgvector find the same as those with their own index."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from swarmstate.errors import DimensionError, EmbeddingError, InvalidFilterError
from swarmstate.vectors import Collection, Metric, Record
from swarmstate_postgres import PostgresStore

from tests.postgres.vectors import expect_equal, fill
from tests.servers.postgres import PostgresServer

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-2, 5)
    | st.sampled_from([2**53, 2**53 + 1, -(2**63), 0.5, 1.0, -0.0, 1e300, float("inf")])
    | st.sampled_from(["", "a", "b", "1", " 2 ", "1_0", "nul\0", "é", "\x01unknown", "x" * 300])
    | st.sampled_from([b"b", (1, 2), frozenset([1])])
)

trees = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["a", "b", "nul\0"]), inner, max_size=2)
    ),
    max_leaves=4,
)

operators = st.dictionaries(
    st.sampled_from(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]), trees, min_size=1, max_size=2
)

conditions = st.recursive(
    trees | operators,
    lambda inner: st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=3,
)

values = st.fixed_dictionaries({"f": trees}, optional={"g": scalars})

segments = st.sampled_from(["s", "t", "s/t", "nul\0", "\\0", "", "x" * 61, "x" * 60 + "y"])

wheres = st.fixed_dictionaries(
    {},
    optional={
        "scope": st.lists(segments, max_size=4),
        "categories": st.lists(segments, max_size=2),
        "filter": st.dictionaries(st.sampled_from(["f", "g", "no"]), conditions, max_size=2),
    },
)

numbers = st.integers(-2, 2).map(float) | st.floats(-10, 10, width=32).filter(
    lambda number: number == 0 or abs(number) > 1e-6
)

vectors = st.lists(numbers, min_size=3, max_size=3)

records = st.builds(
    Record,
    st.sampled_from([f"r{number}" for number in range(12)]),
    values,
    st.lists(vectors, max_size=2),
    st.lists(segments, max_size=5),
    st.lists(segments, max_size=2),
)


@pytest.fixture(scope="module")
def url(postgres_server: PostgresServer) -> str:
    return postgres_server.new_database()


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    rounds=st.lists(st.lists(records, max_size=12), min_size=1, max_size=3),
    removed=st.sets(st.integers(0, 11), max_size=4),
    queries=st.lists(st.tuples(vectors, wheres), min_size=1, max_size=3),
    metric=st.sampled_from(["cosine", "dot", "l2"]),
    limit=st.integers(0, 6),
    offset=st.integers(0, 3),
)
def test_it_finds_what_an_index_finds(
    url: str,
    rounds: list[list[Record]],
    removed: set[int],
    queries: list[tuple[list[float], dict[str, Any]]],
    metric: Metric,
    limit: int,
    offset: int,
) -> None:
    with PostgresStore(url) as store, PostgresStore(url, pgvector=False) as plain:
        theirs = Collection(store, "memories", metric=metric)
        ours = Collection(plain, "memories", metric=metric)
        theirs.clear()
        for new in rounds:
            theirs.upsert(new)
            for query, where in queries:
                page: dict[str, Any] = {"limit": limit, "offset": offset}
                expect_equal(
                    theirs.search(query, **page, **where), ours.search(query, **page, **where)
                )
                assert theirs.select(order_by="g", **where) == ours.select(order_by="g", **where)
                assert theirs.select(embeddings=True, **where) == ours.select(
                    embeddings=True, **where
                )
                assert theirs.count(**where) == ours.count(**where)
                assert theirs.scopes(**where) == ours.scopes(**where)
                assert theirs.categories(**where) == ours.categories(**where)
            theirs.delete(f"r{number}" for number in removed)
        stats = theirs.stats()
        assert (stats.searched_by, stats.problem) == ("pgvector", None)
        assert stats[1:4] == ours.stats()[1:4]
        assert ours.stats().searched_by == "index"
        for _, where in queries:
            assert theirs.delete_where(**where) <= stats.records
            assert theirs.select() == ours.select()


def test_many_vectors(url: str) -> None:
    rng = np.random.default_rng(3)
    data = rng.standard_normal((3_000, 48)).astype(np.float32)
    with PostgresStore(url) as store, PostgresStore(url, pgvector=False) as plain:
        for metric in ("cosine", "dot", "l2"):
            theirs = Collection(store, "many", metric=metric)
            ours = Collection(plain, "many", metric=metric)
            if metric == "cosine":
                for start in range(0, len(data), 500):
                    theirs.upsert(
                        Record(f"{n}", {"n": n, "t": f"{n % 7}"}, [data[n]], ("s", f"{n % 5}"))
                        for n in range(start, start + 500)
                    )
            wheres: list[dict[str, Any]] = [
                {},
                {"scope": ("s", "3")},
                {"filter": {"n": {"$gte": 2_900}}},
                {"filter": {"t": "4", "n": {"$lt": 1_000}}},
            ]
            for query in rng.standard_normal((10, 48)).astype(np.float32):
                for where in wheres:
                    expect_equal(theirs.search(query, **where), ours.search(query, **where))


def test_a_search_in_a_scope_looks_at_nothing_else(postgres_server: PostgresServer) -> None:
    """Records in other scopes do not make it slower."""
    url = postgres_server.new_database()
    rng = np.random.default_rng(7)
    data = rng.standard_normal((2_000, 8)).astype(np.float32)
    query = data[5]

    def scope(number: int) -> tuple[str, ...]:
        return ("users", f"user-{number % 100:03}", "memories")

    def looked_at(search: Callable[[Collection], object]) -> int:
        before = rows_read(postgres_server, url)
        with PostgresStore(url) as store:
            search(Collection(store, "memories"))
        return rows_read(postgres_server, url) - before

    with PostgresStore(url) as store:
        collection = Collection(store, "memories")
        collection.upsert(
            Record(f"{number:04}", {"n": number}, [data[number]], scope(number))
            for number in range(2_000)
        )
        collection.search(query)
        assert collection.stats().searched_by == "pgvector"
    # The server does this by itself within a minute.
    postgres_server.execute("ANALYZE swarmstate_vector", url=url)
    one: dict[str, Any] = {"scope": ("users", "user-005")}
    assert looked_at(lambda memories: memories.search(query)) >= 2_000
    assert looked_at(lambda memories: memories.search(query, **one)) < 100
    assert looked_at(lambda memories: memories.select(**one)) < 100
    assert looked_at(lambda memories: memories.count(**one)) < 100


_CONNECTIONS = (
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)

_ROWS_READ = (
    "SELECT COALESCE(seq_tup_read, 0) + COALESCE(idx_tup_fetch, 0) FROM pg_stat_user_tables "
    "WHERE relname = 'swarmstate_vector'"
)


def rows_read(server: PostgresServer, url: str) -> int:
    """Return how many rows of the vector table have been read so far."""
    # A connection reports its reads when it ends.
    while server.execute(_CONNECTIONS, url=url) != [(0,)]:
        pass
    [(rows,)] = server.execute(_ROWS_READ, url=url)
    return int(rows)


def test_tables_of_the_first_release_are_migrated(postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database()
    records = [Record("a", {}, [[1.0]], ("s",)), Record("b", {}, [[1.0]], ("t",))]
    with PostgresStore(url) as store:
        Collection(store, "memories").upsert(records)
        assert Collection(store, "memories").stats().searched_by == "pgvector"
    postgres_server.execute(
        "DROP INDEX swarmstate_vector_scope; "
        "DELETE FROM swarmstate_vector_migration WHERE version > 1",
        url=url,
    )
    with PostgresStore(url) as store:
        collection = Collection(store, "memories")
        assert [match.record.id for match in collection.search([1.0], scope=("t",))] == ["b"]
        assert collection.stats()[0] == "pgvector"
    indexes = postgres_server.execute(
        "SELECT count(*) FROM pg_indexes WHERE indexname = 'swarmstate_vector_scope'", url=url
    )
    assert indexes == [(1,)]


def test_many_embeddings_of_one_record_hide_no_others(url: str) -> None:
    with PostgresStore(url) as store, PostgresStore(url, pgvector=False) as plain:
        theirs, ours = Collection(store, "crowded"), Collection(plain, "crowded")
        near = [[1.0, number / 1_000] for number in range(300)]
        theirs.upsert([Record("many", {}, near)])
        theirs.upsert(Record(f"{n:02}", {"n": n}, [[1.0, 1.0 + n]]) for n in range(30))
        for limit in (1, 5, 31, 40):
            expect_equal(
                theirs.search([1.0, 0.0], limit=limit), ours.search([1.0, 0.0], limit=limit)
            )
        assert theirs.stats().searched_by == "pgvector"


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_what_single_precision_cannot_tell_apart_is_in_order(url: str, metric: Metric) -> None:
    rng = np.random.default_rng(5)
    data = (rng.standard_normal(256) + rng.standard_normal((120, 256)) * 1e-4).astype(np.float32)
    with PostgresStore(url) as store, PostgresStore(url, pgvector=False) as plain:
        theirs = Collection(store, f"alike {metric}", metric=metric)
        ours = Collection(plain, f"alike {metric}", metric=metric)
        # The last forty vectors are equal.
        theirs.upsert(
            Record(f"{number:03}", {"n": number}, [data[min(number, 80)]]) for number in range(120)
        )
        expected = ours.search(data[0], limit=120)
        pages = [theirs.search(data[0], offset=offset) for offset in range(0, 120, 10)]
        expect_equal([match for page in pages for match in page], expected)
        old = {"n": {"$lt": 60}}
        expect_equal(theirs.search(data[0], filter=old), ours.search(data[0], filter=old))
        assert theirs.stats().searched_by == "pgvector"


def test_what_is_refused_is_refused_as_by_an_index(url: str) -> None:
    with PostgresStore(url) as store:
        collection = Collection(store, "refusals")
        collection.upsert([Record("a", {"n": 1}, [[1.0, 2.0]])])
        with pytest.raises(DimensionError):
            collection.search([1.0])
        with pytest.raises(EmbeddingError, match="the embedding to search for"):
            collection.search([float("nan")])
        for bad in ({"n": {"$in": [1]}}, {"n": {1: 2}}):
            with pytest.raises(InvalidFilterError):
                collection.search([1.0, 2.0], filter=bad)
            with pytest.raises(InvalidFilterError):
                collection.count(filter=bad)
        with pytest.raises(ValueError, match="scope must not contain lone surrogates"):
            collection.count(scope=["\ud800"])
        with pytest.raises(ValueError, match="categories must not contain lone surrogates"):
            collection.delete_where(categories=["\ud800"])
        with pytest.raises(TypeError, match="scope must be a sequence of str"):
            collection.select(scope=[1])  # type: ignore[list-item]


def test_async_methods_do_the_same(url: str) -> None:
    asyncio.run(use_async_methods(url))


async def use_async_methods(url: str) -> None:
    async with PostgresStore(url) as store:
        collection = Collection(store, "async")
        await collection.aupsert(Record(f"{n}", {"n": n}, [[1.0, n]]) for n in range(20))
        found = await collection.asearch([1.0, 0.0], limit=3, filter={"n": {"$gt": 4}})
        assert [match.record.id for match in found] == ["5", "6", "7"]
        assert (await collection.astats()).searched_by == "pgvector"
        assert await collection.acount() == 20


def test_it_follows_what_becomes_of_the_namespace(url: str) -> None:
    with PostgresStore(url) as store, PostgresStore(url, pgvector=False) as plain:
        theirs, ours = Collection(store, "follows"), Collection(plain, "follows")
        other = Collection(plain, "other")
        fill(other, 7)

        def both() -> int:
            expect_equal(theirs.search([1.0, 30.0]), ours.search([1.0, 30.0]))
            assert theirs.select() == ours.select()
            return theirs.count()

        assert both() == 0
        fill(ours)
        assert both() == 50
        earlier = store.snapshot()
        ours.upsert([Record("020", {"n": -1}, [[1.0, 29.5]]), Record("none", {})])
        ours.delete(["030"])
        assert both() == 50
        store.restore(earlier)
        assert both() == 50
        store.copy("other", "follows")
        assert both() == 7
        ours.clear()
        assert both() == 0
        ours.upsert([Record("c", {}, [[1.0, 2.0]])])
        assert both() == 1
        # More writes than the log keeps.
        for number in range(2_200):
            ours.upsert([Record(f"{number % 30}", {"n": number}, [[1.0, float(number)]])])
        assert both() == 31
        store.clear("follows")
        assert both() == 0
        assert theirs.stats().searched_by == "pgvector"


def test_what_is_kept_may_be_lost_or_half_made(postgres_server: PostgresServer, url: str) -> None:
    with PostgresStore(url) as store:
        collection = Collection(store, "lost")
        fill(collection)
        expected = collection.search([1.0, 30.0])
        for damage in (
            "DELETE FROM swarmstate_vector_state",
            "UPDATE swarmstate_vector_state SET cursors = '{building}' || cursors",
            "DELETE FROM swarmstate_vector_state WHERE namespace = 'lost'",
        ):
            postgres_server.execute(damage, url=url)
            for each in (collection, Collection(store, "lost")):
                assert each.search([1.0, 30.0]) == expected
                assert each.stats()[:4] == ("pgvector", 50, 50, 2)


def test_a_crash_while_it_is_made_leaves_nothing_wrong(
    postgres_server: PostgresServer, url: str
) -> None:
    with PostgresStore(url) as store:
        collection = Collection(store, "crashed")
        fill(collection)
        assert collection.count() == 50
        # As if the builder had died after one page, and records had changed since.
        postgres_server.execute(
            "UPDATE swarmstate_vector_state SET cursors = '{building}' || cursors "
            "WHERE namespace = 'crashed'; "
            "DELETE FROM swarmstate_vector WHERE namespace = 'crashed' AND key > 'item/020'",
            url=url,
        )
        with PostgresStore(url, pgvector=False) as plain:
            ours = Collection(plain, "crashed")
            ours.delete(["001", "040"])
            ours.upsert([Record("002", {"n": "new"}, [[5.0, 1.0]])])
            again = Collection(store, "crashed")
            expect_equal(again.search([1.0, 0.0]), ours.search([1.0, 0.0]))
            assert again.select() == ours.select()


def test_many_threads_write_and_search(url: str) -> None:
    with PostgresStore(url) as store, PostgresStore(url) as second:

        def work(worker: int) -> None:
            collection = Collection((store, second)[worker % 2], "busy")
            for number in range(12):
                name = f"{worker}-{number}"
                collection.upsert([Record(name, {"by": worker}, [[float(worker), number + 1.0]])])
                found = collection.search([float(worker), number + 1.0], filter={"by": worker})
                assert name in {match.record.id for match in found}
                if number % 3 == 0:
                    collection.delete([name])
                    assert name not in {record.id for record in collection.select()}

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(work, range(6)))
        assert Collection(store, "busy").count() == 6 * 8
        plain = PostgresStore(url, pgvector=False)
        with plain:
            assert Collection(plain, "busy").select() == Collection(store, "busy").select()


@pytest.mark.parametrize(
    ("embedding", "problem"),
    [([1e30, 2e30], "cannot be squared"), ([1e-30, 0.0], "squared"), ([1.0] * 16_001, "16000")],
)
def test_what_pgvector_cannot_hold_an_index_searches(
    url: str, embedding: list[float], problem: str
) -> None:
    with PostgresStore(url) as store:
        collection = Collection(store, f"unfit-{len(embedding)}-{embedding[0]}")
        if len(embedding) == 2:
            fill(collection, 3)
            assert collection.stats().searched_by == "pgvector"
        collection.upsert([Record("unfit", {}, [embedding])])
        for each in (collection, Collection(store, collection.namespace)):
            with PostgresStore(url, pgvector=False) as plain:
                ours = Collection(plain, collection.namespace)
                expect_equal(each.search(embedding), ours.search(embedding))
            stats = each.stats()
            assert stats.searched_by == "index"
            assert problem in (stats.problem or "")
        # The problem ends with the collection.
        collection.clear()
        fill(Collection(store, collection.namespace), 3)
        assert Collection(store, collection.namespace).stats().searched_by == "pgvector"

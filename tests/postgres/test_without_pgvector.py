"""If pgvector is missing, forbidden or cannot hold the records, the built-in index is used."""

from __future__ import annotations

import asyncio

import pytest
from swarmstate.vectors import Collection, Record
from swarmstate_postgres import PostgresStore, setup_sql

from tests.postgres.vectors import fill
from tests.servers.postgres import PostgresServer


def test_without_the_extension_or_the_right_to_make_it_an_index_searches(
    postgres_server: PostgresServer,
) -> None:
    url = postgres_server.new_database()
    database = url.rpartition("/")[2]
    postgres_server.execute(
        "CREATE ROLE no_vectors LOGIN PASSWORD 'secret';"
        f"GRANT CONNECT, CREATE ON DATABASE {database} TO no_vectors"
    )
    postgres_server.execute("CREATE SCHEMA mine AUTHORIZATION no_vectors", url=url)
    theirs = postgres_server.url(database, "no_vectors", "secret")
    with PostgresStore(theirs, schema="mine") as store:
        collection = Collection(store, "memories")
        fill(collection)
        [match] = collection.search([1.0, 30.0], limit=1)
        assert match.record.id == "030"
        stats = collection.stats()
        assert stats.searched_by == "index"
        assert stats.problem is not None
        assert "cannot create the extension pgvector" in stats.problem
        assert "setup_sql(vectors=True)" in stats.problem
    # A role with the privileges runs the SQL from the message.
    sql = setup_sql(schema="mine", since=10_000, role="no_vectors", vectors=True)
    postgres_server.execute(sql, url=url)
    with PostgresStore(theirs, schema="mine") as store:
        collection = Collection(store, "memories")
        assert collection.search([1.0, 30.0], limit=1) == [match]
        assert collection.stats()[:4] == ("pgvector", 50, 50, 2)


def test_where_others_alone_may_use_the_tables_an_index_searches(
    postgres_server: PostgresServer,
) -> None:
    url = postgres_server.new_database()
    postgres_server.execute(
        "CREATE SCHEMA extensions; CREATE EXTENSION vector SCHEMA extensions", url=url
    )
    with PostgresStore(url) as store:
        fill(Collection(store, "memories"))
        assert Collection(store, "memories").stats().searched_by == "pgvector"
    postgres_server.execute("CREATE ROLE plain LOGIN PASSWORD 'secret'")
    theirs = postgres_server.url(url.rpartition("/")[2], "plain", "secret")

    def searched() -> tuple[str, str]:
        with PostgresStore(theirs) as store:
            collection = Collection(store, "memories")
            [match] = collection.search([1.0, 30.0], limit=1)
            assert match.record.id == "030"
            stats = collection.stats()
            return stats.searched_by, stats.problem or ""

    postgres_server.execute(setup_sql(role="plain"), url=url)
    name, problem = searched()
    assert name == "index"
    assert "GRANT USAGE ON SCHEMA" in problem
    postgres_server.execute("GRANT USAGE ON SCHEMA extensions TO plain", url=url)
    name, problem = searched()
    assert name == "index"
    assert "setup_sql(role=..., vectors=True)" in problem
    postgres_server.execute(setup_sql(role="plain", vectors=True), url=url)
    assert searched() == ("pgvector", "")


@pytest.mark.parametrize("sql", ["SELECT 1", "CREATE EXTENSION vector"])
def test_where_nothing_can_be_written_an_index_searches(
    postgres_server: PostgresServer, sql: str
) -> None:
    url = postgres_server.new_database()
    with PostgresStore(url, pgvector=False) as store:
        fill(Collection(store, "memories"))
    postgres_server.execute(sql, url=url)
    with PostgresStore(f"{url}?default_transaction_read_only=on") as store:
        collection = Collection(store, "memories")
        assert collection.search([1.0, 30.0], limit=1)[0].record.id == "030"
        stats = collection.stats()
        assert stats.searched_by == "index"
        assert "primary" in (stats.problem or "")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "DELETE FROM swarmstate_vector_state",
        "UPDATE swarmstate_vector_state SET cursors = array_prepend('building', cursors)",
        "UPDATE swarmstate_vector_state SET cursors = array_fill('log/0/9'::text, ARRAY[8])",
    ],
)
def test_where_nothing_can_be_written_an_index_finds_what_came_since(
    postgres_server: PostgresServer, sql: str
) -> None:
    url = postgres_server.new_database()
    with PostgresStore(url) as store:
        memories = Collection(store, "memories")
        fill(memories)
        assert memories.stats().searched_by == "pgvector"
        with PostgresStore(f"{url}?default_transaction_read_only=on") as readonly:
            reader = Collection(readonly, "memories")
            assert reader.stats().searched_by == "pgvector"
            # No store with write access has searched since.
            memories.upsert([Record("new", {}, [[-1.0, -30.0]])])
            postgres_server.execute(sql, url=url)
            for each in (reader, Collection(readonly, "memories")):
                assert each.search([-1.0, -30.0], limit=1)[0].record.id == "new"
                assert each.count() == 51
                stats = asyncio.run(each.astats())
                assert stats.searched_by == "index"
                assert "behind the records" in (stats.problem or "")
        assert memories.search([-1.0, -30.0], limit=1)[0].record.id == "new"
        assert memories.stats().searched_by == "pgvector"

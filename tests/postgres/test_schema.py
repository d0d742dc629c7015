"""Setup: who may do it, concurrent attempts, its place, and what people see of it."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import psycopg
import pytest
import swarmstate_postgres._schema as schema_module
from swarmstate.base import Batch, Query
from swarmstate.errors import StoreFormatError, StoreUnavailableError
from swarmstate.vectors import Collection, Record
from swarmstate_postgres import PostgresStore, SetupRequiredError, setup_sql

from tests.servers.postgres import PostgresServer

SET_UP = """
import sys
from swarmstate_postgres import PostgresStore
print("ready", flush=True)
sys.stdin.readline()
with PostgresStore(sys.argv[1], schema="crowded") as store:
    store.setup()
    store.set("n", sys.argv[2], 1)
"""


def new_role(server: PostgresServer, url: str, name: str) -> str:
    """Create a role that may create nothing, and return its URL for the same database."""
    database = url.rpartition("/")[2]
    server.execute(
        f"CREATE ROLE {name} LOGIN PASSWORD 'secret';GRANT CONNECT ON DATABASE {database} TO {name}"
    )
    return server.url(database, name, "secret")


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
def test_eight_processes_set_up_at_once(postgres_server: PostgresServer, isolation: str) -> None:
    url = postgres_server.new_database()
    database = url.rpartition("/")[2]
    postgres_server.execute(
        f"ALTER DATABASE {database} SET default_transaction_isolation = '{isolation}'"
    )
    command = [sys.executable, "-W", "error", "-c", SET_UP, url]
    processes = [
        subprocess.Popen(
            [*command, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(8)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    # All are waiting; this releases them as simultaneously as possible.
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate()
        assert (process.returncode, errors) == (0, "")
    with PostgresStore(url, schema="crowded") as store:
        assert store.keys("n") == [str(number) for number in range(8)]
    applied = postgres_server.execute(
        'SELECT version FROM "crowded".swarmstate_migration ORDER BY version', url=url
    )
    assert [row[0] for row in applied] == sorted(schema_module.migrations())


def test_tenants_have_schemas_and_the_search_path_stays_as_it_is(
    postgres_server: PostgresServer,
) -> None:
    url = postgres_server.new_database()
    odd = 'Ténant "7"; DROP TABLE x; --'
    with (
        PostgresStore(url, schema=odd) as one,
        PostgresStore(url, schema="b", prefix="p") as two,
        PostgresStore(f"{url}?schema={quote(odd)}") as same,
    ):
        one.set("n", "a", 1)
        assert two.namespaces() == []
        two.set("n", "a", 2)
        assert one.get("n", "a") == same.get("n", "a") == 1
    found = postgres_server.execute(
        "SELECT table_schema, table_name FROM information_schema.tables "
        "WHERE table_type = 'BASE TABLE' AND table_schema !~ '^(pg_|information)' ORDER BY 1, 2",
        url=url,
    )
    assert found == [
        (schema, f"{prefix}_{table}")
        for schema, prefix in ((odd, "swarmstate"), ("b", "p"))
        for table in ("migration", "namespace", "record")
    ]


def test_what_others_put_into_the_search_path_is_not_called(
    postgres_server: PostgresServer,
) -> None:
    url = postgres_server.new_database()
    with PostgresStore(url) as store:
        store.setup()
        Collection(store, "memories").upsert([Record("a", {}, [[1.0]], scope=["s"])])
    # Functions for text[] take precedence over the server's own, which are for any array.
    shadows = [
        "FUNCTION evil.cardinality(text[]) RETURNS int",
        "FUNCTION evil.equal(text[], text[]) RETURNS bool",
        "FUNCTION evil.joined(text[], text) RETURNS text[]",
        "FUNCTION evil.overlap(text[], text[]) RETURNS bool",
        "FUNCTION evil.overlap(bigint[], bigint[]) RETURNS bool",
    ]
    operators = [
        ("=", "equal", "text[], RIGHTARG = text[]"),
        ("||", "joined", "text[], RIGHTARG = text"),
        ("&&", "overlap", "text[], RIGHTARG = text[]"),
        ("&&", "overlap", "bigint[], RIGHTARG = bigint[]"),
    ]
    body = "LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'called'; END$$"
    created = [
        "CREATE SCHEMA evil",
        *(f"CREATE {shadow} {body}" for shadow in shadows),
        *(
            f"CREATE OPERATOR evil.{sign} (FUNCTION = evil.{name}, LEFTARG = {kinds})"
            for sign, name, kinds in operators
        ),
    ]
    postgres_server.execute("; ".join(created), url=url)
    with PostgresStore(f"{url}?search_path=evil,public") as store:
        store.set("n", "k", 1, ttl=60)
        assert store.get("n", "k") == 1
        store.copy("n", "m")
        store.clear("n")
        assert store.namespaces() == ["m", "memories"]
        store.sweep()
        memories = Collection(store, "memories")
        memories.upsert([Record("b", {}, [[1.0]], scope=["s"], categories=["c"])])
        assert memories.count(scope=["s"]) == 2
        assert [match.record.id for match in memories.search([1.0], categories=["c"])] == ["b"]
        assert memories.stats().searched_by == "pgvector"


def test_a_role_that_may_not_create_tables_gets_the_sql_and_works_with_it(
    postgres_server: PostgresServer,
) -> None:
    url = postgres_server.new_database()
    own = new_role(postgres_server, url, "worker")
    with PostgresStore(own, schema="agents") as store:
        with pytest.raises(SetupRequiredError) as caught:
            store.set("n", "a", 1)
        assert caught.value.sql in str(caught.value)
        assert "secret" not in str(caught.value)
        # The SQL is complete: a role with the privileges can run it unchanged.
        postgres_server.execute(caught.value.sql, url=url)
        with pytest.raises(StoreUnavailableError, match=r"lacks permission.*setup_sql\(role"):
            store.set("n", "a", 1)
        postgres_server.execute("DROP SCHEMA agents CASCADE", url=url)
        postgres_server.execute(setup_sql(schema="agents", role="worker"), url=url)
        store.set("n", "a", 1, ttl=60)
        store.copy("n", "m")
        assert store.get("m", "a") == 1
        assert store.sweep() == 0
        store.clear()
        assert store.namespaces() == []


def test_the_sql_sees_what_was_done_while_it_waited(postgres_server: PostgresServer) -> None:
    """Even if transactions see the database as of their first statement."""
    url = postgres_server.new_database()
    database = url.rpartition("/")[2]
    postgres_server.execute(
        f"ALTER DATABASE {database} SET default_transaction_isolation = 'repeatable read'"
    )
    with psycopg.connect(url) as first, ThreadPoolExecutor(2) as pool:
        # Holds the lock until the transaction ends.
        first.execute(setup_sql().removesuffix("COMMIT;\n").encode())
        running = [pool.submit(postgres_server.execute, setup_sql(), url=url) for _ in range(2)]
        lock = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        while postgres_server.execute(lock, url=url) != [(2,)]:
            threading.Event().wait(0.01)
        first.commit()
        for each in running:
            each.result()
    with PostgresStore(url) as store:
        store.set("n", "a", 1)


def test_the_sql_can_be_run_again_for_more_and_for_others(postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database()
    with PostgresStore(url, schema="shared", pgvector=False) as store:
        store.set("n", "a", 1)
    for name in ("first_agent", "second_agent"):
        own = new_role(postgres_server, url, name)
        for vectors in (False, True, True):
            sql = setup_sql(schema="shared", role=name, vectors=vectors)
            postgres_server.execute(sql, url=url)
        with PostgresStore(own, schema="shared") as store:
            assert store.get("n", "a") == 1
            collection = Collection(store, name)
            collection.upsert([Record("a", {}, [[1.0]])])
            assert collection.count() == 1
            assert collection.stats().searched_by == "pgvector"


def test_a_role_may_call_functions_where_not_everybody_may(
    postgres_server: PostgresServer,
) -> None:
    url = postgres_server.new_database()
    own = new_role(postgres_server, url, "caller")
    hardened = "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC"
    postgres_server.execute(hardened, url=url)
    postgres_server.execute(setup_sql(schema="strict", role="caller"), url=url)
    with PostgresStore(own, schema="strict") as store:
        store.set("n", "a", 1, ttl=60)
        [result] = store.read([Query("n", keys=["a"], ttl=90.0, ask_ttl=True)])
        assert result.ttl == 90.0
        assert store.sweep() == 0


def test_migrations_are_continued_where_they_ended(postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database()
    names = schema_module.Names.of("public", "swarmstate")
    steps = schema_module.setup_steps(names, schema_exists=True)
    oldest = [schema_module.migration_sql(names, number) for number in (1, 2)]
    postgres_server.execute("\n".join(["BEGIN;", *steps, *oldest, "COMMIT;"]), url=url)
    with PostgresStore(url) as store:
        store.set("n", "a", 1)
        assert store.get("n", "a") == 1


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_what_was_dropped_under_a_store_is_set_up_again(
    postgres_server: PostgresServer, mode: str
) -> None:
    url = postgres_server.new_database()
    with PostgresStore(url) as store:
        store.set("n", "a", 1)
        postgres_server.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public", url=url)
        with pytest.raises(StoreFormatError, match=r"setup\(\)"):
            store.get("n", "a")
        if mode == "sync":
            store.setup()
        else:
            asyncio.run(store.asetup())
        assert store.get("n", "a") is None
        store.set("n", "a", 2)
        assert store.get("n", "a") == 2


def test_a_newer_format_is_refused(postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database()
    with PostgresStore(url) as store:
        store.setup()
    postgres_server.execute("INSERT INTO swarmstate_migration (version) VALUES (1000)", url=url)
    with PostgresStore(url) as store, pytest.raises(StoreFormatError, match=r"1000.*upgrade"):
        store.get("n", "a")


def test_another_encoding_is_refused(postgres_server: PostgresServer) -> None:
    postgres_server.execute(
        "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'"
    )
    with (
        PostgresStore(postgres_server.url("latin")) as store,
        pytest.raises(StoreUnavailableError, match="UTF8, found LATIN1"),
    ):
        store.setup()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schema": ""}, "schema"),
        ({"schema": "a$b"}, "schema"),
        ({"schema": "a\nDROP TABLE b; --"}, "control characters"),
        ({"schema": "a\rb"}, "control characters"),
        ({"schema": "a\x85b"}, "control characters"),
        ({"schema": "a\0b"}, "control characters"),
        ({"schema": "a\ud800b"}, "lone surrogates"),
        ({"schema": "é" * 32}, "63 bytes"),
        ({"prefix": "a-b"}, "prefix"),
        ({"prefix": "swarmstate_vector"}, "not to end with '_vector'"),
        ({"prefix": "1a"}, "prefix"),
        ({"prefix": ""}, "prefix"),
    ],
)
def test_names_that_cannot_be_are_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PostgresStore("postgresql://localhost/x", **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        setup_sql(**options)  # type: ignore[arg-type]


def test_no_name_is_filled_into_a_comment() -> None:
    """Names are filled in only between quotes, so a name could at most end those quotes."""
    for found in (schema_module.migrations(), schema_module.vector_migrations()):
        for sql in found.values():
            assert not [line for line in sql.splitlines() if re.search(r"--.*\{", line)]


def test_a_person_sees_what_there_is(postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database()
    with PostgresStore(url) as store:
        store.write(
            [
                Batch("t1", put={"blob/x": bytes(100_000), "write/1": b"12", "write/2": b"345"}),
                Batch("t2", put={"plain": b"1"}, ttl=3600),
                Batch("gone", put={"plain": b"1"}, ttl=0.001),
                Batch("empty", put={"plain": b"1"}),
                Batch("empty", clear=True),
            ]
        )
        # Wait until it has expired: the view must not show an expired namespace, whatever the
        # clock.
        while "gone" in store.namespaces():
            pass
    seen = postgres_server.execute(
        "SELECT namespace, records, bytes, expires_at > now() FROM swarmstate_namespaces "
        "ORDER BY namespace",
        url=url,
    )
    assert seen == [("t1", 3, 100_005, None), ("t2", 1, 1, True)]
    kinds = postgres_server.execute(
        "SELECT kind, count(*), sum(bytes), sum(stored_bytes) < 5000 FROM swarmstate_records "
        "WHERE namespace = 't1' GROUP BY kind ORDER BY kind",
        url=url,
    )
    assert kinds == [("blob", 1, 100_000, True), ("write", 2, 5, True)]

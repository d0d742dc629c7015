"""PgBouncer in transaction mode, where no session outlives a transaction."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from swarmstate.errors import StoreUnavailableError
from swarmstate.testing import StoreContract
from swarmstate_postgres import PostgresStore

from tests.postgres.test_store_contract import schema_of
from tests.servers.pgbouncer import installed, running_pgbouncer
from tests.servers.postgres import PostgresServer

needs_pgbouncer = pytest.mark.skipif(
    installed() is None, reason="needs PgBouncer: apt-get install pgbouncer"
)


@pytest.fixture(scope="module")
def bouncer_url(postgres_server: PostgresServer) -> Iterator[str]:
    with running_pgbouncer(postgres_server, postgres_server.new_database()) as url:
        yield url


@needs_pgbouncer
class TestBehindPgBouncer(StoreContract):
    persistent = True
    shared = True

    @pytest.fixture(autouse=True)
    def _bouncer(self, bouncer_url: str) -> None:
        self.url = bouncer_url

    def make_store(self, path: Path) -> PostgresStore:
        return PostgresStore(self.url, schema=schema_of(path), statement_cache_size=0)


@needs_pgbouncer
def test_what_to_do_is_said_if_statements_are_prepared(bouncer_url: str) -> None:
    """Prepared statements belong to a session, and this PgBouncer keeps none for its clients."""

    def use(number: int) -> None:
        for index in range(20):
            store.set("n", f"{number}/{index}", index)
            store.get("n", f"{number}/{index}")

    with PostgresStore(bouncer_url, schema="prepared") as store, ThreadPoolExecutor(6) as pool:
        with pytest.raises(StoreUnavailableError, match="statement_cache_size=0") as caught:
            list(pool.map(use, range(6)))
        assert "p@ss" not in str(caught.value)


def test_nothing_is_kept_in_a_session(postgres_server: PostgresServer) -> None:
    """The server's own log of statements shows, on any machine, that the same rules are kept."""
    url = postgres_server.new_database()
    database = url.rpartition("/")[2]
    postgres_server.execute(f"ALTER DATABASE {database} SET log_statement = 'all'")
    before = postgres_server.log.stat().st_size
    with PostgresStore(url, statement_cache_size=0) as store:
        store.set("n", "a", 1, ttl=60)
        store.get("n", "a")
        store.copy("n", "m")
        store.sweep()
        store.namespaces()
        held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
        assert postgres_server.execute(held, url=url) == [(0,)]
    with postgres_server.log.open("rb") as log:
        log.seek(before)
        said = log.read().decode(errors="replace")
    statements = [line.partition("LOG:  ")[2] for line in said.splitlines() if "LOG:  " in line]
    assert any("swarmstate_write" in statement for statement in statements)
    for statement in statements:
        # A named statement would outlive its transaction.
        assert not statement.startswith("execute __asyncpg"), statement
        words = statement.partition(": ")[2]
        assert not words.startswith(("SET ", "LISTEN", "PREPARE", "DECLARE")), statement
        assert "pg_advisory_lock" not in words, statement

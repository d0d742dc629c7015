"""The store contract on PostgreSQL: direct, and without prepared statements."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
from swarmstate.testing import StoreContract
from swarmstate_postgres import PostgresStore

from tests.servers.postgres import PostgresServer


def schema_of(path: Path) -> str:
    """Return a schema name as unique as the path."""
    return "test_" + sha256(str(path).encode()).hexdigest()[:16]


class OnServer(StoreContract):
    persistent = True
    shared = True

    @pytest.fixture(autouse=True)
    def _server(self, postgres_server: PostgresServer) -> None:
        self.url = postgres_server.url()


class TestPostgres(OnServer):
    def make_store(self, path: Path) -> PostgresStore:
        return PostgresStore(self.url, schema=schema_of(path))


class TestNothingPrepared(OnServer):
    def make_store(self, path: Path) -> PostgresStore:
        return PostgresStore(self.url, schema=schema_of(path), statement_cache_size=0)

"""The layers keep the contract on PostgreSQL, and one over it and a file together."""

from __future__ import annotations

from pathlib import Path

import pytest
from swarmstate import DiskStore
from swarmstate.base import BaseStore
from swarmstate.layers import ShardedStore
from swarmstate.testing import StoreContract
from swarmstate_postgres import PostgresStore

from tests.layers.wrapping import Compressed, Encrypted, Metered
from tests.postgres.test_store_contract import schema_of
from tests.servers.postgres import PostgresServer


class OverPostgres(StoreContract):
    persistent = True
    shared = True

    @pytest.fixture(autouse=True)
    def _server(self, postgres_server: PostgresServer) -> None:
        self.url = postgres_server.url()

    def below(self, path: Path) -> BaseStore:
        return PostgresStore(self.url, schema=schema_of(path))

    def wrap(self, store: BaseStore) -> BaseStore:
        raise NotImplementedError

    def make_store(self, path: Path) -> BaseStore:
        return self.wrap(self.below(path))


class TestEncrypted(Encrypted, OverPostgres):
    pass


class TestCompressed(Compressed, OverPostgres):
    pass


class TestMetered(Metered, OverPostgres):
    pass


class TestShardedOverServerAndFile(OverPostgres):
    def make_store(self, path: Path) -> BaseStore:
        path.mkdir(exist_ok=True)
        return ShardedStore({"a": self.below(path), "b": DiskStore(path / "state.db")})

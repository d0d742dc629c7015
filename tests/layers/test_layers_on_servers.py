"""The layers keep the contract on servers, as does a layer over a server and a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from swarmstate import DiskStore
from swarmstate.base import BaseStore
from swarmstate.layers import ShardedStore
from swarmstate.testing import StoreContract
from swarmstate_postgres import PostgresStore
from swarmstate_redis import RedisStore

from tests.layers.wrapping import Compressed, Encrypted, Metered
from tests.postgres.test_store_contract import schema_of
from tests.redis.test_contract import prefix_of
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer


class OnServer(StoreContract):
    persistent = True
    shared = True

    def below(self, path: Path) -> BaseStore:
        raise NotImplementedError

    def wrap(self, store: BaseStore) -> BaseStore:
        raise NotImplementedError

    def make_store(self, path: Path) -> BaseStore:
        return self.wrap(self.below(path))


class OnPostgres(OnServer):
    @pytest.fixture(autouse=True)
    def _server(self, postgres_server: PostgresServer) -> None:
        self.url = postgres_server.url()

    def below(self, path: Path) -> BaseStore:
        return PostgresStore(self.url, schema=schema_of(path))


class OnRedis(OnServer):
    @pytest.fixture(autouse=True)
    def _server(self, redis_server: RedisServer) -> None:
        self.url = redis_server.url()

    def below(self, path: Path) -> BaseStore:
        return RedisStore(self.url, prefix=prefix_of(path))


class OnCluster(OnServer):
    @pytest.fixture(autouse=True)
    def _server(self, redis_cluster: list[RedisServer]) -> None:
        self.url = f"{redis_cluster[0].url()}?cluster=true"

    def below(self, path: Path) -> BaseStore:
        return RedisStore(self.url, prefix=prefix_of(path))


class TestEncryptedOnPostgres(Encrypted, OnPostgres):
    pass


class TestCompressedOnPostgres(Compressed, OnPostgres):
    pass


class TestMeteredOnPostgres(Metered, OnPostgres):
    pass


class TestEncryptedOnRedis(Encrypted, OnRedis):
    pass


class TestCompressedOnRedis(Compressed, OnRedis):
    pass


class TestMeteredOnRedis(Metered, OnRedis):
    pass


class TestEncryptedOnCluster(Encrypted, OnCluster):
    pass


class TestShardedOverServerAndFile(OnPostgres):
    def make_store(self, path: Path) -> BaseStore:
        path.mkdir(exist_ok=True)
        return ShardedStore({"a": self.below(path), "b": DiskStore(path / "state.db")})

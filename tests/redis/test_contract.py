"""The Redis store keeps the contract, however it is connected."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import redis
import redis.asyncio
from redis.cluster import RedisCluster
from swarmstate.testing import StoreContract
from swarmstate_redis import RedisStore

from tests.servers.redis import PASSWORD, RedisServer


def prefix_of(path: Path) -> str:
    """Return a prefix for the test with the folder `path`."""
    return hashlib.sha256(str(path).encode()).hexdigest()[:16]


class TestStandalone(StoreContract):
    persistent = True
    shared = True

    @pytest.fixture(autouse=True)
    def _server(self, redis_server: RedisServer) -> None:
        self.server = redis_server

    def make_store(self, path: Path) -> RedisStore:
        return RedisStore(self.server.url(), prefix=prefix_of(path))


class TestValkey(TestStandalone):
    """Valkey, which continues Redis 7.2."""

    @pytest.fixture(autouse=True)
    def _server(self, valkey_server: RedisServer) -> None:
        self.server = valkey_server


class TestDecodingClient(TestStandalone):
    """A client whose replies are strings; the store still gets bytes."""

    @pytest.fixture(autouse=True)
    def _client(self, _server: None) -> None:
        self.client = self.server.client(decode_responses=True)

    def make_store(self, path: Path) -> RedisStore:
        return RedisStore(client=self.client, prefix=prefix_of(path))


class TestAsyncClient(TestStandalone):
    """A store made from an async client works just as well in sync code."""

    def make_store(self, path: Path) -> RedisStore:
        client = redis.asyncio.Redis(
            port=self.server.port, password=PASSWORD, decode_responses=True
        )
        return RedisStore(client=client, prefix=prefix_of(path))


class TestCluster(StoreContract):
    persistent = True
    shared = True

    @pytest.fixture(autouse=True)
    def _server(self, redis_cluster: list[RedisServer]) -> None:
        self.server = redis_cluster[0]

    def make_store(self, path: Path) -> RedisStore:
        return RedisStore(f"{self.server.url()}?cluster=true", prefix=prefix_of(path))


class TestClusterClient(TestCluster):
    """A cluster client made by the caller."""

    def make_store(self, path: Path) -> RedisStore:
        client = RedisCluster(
            host="127.0.0.1", port=self.server.port, password=PASSWORD, decode_responses=True
        )
        return RedisStore(client=client, prefix=prefix_of(path))

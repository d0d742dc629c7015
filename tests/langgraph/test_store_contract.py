"""The contract of long-term memory on every store."""

from __future__ import annotations

from pathlib import Path

import pytest
import swarmstate
from langgraph.store.swarmstate.testing import MemoryContract
from swarmstate_postgres import PostgresStore
from swarmstate_redis import RedisStore

from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer


class TestMemory(MemoryContract):
    """In memory."""

    examples = 200

    def open_store(self, folder: Path) -> swarmstate.BaseStore:
        return swarmstate.Store()


class TestFile(MemoryContract):
    """In a file."""

    examples = 25

    def open_store(self, folder: Path) -> swarmstate.BaseStore:
        return swarmstate.DiskStore(folder / "memories.db", durability="normal")


class TestRedis(MemoryContract):
    """On a Redis server."""

    examples = 25

    @pytest.fixture(autouse=True)
    def _on_server(self, redis_server: RedisServer) -> None:
        self.url = redis_server.url()

    def open_store(self, folder: Path) -> swarmstate.BaseStore:
        store = RedisStore(self.url, prefix="memories")
        store.clear()
        return store


class TestRedisCluster(MemoryContract):
    """On a cluster of three nodes, where a batch may span several of them."""

    examples = 10

    @pytest.fixture(autouse=True)
    def _on_cluster(self, redis_cluster: list[RedisServer]) -> None:
        self.url = f"{redis_cluster[0].url()}?cluster=true"

    def open_store(self, folder: Path) -> swarmstate.BaseStore:
        store = RedisStore(self.url, prefix="memories")
        store.clear()
        return store


class TestPostgreSQL(MemoryContract):
    """On a PostgreSQL server."""

    examples = 15

    @pytest.fixture(autouse=True)
    def _on_server(self, postgres_server: PostgresServer) -> None:
        self.url = postgres_server.url()

    def open_store(self, folder: Path) -> swarmstate.BaseStore:
        store = PostgresStore(self.url, schema="memories")
        store.clear()
        return store

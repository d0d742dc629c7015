"""The contract of a memory storage, for ours and CrewAI's default."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest
from crewai.memory.storage.backend import StorageBackend
from crewai.memory.storage.lancedb_storage import LanceDBStorage
from crewai_swarmstate import SwarmStateStorage, testing
from crewai_swarmstate.testing import StorageBackendContract

from tests.crewai.helpers.releases import of_this_crewai
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer


@of_this_crewai
class TestCrewAILanceDB(StorageBackendContract):
    defects = frozenset(
        {
            "test_scopes_end_at_a_segment",
            "test_filters_come_before_the_limit",
            "test_saving_an_id_again_replaces_it",
            "test_no_ids_delete_nothing",
            "test_delete_by_scope",
            "test_delete_combines_its_criteria",
            "test_what_could_not_be_read_is_refused",
            "test_other_handles_are_seen",
            "test_records_without_embedding_are_near_nothing",
            "test_times_are_naive_utc",
        }
    )

    def make_storage(self, path: Path) -> StorageBackend:
        return LanceDBStorage(path / "lancedb")


class TestFile(StorageBackendContract):
    def make_storage(self, path: Path) -> StorageBackend:
        return SwarmStateStorage(path / "memory.db")


class TestMemory(StorageBackendContract):
    def make_storage(self, path: Path) -> StorageBackend:
        return SwarmStateStorage("memory://")


class TestPostgreSQL(StorageBackendContract):
    @pytest.fixture(autouse=True)
    def _on_server(self, postgres_server: PostgresServer) -> None:
        self.server = postgres_server

    def make_storage(self, path: Path) -> StorageBackend:
        return SwarmStateStorage(self.server.url(), namespace=f"memory:{path}")


class TestRedis(StorageBackendContract):
    @pytest.fixture(autouse=True)
    def _on_server(self, redis_server: RedisServer) -> None:
        self.server = redis_server

    def make_storage(self, path: Path) -> StorageBackend:
        return SwarmStateStorage(self.server.url(), namespace=f"memory:{path}")


def test_failed_asserts_show_values() -> None:
    names = [f"{testing.__name__}.{each.name}" for each in iter_modules(testing.__path__)]
    modules = [import_module(name) for name in names]
    assert modules
    # pytest imports itself under this name into modules whose asserts it has rewritten.
    assert [module for module in modules if "@pytest_ar" not in vars(module)] == []

"""The records that the memory storage contract uses, and fixtures for the storages."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from crewai.memory.storage.backend import StorageBackend
from crewai.memory.types import MemoryRecord

__all__ = ["EPOCH", "StorageCase", "ids", "record"]

EPOCH = datetime(2026, 1, 1)


def record(
    identity: str, embedding: list[float] | None = None, *, age: int = 0, **fields: Any
) -> MemoryRecord:
    """Return a record that is `age` minutes old, with a plain embedding if none is given."""
    created = EPOCH - timedelta(minutes=age)
    return MemoryRecord(
        **{
            "id": identity,
            "content": f"content of {identity}",
            "embedding": [1.0, 0.0, 0.0] if embedding is None else embedding,
            "created_at": created,
            "last_accessed": created,
            **fields,
        }
    )


def ids(found: list[MemoryRecord] | list[tuple[MemoryRecord, float]]) -> list[str]:
    """Return the ids of records or matches, in their order."""
    return [each[0].id if isinstance(each, tuple) else each.id for each in found]


class StorageCase:
    """Storages to test.

    Attributes:
        defects: Names of the tests that this storage is known to fail. They still run, and an
            unexpected pass fails the suite.
    """

    defects: ClassVar[frozenset[str]] = frozenset()

    def make_storage(self, path: Path) -> StorageBackend:
        """Return a storage that keeps its data under the directory `path`."""
        raise NotImplementedError(f"{type(self).__name__} must override make_storage()")

    @pytest.fixture(autouse=True)
    def _declared(self, request: pytest.FixtureRequest) -> None:
        if request.function.__name__ in self.defects:
            request.applymarker(pytest.mark.xfail(strict=True, reason="a declared defect"))

    @pytest.fixture
    def storage(self, tmp_path: Path) -> StorageBackend:
        """An empty storage."""
        return self.make_storage(tmp_path)

    @pytest.fixture
    def scoped(self, storage: StorageBackend) -> StorageBackend:
        """A storage with records in several scopes."""
        storage.save(
            [
                record("root", [1.0, 0.0, 0.0], age=6),
                record("crew", [0.9, 0.1, 0.0], age=5, scope="/crew", categories=["x"]),
                record("a1", [0.8, 0.2, 0.0], age=4, scope="/crew/a", categories=["x", "y"]),
                record("a2", [0.7, 0.3, 0.0], age=3, scope="/crew/a/deep", categories=["y"]),
                record("b", [0.6, 0.4, 0.0], age=2, scope="/crew/b"),
                record("other", [0.5, 0.5, 0.0], age=1, scope="/other", categories=["z"]),
            ]
        )
        return storage

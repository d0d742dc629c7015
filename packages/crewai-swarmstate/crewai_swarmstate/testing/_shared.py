"""The contract of a memory storage that several threads, tasks and handles share."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

from crewai.memory.storage.backend import StorageBackend

from crewai_swarmstate.testing._records import EPOCH, StorageCase, ids, record

__all__ = ["SharedStorageContract"]


class SharedStorageContract(StorageCase):
    """What must hold when a storage is shared."""

    searches: ClassVar[list[dict[str, Any]]] = [
        {},
        {"scope_prefix": "/crew"},
        {"categories": ["y", "z"]},
        {"metadata_filter": {"k": 1}},
        {"limit": 2},
        {"min_score": 0.9},
        {"scope_prefix": "/crew", "categories": ["x"], "limit": 1},
    ]
    deletions: ClassVar[list[dict[str, Any]]] = [
        {"record_ids": ["a1", "b", "unknown", ""]},
        {"record_ids": []},
        {"scope_prefix": "/crew/a"},
        {"categories": ["y"]},
        {"older_than": EPOCH - timedelta(minutes=3)},
        {"metadata_filter": {"k": 1}},
        {"record_ids": ["a1", "other"], "scope_prefix": "/crew"},
        {"record_ids": ["a1", "other"], "categories": ["x"]},
        {},
    ]

    def test_the_async_methods_do_the_same(self, scoped: StorageBackend) -> None:
        """asave, asearch and adelete do the same as their sync twins."""
        records = scoped.list_records()

        async def use() -> None:
            for search in self.searches:
                found = await scoped.asearch([1.0, 0.0, 0.0], **search)
                assert found == scoped.search([1.0, 0.0, 0.0], **search)
            for deletion in self.deletions:
                deleted = scoped.delete(**deletion)
                left = sorted(ids(scoped.list_records()))
                scoped.reset()
                await scoped.asave(records)
                assert ids(scoped.list_records()) == ids(records)
                assert await scoped.adelete(**deletion) == deleted
                assert sorted(ids(scoped.list_records())) == left
                scoped.reset()
                scoped.save(records)

        asyncio.run(use())

    def test_ten_are_found_if_nobody_says_how_many(self, storage: StorageBackend) -> None:
        """`search` and `asearch` have the same default limit."""
        storage.save([record(f"id{index}") for index in range(12)])
        assert len(storage.search([1.0, 0.0, 0.0])) == 10
        assert len(asyncio.run(storage.asearch([1.0, 0.0, 0.0]))) == 10

    def test_threads_lose_nothing(self, storage: StorageBackend) -> None:
        """Eight threads save and search concurrently."""
        failures: list[BaseException] = []

        def work(thread: int) -> None:
            try:
                for index in range(5):
                    storage.save([record(f"{thread}-{index}", scope=f"/thread{thread}")])
                    assert storage.search([1.0, 0.0, 0.0], limit=3)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert storage.count() == 40
        assert len(ids(storage.search([1.0, 0.0, 0.0], limit=100))) == 40

    def test_other_handles_are_seen(self, tmp_path: Path) -> None:
        """An open handle sees what another one writes later."""
        first, second = self.make_storage(tmp_path), self.make_storage(tmp_path)
        assert first.count() == 0
        second.save([record("one"), record("two", [0.0, 1.0, 0.0])])
        assert first.count() == 2
        assert ids(first.search([0.0, 1.0, 0.0], limit=1)) == ["two"]
        second.delete(record_ids=["two"])
        assert ids(first.search([0.0, 1.0, 0.0])) == ["one"]

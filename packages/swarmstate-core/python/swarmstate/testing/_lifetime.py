"""Closing, reopening, sharing."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swarmstate.base import BaseStore, Batch, Expect, Query
from swarmstate.errors import ConflictError, StoreClosedError
from swarmstate.testing._harness import TTL, Harness, Plane

CALLS: list[Callable[[Any], Any]] = [
    lambda plane: plane.read([Query("n", keys=["a"])]),
    lambda plane: plane.write([Batch("n", put={"a": b"1"})]),
    lambda plane: plane.namespaces(),
    lambda plane: plane.copy("n", "m"),
    lambda plane: plane.copy("n", "n"),
    lambda plane: plane.set("n", "a", 1),
    lambda plane: plane.set_many("n", {"a": 1}),
    lambda plane: plane.get("n", "a"),
    lambda plane: plane.get_many("n", ["a"]),
    lambda plane: plane.contains("n", "a"),
    lambda plane: plane.delete("n", "a"),
    lambda plane: plane.keys("n"),
    lambda plane: plane.items("n"),
    lambda plane: plane.clear("n"),
    lambda plane: plane.clear(),
    lambda plane: plane.length(),
    lambda plane: plane.snapshot(),
]


def new_directory(path: Path) -> Path:
    """Create a directory for one more store."""
    path.mkdir()
    return path


class LifetimeContract(Harness):
    """Everything from opening to closing and after."""

    def test_a_closed_store_refuses_every_call(self, plane: Plane) -> None:
        plane.set("n", "a", 1)
        snapshot = plane.snapshot()
        plane.close()
        calls: list[Callable[[Any], Any]] = [*CALLS, lambda plane: plane.restore(snapshot)]
        for call in calls:
            with pytest.raises(StoreClosedError):
                call(plane)

    def test_closing_twice_is_fine(self, plane: Plane) -> None:
        plane.set("n", "a", 1)
        plane.close()
        plane.close()
        plane.store.close()

    def test_a_store_closes_itself_as_a_context_manager(self, tmp_path: Path) -> None:
        with self.make_store(new_directory(tmp_path / "sync")) as store:
            store.set("n", "a", 1)
            assert store.get("n", "a") == 1
        with pytest.raises(StoreClosedError):
            store.get("n", "a")

        async def main() -> BaseStore:
            async with self.make_store(new_directory(tmp_path / "async")) as store:
                await store.aset("n", "a", 1)
                assert await store.aget("n", "a") == 1
            return store

        with pytest.raises(StoreClosedError):
            asyncio.run(main()).get("n", "a")

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize("again", [False, True])
    def test_who_gives_up_closing_leaves_nothing_open(self, store: BaseStore, again: bool) -> None:
        async def main() -> None:
            await store.aset("n", "a", 1)
            calls = [asyncio.create_task(store.aset("n", str(n), n)) for n in range(20)]
            await asyncio.sleep(0)
            closing = asyncio.create_task(store.aclose())
            await asyncio.sleep(0)
            closing.cancel()
            await asyncio.wait([closing])
            await asyncio.gather(*calls, return_exceptions=True)
            if again:
                await store.aclose()
                assert asyncio.all_tasks() == {asyncio.current_task()}

        asyncio.run(main())
        # Anything left open warns now.
        gc.collect()

    def test_stores_of_other_paths_see_nothing_of_each_other(
        self, plane: Plane, tmp_path: Path
    ) -> None:
        with self.make_store(new_directory(tmp_path / "other")) as other:
            plane.set("n", "a", 1)
            assert other.namespaces() == []
            other.set("n", "a", 2)
            assert plane.get("n", "a") == 1

    def test_a_snapshot_can_be_restored_into_another_store(
        self, plane: Plane, tmp_path: Path
    ) -> None:
        plane.set_many("n", {"a": 1, "b": [2]})
        with self.make_store(new_directory(tmp_path / "other")) as other:
            other.set("m", "a", 1)
            other.restore(plane.snapshot())
            assert other.namespaces() == ["n"]
            assert other.items("n") == [("a", 1), ("b", [2])]

    def test_records_are_found_again(self, plane: Plane, tmp_path: Path) -> None:
        if not self.persistent:
            pytest.skip("the store is not persistent")
        plane.set_many("n", {"a": 1, "b": [2]})
        plane.set("brief", "a", 1, ttl=TTL)
        plane.set("long", "a", 1, ttl=3600)
        plane.close()
        with self.make_store(tmp_path) as again:
            assert again.items("n") == [("a", 1), ("b", [2])]
            self.let_expire(Plane(again, None), "brief")
            assert again.namespaces() == ["long", "n"]
            again.set("n", "a", "new")
        with self.make_store(tmp_path) as again:
            assert again.get("n", "a") == "new"

    def test_two_stores_of_one_path_see_each_other(self, plane: Plane, tmp_path: Path) -> None:
        if not self.shared:
            pytest.skip("the store is not shared")
        plane.set("n", "a", 1)
        with self.make_store(tmp_path) as other:
            assert other.get("n", "a") == 1
            other.write([Batch("n", put={"b": b"2"}, expect=Expect("", "a"))])
            with pytest.raises(ConflictError):
                plane.write([Batch("n", put={"c": b"3"}, expect=Expect("", "a"))])
            assert plane.keys("n") == ["a", "b"]
            plane.copy("n", "m")
            assert other.namespaces() == ["m", "n"]
            other.clear("n")
            assert plane.namespaces() == ["m"]
        assert plane.namespaces() == ["m"]

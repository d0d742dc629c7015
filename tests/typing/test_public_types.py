"""What users' type checkers see: `make types` checks these tests, which also run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import swarmstate
from langgraph.cache.swarmstate import SwarmStateCache
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from swarmstate.cached import cached
from typing_extensions import assert_type

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_core.runnables import RunnableConfig


def test_stores_are_base_stores(tmp_path: Path) -> None:
    stores: list[swarmstate.BaseStore] = [
        swarmstate.Store(),
        swarmstate.DiskStore(tmp_path / "state.db"),
    ]
    for store in stores:
        with store as opened:
            assert_type(opened, swarmstate.BaseStore)
            assert_type(opened.keys("n"), list[str])
            assert_type(opened.delete("n", "k"), bool)
            assert_type(opened.snapshot(), swarmstate.Snapshot)
            assert_type(opened.read([swarmstate.Query("n")]), list[swarmstate.Result])


def test_opening_by_url_gives_a_store() -> None:
    with swarmstate.open("memory://") as store:
        assert_type(store, swarmstate.BaseStore)


def test_the_saver_is_a_checkpointer() -> None:
    config: RunnableConfig = {"configurable": {"thread_id": "1"}}
    with SwarmStateSaver() as saver:
        assert_type(saver, SwarmStateSaver)
        checkpointer: BaseCheckpointSaver[Any] = saver
        found: CheckpointTuple | None = checkpointer.get_tuple(config)
        assert found is None
    with SwarmStateSaver.from_conn_string(":memory:") as opened:
        assert_type(opened, SwarmStateSaver)


def test_a_cache_of_nodes_needs_no_annotation(tmp_path: Path) -> None:
    with SwarmStateCache(tmp_path / "cache.db") as cache:
        assert_type(cache, SwarmStateCache[Any])
    with SwarmStateCache[int]() as numbers:
        assert_type(numbers.get([]), dict[tuple[tuple[str, ...], str], int])


class Rates:
    @cached(key=lambda self, currency, day=0: (currency, day))
    def rate(self, currency: str, *, day: int = 0) -> float:
        return len(currency) + day

    @cached(maxsize=10, key=lambda self, text: text)
    def size(self, text: str) -> int:
        return len(text)

    @cached(key=lambda self, text: text)
    async def asize(self, text: str) -> int:
        return len(text)

    @classmethod
    @cached(key=lambda cls, text: text)
    def class_size(cls, text: str) -> int:
        return len(text)

    @staticmethod
    @cached
    def static_size(text: str) -> int:
        return len(text)


class MoreRates(Rates):
    pass


def test_cached_methods_have_the_types_of_methods() -> None:
    rates = MoreRates()
    assert_type(rates.rate("EUR", day=1), float)
    assert_type(rates.size("EUR"), int)
    assert_type(rates.size(text="EUR"), int)
    assert_type(Rates.size(rates, "EUR"), int)
    # Type checkers do not report that these are wrong.
    assert Rates.class_size("EUR") == rates.class_size("EUR") == 3
    assert Rates.static_size("EUR") == rates.static_size("EUR") == 3
    assert_type(rates.size.cache_info().hits, int)
    rates.size.cache_clear()
    with pytest.raises(TypeError):
        rates.size()  # type: ignore[call-arg]  # invalid on purpose
    with pytest.raises(TypeError):
        rates.size(1)  # type: ignore[arg-type]  # invalid on purpose


def test_cached_coroutine_methods_have_the_types_of_methods() -> None:
    asyncio.run(check_cached_coroutine_methods())


async def check_cached_coroutine_methods() -> None:
    rates = MoreRates()
    assert_type(await rates.asize("EUR"), int)
    assert_type(await Rates.asize(rates, "EUR"), int)
    await rates.asize.acache_clear()
    assert_type(rates.asize.cache_info().hits, int)
    with pytest.raises(TypeError):
        await rates.asize()  # type: ignore[call-arg]  # invalid on purpose

"""`@cached` in every kind of store: shared, copied, expiring, computed once."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import swarmstate
from swarmstate.base import BaseStore
from swarmstate.cached import CacheInfo, cached
from swarmstate.errors import StoreUnavailableError

from tests.servers.away import Away
from tests.servers.stores import Stores

PROMPT = "A prompt that is long enough to be held. " * 100


def counted(store: BaseStore, calls: list[Any], **options: Any) -> Any:
    """Return a cached function that records its real calls."""

    @cached(store=store, name="counted", **options)
    def function(value: Any, times: int = 2) -> dict[str, Any]:
        calls.append(value)
        return {"value": [value] * times, "set": {1, (2, 3)}, "number": len(calls)}

    return function


def test_results_are_found_by_whoever_opens_the_store(stores: Stores) -> None:
    calls: list[Any] = []
    one, other = counted(stores.open(), calls), counted(stores.open(), calls)
    for value in (PROMPT, f"{PROMPT}!", {"b": [1, PROMPT], "a": None}, (1, b"x" * 99)):
        first = one(value)
        assert first["value"] == [value] * 2
        first["value"].clear()
        # A hit returns a copy, with lists in place of tuples.
        assert len(other(value, times=2)["value"]) == 2
    assert len(calls) == 4
    assert one.cache_info() == CacheInfo(0, 4, None, None, 0)
    assert other.cache_info() == CacheInfo(4, 0, None, None, 0)


def test_clearing_forgets_for_everybody_and_only_this_function(stores: Stores) -> None:
    calls: list[Any] = []
    one, other = counted(stores.open(), calls), counted(stores.open(), calls)
    another = cached(store=stores.open(), name="another")(lambda value: len(calls))
    assert another(1) == 0
    one(1), one(2)
    other.cache_clear()
    one(1)
    assert calls == [1, 2, 1]
    assert another(1) == 0


def test_functions_are_called_while_the_store_is_away(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[Any] = []
    function = counted(Away(swarmstate.Store()), calls)
    assert [function(1)["number"], function(1)["number"]] == [1, 2]

    @cached(store=Away(swarmstate.Store()), name="coroutine")
    async def coroutine(value: int) -> int:
        calls.append(value)
        return value

    assert [asyncio.run(coroutine(2)), asyncio.run(coroutine(2))] == [2, 2]
    assert calls == [1, 1, 2, 2]
    assert caplog.text.count("cannot be read now: the server is away") == 4
    assert caplog.text.count("cannot be written now: the server is away") == 4
    with pytest.raises(StoreUnavailableError):
        function.cache_clear()


def test_results_expire(stores: Stores) -> None:
    calls: list[Any] = []
    function = counted(stores.open(), calls, ttl=0.2)
    function(PROMPT)
    stores.let_expire()
    function(PROMPT)
    assert len(calls) == 2


def test_threads_that_miss_together_compute_once(stores: Stores) -> None:
    entered, release = threading.Event(), threading.Event()
    calls: list[str] = []

    @cached(store=stores.open(), name="slow")
    def function(text: str) -> list[str]:
        calls.append(text)
        entered.set()
        assert release.wait(60)
        return [text]

    with ThreadPoolExecutor(6) as pool:
        first = pool.submit(function, PROMPT)
        assert entered.wait(60)
        others = [pool.submit(function, PROMPT) for _ in range(5)]
        release.set()
        assert [each.result() for each in (first, *others)] == [[PROMPT]] * 6
    assert calls == [PROMPT]


def test_coroutines_share_results_with_functions_of_other_loops(stores: Stores) -> None:
    calls: list[str] = []

    async def run() -> CacheInfo:
        store = stores.open()

        @cached(store=store, name="later")
        async def function(text: str) -> list[str]:
            calls.append(text)
            await asyncio.sleep(0)
            return [text]

        found = await asyncio.gather(*(function(PROMPT) for _ in range(20)))
        assert found == [[PROMPT]] * 20
        assert await function("other") == ["other"]
        if stores.kind != "memory":
            await store.aclose()
        return function.cache_info()

    assert asyncio.run(run()) == CacheInfo(0, 21, None, None, 0)
    assert calls == [PROMPT, "other"]
    assert asyncio.run(run()) == CacheInfo(21, 0, None, None, 0)
    # The second loop found the first text, and computed nothing.
    assert calls == [PROMPT, "other"]


def test_clearing_in_a_loop(stores: Stores) -> None:
    calls: list[int] = []

    async def run() -> None:
        store = stores.open()

        @cached(store=store, name="later")
        async def function(number: int) -> int:
            calls.append(number)
            return number

        @cached(store=store, name="another")
        async def another(number: int) -> int:
            return len(calls)

        assert await another(1) == 0
        assert await function(1) == await function(1) == 1
        await function.acache_clear()
        assert await function(1) == 1
        assert await another(1) == 0
        await store.aclose()

    asyncio.run(run())
    assert calls == [1, 1]


def test_clearing_a_name_leaves_those_that_continue_it() -> None:
    store = swarmstate.Store()
    names = ("a", "a/b", "a%2Fb")
    functions = [
        cached(store=store, name=name)(lambda x, name=name: f"{name}{x}") for name in names
    ]
    for name, function in zip(names, functions, strict=True):
        assert function(1) == f"{name}1"
    functions[0].cache_clear()
    for function in functions:
        function(1)
    assert [function.cache_info().hits for function in functions] == [0, 1, 1]

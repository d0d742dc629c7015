"""`@cached`: what is cached, for how long, and who shares it."""

from __future__ import annotations

import asyncio
import copy
import functools
import gc
import inspect
import math
import os
import pickle
import subprocess
import sys
import weakref
from typing import TYPE_CHECKING, Any

import pytest
import swarmstate
from swarmstate.cached import CacheInfo, cached
from swarmstate.layers import EncryptedStore, KeyRing, StoreLayer, new_key

from tests.core.cached_calls import calls_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
    from pathlib import Path

    from swarmstate.operations import Operation


def test_the_least_recently_used_goes_first() -> None:
    function, calls = calls_of()
    bounded = cached(maxsize=2)(function.__wrapped__)
    bounded("a"), bounded("b"), bounded("a"), bounded("c")
    assert calls == ["a", "b", "c"]
    bounded("a")
    assert calls == ["a", "b", "c"]
    bounded("b")
    assert calls == ["a", "b", "c", "b"]
    assert bounded.cache_info() == CacheInfo(2, 4, 2, 2, 2)
    bounded.cache_clear()
    assert bounded.cache_info() == CacheInfo(0, 0, 2, 0, 0)
    bounded("b")
    assert calls[4:] == ["b"]
    never = cached(maxsize=0)(function.__wrapped__)
    never("x"), never("x")
    assert calls[5:] == ["x", "x"]


def test_as_many_results_may_be_remembered_as_there_will_ever_be() -> None:
    @cached(maxsize=sys.maxsize)
    def square(number: int) -> int:
        return number * number

    for _ in range(2):
        assert [square(2), square(2)] == [4, 4]
        assert square.cache_info()[:4] == (1, 1, sys.maxsize, 1)
        square.cache_clear()


def test_results_expire() -> None:
    now = [0.0]
    function, calls = calls_of(ttl=10, clock=lambda: now[0])
    function("a")
    now[0] = 9.9
    function("a")
    assert len(calls) == 1
    now[0] = 10.0
    function("a")
    assert len(calls) == 2
    now[0] = 19.0
    function("a")
    assert len(calls) == 2


def test_options_that_make_no_sense_are_refused() -> None:
    for options in (
        {"ttl": 0},
        {"ttl": math.nan},
        {"maxsize": -1},
        {"name": "x"},
        {"allow": True},
        {"store": swarmstate.Store(), "maxsize": 3},
    ):
        with pytest.raises(ValueError, match=r"expected|maxsize|store"):
            cached(**options)


def test_what_lru_cache_takes_without_a_name_is_explained() -> None:
    size: Any = 128
    with pytest.raises(TypeError, match=r"expected a function, found 128.* maxsize=128"):
        cached(size)
    size = "128"
    with pytest.raises(TypeError, match=r"expected maxsize to be a number.* found a str"):
        cached(maxsize=size)


class Model:
    """A callable that is not a function."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, text: str) -> str:
        self.asked.append(text)
        return text * 2


class AsyncModel(Model):
    async def __call__(self, text: str) -> str:  # type: ignore[override]  # async variant
        return super().__call__(text)


def test_functions_without_a_name_of_their_own_need_one_in_a_store() -> None:
    store = swarmstate.Store()
    nameless: list[Callable[..., Any]] = [
        lambda text: text,
        functools.partial(lambda text, times: text * times, times=2),
        Model(),
        AsyncModel(),
        Model().__call__,
    ]
    for each in nameless:
        with pytest.raises(ValueError, match="pass name="):
            cached(store=store)(each)
    name: Any = 5
    with pytest.raises(TypeError, match="expected name to be a str, found 5"):
        cached(store=store, name=name)
    named = cached(store=store, name="one")(Model())
    assert named("a") == named("a") == "aa"
    assert named.cache_info().hits == 1


@pytest.mark.parametrize("store", [None, swarmstate.Store()])
@pytest.mark.parametrize("wrapped", [lambda model: model, functools.partial])
def test_objects_whose_call_is_a_coroutine(store: Any, wrapped: Any) -> None:
    model = AsyncModel()
    name = f"model {id(model)}"
    options: dict[str, Any] = {} if store is None else {"store": store, "name": name}
    ask = cached(**options)(wrapped(model))
    assert inspect.iscoroutinefunction(ask)

    async def run() -> list[str]:
        return [await ask("a"), await ask("a")]

    assert asyncio.run(run()) == ["aa", "aa"]
    assert model.asked == ["a"]


def items(count: int) -> Iterator[int]:
    yield from range(count)


async def items_later(count: int) -> AsyncIterator[int]:
    for item in range(count):
        yield item


def counted_later(count: int) -> Coroutine[Any, Any, int]:
    """Return a coroutine without being a coroutine function."""

    async def counted() -> int:
        return count

    return counted()


@pytest.mark.parametrize("function", [items, items_later, counted_later])
@pytest.mark.parametrize("key", [None, lambda count: count])
def test_results_that_can_be_used_only_once_are_refused(function: Any, key: Any) -> None:
    remembering = cached(key=key)(function)
    for _ in range(2):
        with pytest.raises(TypeError, match="can be used only once"):
            remembering(3)
    assert remembering.cache_info().currsize == 0

    async def later(count: int) -> Any:
        return function(count)

    with pytest.raises(TypeError, match="can be used only once"):
        asyncio.run(cached(key=key)(later)(3))


def test_functions_that_do_not_tell_their_parameters() -> None:
    number: Any = cached(int)
    assert [number("11"), number("11"), number("11", base=2)] == [11, 11, 3]
    assert number.cache_info()[:2] == (1, 2)


@cached
def doubled(number: int) -> int:
    return number * 2


class Desk:
    @cached(key=lambda self, number: number)
    def doubled(self, number: int) -> int:
        return number * 2


def test_a_cached_function_is_pickled_and_copied_as_functions_are() -> None:
    for again in (copy.copy(doubled), copy.deepcopy(doubled), pickle.loads(pickle.dumps(doubled))):
        assert again is doubled
    method = pickle.loads(pickle.dumps(Desk().doubled))
    assert method(2) == 4


def test_a_cached_function_looks_like_the_function() -> None:
    @cached
    def function(a: int) -> int:
        """Say it."""
        return a

    @cached
    async def coroutine(a: int) -> int:
        """Say it later."""
        return a

    assert inspect.unwrap(function).__name__ == "function"
    assert function.__doc__ == "Say it."
    assert str(inspect.signature(function)) == "(a: 'int') -> 'int'"
    assert inspect.iscoroutinefunction(coroutine)
    assert coroutine.__doc__ == "Say it later."


def test_an_exception_is_raised_each_time_and_not_remembered() -> None:
    attempts = []

    @cached
    def function(a: int) -> int:
        attempts.append(a)
        if len(attempts) < 3:
            raise LookupError(len(attempts))
        return a

    for _ in range(2):
        with pytest.raises(LookupError):
            function(1)
    assert function(1) == function(1) == 1
    assert len(attempts) == 3


@pytest.mark.parametrize("is_async", [False, True])
def test_a_call_that_fails_is_a_miss_in_a_store_too(is_async: bool) -> None:
    def function(a: int) -> int:
        raise LookupError(a)

    async def coroutine(a: int) -> int:
        return function(a)

    called: Any = cached(store=swarmstate.Store())(coroutine if is_async else function)
    for _ in range(2):
        with pytest.raises(LookupError):
            asyncio.run(called(1)) if is_async else called(1)
    assert called.cache_info() == CacheInfo(0, 2, None, None, 0)


def test_a_function_may_call_itself() -> None:
    @cached(maxsize=None)
    def fibonacci(n: int) -> int:
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    assert fibonacci(80) == 23416728348467685
    assert fibonacci.cache_info()[:2] == (78, 81)


def test_results_in_a_file_are_shared_and_copies(tmp_path: Path) -> None:
    calls = []

    def function(a: str) -> dict[str, Any]:
        calls.append(a)
        return {"a": a, "set": {1, 2}}

    with swarmstate.DiskStore(tmp_path / "cache.db") as store:
        one = cached(store=store, name="f")(function)
        one("x")["a"] = "changed"
        assert one("x") == {"a": "x", "set": {1, 2}}
        assert one.cache_info() == CacheInfo(1, 1, None, None, 0)
    with swarmstate.DiskStore(tmp_path / "cache.db") as store:
        again = cached(store=store, name="f")(function)
        assert again("x") == {"a": "x", "set": {1, 2}}
        assert calls == ["x"]
        other = cached(store=store, name="g")(function)
        other("x")
        assert calls == ["x", "x"]
        again.cache_clear()
        other("x")
        assert calls == ["x", "x"]
        again("x")
        assert calls == ["x", "x", "x"]


IN_A_PROCESS = """
import sys, swarmstate
from swarmstate.cached import cached

with swarmstate.DiskStore(sys.argv[1]) as store:
    @cached(store=store, name="f")
    def function(value, other="default " * 10):
        return sys.argv[2]

    print(function(("prompt " * 10, 1, b"data" * 10), {"role": "user " * 10, "n": 1}))
    print(function({1, "x" * 50, "y"}))
"""


def test_processes_find_the_results_of_others(tmp_path: Path) -> None:
    # Python hashes strings differently with each seed.
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", IN_A_PROCESS, str(tmp_path / "cache.db"), seed],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == ["1", "1"]


def test_results_in_a_store_expire_there() -> None:
    now = [0.0]
    store = swarmstate.Store(clock=lambda: now[0])
    function, calls = calls_of(store=store, ttl=10)
    function("a")
    now[0] = 9.0
    function("a")
    assert len(calls) == 1
    now[0] = 10.0
    assert store.namespaces() == []
    function("a")
    assert len(calls) == 2


def test_an_unreadable_result_is_computed_anew(caplog: pytest.LogCaptureFixture) -> None:
    store = swarmstate.Store()
    function, calls = calls_of(store=store, name="f")
    function("a")
    [namespace] = store.namespaces("cache:f/")
    store.write([swarmstate.Batch(namespace, put={"value": b"\x91"})])
    assert function("a") == 2
    assert "cannot be read" in caplog.text
    assert function("a") == 2
    assert len(calls) == 2


def test_what_a_layer_cannot_read_is_computed_anew(caplog: pytest.LogCaptureFixture) -> None:
    below = swarmstate.Store()
    calls = []

    def cached_under(key: str) -> Any:
        @cached(store=EncryptedStore(below, KeyRing({key: new_key()})), name="f")
        async def function(text: str) -> str:
            calls.append(text)
            return text * 2

        return function

    assert asyncio.run(cached_under("before")("a")) == "aa"
    function = cached_under("after")
    assert asyncio.run(function("a")) == "aa"
    assert "cannot be read" in caplog.text
    assert asyncio.run(function("a")) == "aa"
    assert calls == ["a", "a"]


def test_a_large_cache_is_cleared_in_steps_that_let_others_write() -> None:
    sizes = []

    class Watched(StoreLayer):
        def writing(self, batches: Sequence[swarmstate.Batch]) -> Operation[None]:
            sizes.append(len(batches))
            return super().writing(batches)

    store = Watched(swarmstate.Store())
    function, _ = calls_of(store=store, name="f")
    names = [f"cache:f/{number}" for number in range(1200)]
    store.write([swarmstate.Batch(name, put={"value": b"\xc0"}) for name in names])
    sizes.clear()
    function.cache_clear()
    assert store.namespaces() == []
    assert max(sizes) <= 500


def test_a_function_that_remembers_itself_is_collected() -> None:
    class Holder:
        pass

    def make() -> weakref.ref[Any]:
        holder: Any = Holder()

        @cached
        def function(a: str) -> Any:
            return holder

        holder.function = function
        function("x")
        return weakref.ref(holder)

    holder = make()
    gc.collect()
    assert holder() is None

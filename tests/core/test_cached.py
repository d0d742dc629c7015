"""`@cached`: what is the same call, what is remembered, and who computes it."""

from __future__ import annotations

import asyncio
import gc
import inspect
import math
import os
import subprocess
import sys
import threading
import weakref
from collections import Counter, OrderedDict, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import swarmstate
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from swarmstate.cached import CacheInfo, cached
from swarmstate.errors import EncodeError
from swarmstate.layers import EncryptedStore, KeyRing, StoreLayer, new_key

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from swarmstate.operations import Operation


@dataclass
class Point:
    x: int
    tags: set[str] = field(default_factory=set)


class Cat(BaseModel):
    name: str
    toys: dict[str, int] = {}


class Dog(BaseModel):
    name: str
    toys: dict[str, int] = {}


class House(BaseModel):
    pet: Cat | Dog


class Color(Enum):
    RED = 1


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Row(list[int]):
    pass


class Fields(dict[str, int]):
    pass


class Level(IntEnum):
    ONE = 1


def calls_of(**options: Any) -> tuple[Any, list[Any]]:
    """Return a cached function and the list of arguments it was really called with."""
    calls: list[Any] = []

    @cached(maxsize=None, **options)
    def function(value: Any, other: Any = "default", /) -> int:
        calls.append(value)
        return len(calls)

    return function, calls


SAME = [
    ({"a": 1, "b": [1, {"c": 2}]}, {"b": [1, {"c": 2}], "a": 1}),
    ({"x", "y", "z", "w"}, {"w", "z", "y", "x"}),
    (frozenset(range(100)), frozenset(reversed(range(100)))),
    ({("a", 1): "b", 2: "c"}, {2: "c", ("a", 1): "b"}),
    (Point(1, {"a", "b", "c"}), Point(1, {"c", "b", "a"})),
    (Cat(name="Tom", toys={"a": 1, "b": 2}), Cat(name="Tom", toys={"b": 2, "a": 1})),
    (np.arange(6).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3))),
    (np.float64(1.5), np.float64(1.5)),
    (Counter("abca"), Counter("bcaa")),
    (defaultdict(list, a=[1], b=[2]), defaultdict(list, b=[2], a=[1])),
    ("long" * 1000, "".join(["long"] * 1000)),
    (1 << 100, 1 << 100),
    ("\ud800", "\ud800"),
    ("\ud800" * 50, "\ud800" * 25 + "\ud800" * 25),
    (b"long" * 1000, b"".join([b"long"] * 1000)),
    (("é" * 50, (b"x" * 50, 1)), ("é" * 25 + "é" * 25, (b"x" * 25 + b"x" * 25, 1))),
    (Text("long" * 1000), Text("long" * 1000)),
    (Text("\ud800" * 50), Text("\ud800" * 50)),
    ([Number(1), {Text("a"): Number(1 << 100)}], [Number(1), {Text("a"): Number(1 << 100)}]),
    ({"long" * 10: "long" * 20, "x": 1}, {"x": 1, "long" * 10: "".join(["long"] * 20)}),
    (math.nan, float("nan")),
    (memoryview(b"x"), memoryview(b"x")),
]

DIFFERENT = [
    *[1, 1.0, True, "1", b"1", None, Level.ONE, Color.RED, np.int64(1), np.float64(1), 1 << 64],
    *[(1,), [1], {1}, frozenset({1}), {1: 1}, {1: 1.0}, [[1]], [(1,)], [1, []], [[], 1], []],
    *["a", "A", "", "\ud800", b"\xed\xa0\x80", -1, -(1 << 64), 0.0, 255, 256, {}, set(), ()],
    *[Point(1), Point(2), Cat(name="Tom"), Dog(name="Tom")],
    *[House(pet=Cat(name="Tom")), House(pet=Dog(name="Tom"))],
    *[np.zeros(2), np.zeros((1, 2)), np.zeros(2, np.float32), np.zeros(3), np.array(0.0)],
    *["x" * 50, "x" * 49 + "y", b"x" * 50, ("x" * 50,), ["x" * 50], "é" * 50, "\ud800" * 50],
    *[("x" * 50, "y" * 50), ("y" * 50, "x" * 50), (("x" * 50,), "y" * 50), ("x" * 50, b"y" * 50)],
    *[Text("a"), Text("b"), Text(""), Text("x" * 50), (Text("x" * 50),), Text("\ud800" * 50)],
    *[Number(1), Number(2), Number(255), Number(1 << 64), [Number(1)], (Number(1),), {Number(1)}],
    *[{Text("a"): 1}, {"a": 1}, {"a": Number(1)}, Row(), Row([1]), Fields(), Fields(a=1)],
    *[np.str_("a"), np.bytes_(b"a"), b"a", Point(Number(1))],
    *[OrderedDict(a=1, b=2), OrderedDict(b=2, a=1), {"a": 1, "b": 2}, {"a": {"b": 2}}],
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_equal_values_are_one_call(one: Any, other: Any) -> None:
    function, calls = calls_of()
    assert function(one) == function(other) == 1
    assert len(calls) == 1


def test_values_that_differ_are_calls_of_their_own() -> None:
    function, _ = calls_of()
    assert [function(value) for value in DIFFERENT] == list(range(1, len(DIFFERENT) + 1))


_trees = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    # Around the length from which texts are held as objects.
    | st.text("aé", min_size=30, max_size=34)
    | st.binary(min_size=31, max_size=33),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3), inner)
        | st.frozensets(st.integers() | st.text(max_size=2))
    ),
    max_leaves=10,
)


def exact(value: Any) -> Any:
    """Return something hashable that is equal for values that are one call, and only for them."""
    if isinstance(value, list | tuple):
        return type(value), tuple(map(exact, value))
    if isinstance(value, dict | frozenset):
        items = value.items() if isinstance(value, dict) else value
        return type(value), frozenset(map(exact, items))
    return type(value), repr(value)


@given(st.lists(_trees, max_size=8))
def test_keys_are_equal_exactly_if_values_are(values: list[Any]) -> None:
    function, calls = calls_of()
    for value in values:
        function(value)
    assert len(calls) == len({exact(value) for value in values})


def test_it_does_not_matter_how_arguments_are_passed() -> None:
    calls = []

    @cached
    def function(a: int, b: int = 2, *more: int, c: int = 3, **rest: int) -> int:
        calls.append((a, b, more, c, rest))
        return len(calls)

    same = [function(1), function(1, 2), function(a=1), function(b=2, a=1), function(1, c=3)]
    assert same == [1] * 5
    assert function(1, 2, 3) == 2
    assert function(1, 2, d=3) == 3
    assert function(1, d=3) == 3
    assert function(1, c=4) == 4
    assert function(1, e=1, d=2) == function(1, d=2, e=1) == 5
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        function()  # type: ignore[call-arg]  # what is tested
    with pytest.raises(TypeError, match="multiple values"):
        function(1, a=1)  # type: ignore[misc]  # what is tested


def test_a_long_default_is_as_good_as_passing_it() -> None:
    calls = []

    @cached
    def function(a: int, text: str = "x" * 100) -> int:
        calls.append(text)
        return len(calls)

    assert function(1) == function(1, "x" * 50 + "x" * 50) == function(1, text="x" * 100) == 1
    assert function(1, "y" * 100) == 2


def test_names_of_positional_parameters_are_free_for_others() -> None:
    @cached
    def function(a: int, /, **rest: int) -> tuple[int, dict[str, int]]:
        return a, rest

    assert function(1, a=2) == (1, {"a": 2})
    assert function(1, a=3) == (1, {"a": 3})
    assert function(2) == (2, {})


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


def test_arguments_without_a_key_are_refused_and_key_helps() -> None:
    function, calls = calls_of()
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    for value in (object(), lambda: None, int, ValueError("x"), cyclic, np.array([object()])):
        with pytest.raises(EncodeError, match="pass key="):
            function(value)
    assert calls == []

    class Client:
        def __init__(self) -> None:
            self.calls = 0

        @cached(key=lambda self, text: text)
        def ask(self, text: str) -> int:
            self.calls += 1
            return self.calls

    client = Client()
    assert client.ask("a") == client.ask("a") == client.ask(text="a") == 1
    assert client.ask("b") == 2
    assert Client.ask.cache_info()[:2] == (2, 2)


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


def test_a_function_may_call_itself() -> None:
    @cached(maxsize=None)
    def fibonacci(n: int) -> int:
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    assert fibonacci(80) == 23416728348467685
    assert fibonacci.cache_info()[:2] == (78, 81)


@pytest.mark.parametrize("in_store", [False, True])
def test_a_call_within_the_same_call_does_not_wait_for_itself(in_store: bool) -> None:
    calls: list[str] = []
    store = swarmstate.Store() if in_store else None

    @cached(store=store, name="sync" if in_store else None)
    def function(a: str) -> int:
        calls.append(a)
        return function(a) + 1 if len(calls) == 1 else 0

    @cached(store=store, name="async" if in_store else None)
    async def coroutine(a: str) -> int:
        calls.append(a)
        return await coroutine(a) + 1 if len(calls) == 1 else 0

    assert function("x") == function("x") == 1
    assert calls == ["x", "x"]
    calls.clear()
    assert asyncio.run(coroutine("x")) == asyncio.run(coroutine("x")) == 1
    assert calls == ["x", "x"]


@pytest.mark.parametrize("in_store", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_threads_that_miss_together_compute_once(in_store: bool, fails: bool) -> None:
    entered, release = threading.Event(), threading.Event()
    calls = []

    @cached(store=swarmstate.Store() if in_store else None)
    def function(a: str) -> list[str]:
        calls.append(a)
        entered.set()
        assert release.wait(60)
        if fails:
            raise LookupError(a)
        return [a]

    def outcome() -> Any:
        try:
            return function("x")
        except LookupError as error:
            return error

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(outcome)
        assert entered.wait(60)
        others = [pool.submit(outcome) for _ in range(7)]
        release.set()
        outcomes = [each.result() for each in (first, *others)]
    if fails:
        # Those that came after the exception computed again.
        assert all(isinstance(each, LookupError) for each in outcomes)
    else:
        assert outcomes == [["x"]] * 8
        assert calls == ["x"]
    assert function.cache_info().hits + function.cache_info().misses == 8


def test_what_landed_between_a_miss_and_its_flight_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    function, calls = calls_of()
    result = function._flights.result

    def late(key: Any, compute: Any) -> Any:
        monkeypatch.undo()
        function("x")  # somebody else
        return result(key, compute)

    monkeypatch.setattr(function._flights, "result", late)
    assert function("x") == 1
    assert calls == ["x"]


def test_many_threads_see_only_right_results() -> None:
    @cached(maxsize=10)
    def function(a: str) -> tuple[str, str]:
        return a, a

    def work(seed: int) -> None:
        for n in range(3000):
            key = str((n * seed) % 23)
            assert function(key) == (key, key)
            if n % 500 == 0:
                function.cache_clear()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(1, 9)))
    assert (function.cache_info().currsize or 0) <= 10


def test_an_interrupted_flight_lets_another_take_over() -> None:
    entered, release = threading.Event(), threading.Event()
    calls = []

    @cached
    def function(a: str) -> str:
        calls.append(a)
        if len(calls) == 1:
            entered.set()
            assert release.wait(60)
            raise SystemExit
        return a

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(function, "x")
        assert entered.wait(60)
        second = pool.submit(function, "x")
        release.set()
        with pytest.raises(SystemExit):
            first.result()
        assert second.result() == "x"
    assert len(calls) == 2


@pytest.mark.parametrize("in_store", [False, True])
def test_coroutines_that_miss_together_compute_once(in_store: bool) -> None:
    calls = []

    @cached(store=swarmstate.Store() if in_store else None)
    async def function(a: str) -> str:
        calls.append(a)
        await asyncio.sleep(0)
        return a

    async def run() -> None:
        assert await asyncio.gather(*(function("x") for _ in range(20))) == ["x"] * 20
        assert calls == ["x"]
        assert await function("x") == "x"
        info = function.cache_info()
        assert info.hits + info.misses == 21
        await function.acache_clear()
        assert await function("x") == "x"
        assert calls == ["x", "x"]

    asyncio.run(run())
    # Another loop finds it too.
    assert asyncio.run(function("x")) == "x"
    function.cache_clear()
    assert asyncio.run(function("x")) == "x"
    assert len(calls) == 3


def test_an_exception_reaches_all_who_wait() -> None:
    calls = []

    @cached
    async def function(a: str) -> str:
        calls.append(a)
        await asyncio.sleep(0)
        raise LookupError(a)

    async def run() -> None:
        outcomes = await asyncio.gather(*(function("x") for _ in range(5)), return_exceptions=True)
        assert all(isinstance(each, LookupError) for each in outcomes)
        assert calls == ["x"]
        with pytest.raises(LookupError):
            await function("x")
        assert calls == ["x", "x"]

    asyncio.run(run())


def test_cancelling_one_call_stops_nobody_else() -> None:
    calls, cancelled = [], []

    @cached
    async def function(a: str) -> str:
        calls.append(a)
        try:
            await asyncio.Event().wait() if a == "for ever" else await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            cancelled.append(a)
            raise
        return a

    async def run() -> None:
        leader = asyncio.create_task(function("x"))
        await asyncio.sleep(0)
        others = [asyncio.create_task(function("x")) for _ in range(3)]
        await asyncio.sleep(0)
        leader.cancel()
        others[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader
        assert await others[1] == await others[2] == "x"
        assert calls == ["x"]
        assert cancelled == []
        # With nobody left, the work is cancelled, and the next call starts anew.
        alone = asyncio.create_task(function("for ever"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        alone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await alone
        await asyncio.sleep(0)
        assert cancelled == ["for ever"]

    asyncio.run(run())


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("others", [0, 2])
def test_who_stops_waiting_leaves_no_complaint(others: int, fails: bool) -> None:
    complaints: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, each: complaints.append(each))
        begun = asyncio.Event()

        @cached
        async def function(value: int) -> int:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                if fails:
                    raise ValueError(value)
            return value

        calls = [asyncio.create_task(function(1)) for _ in range(1 + others)]
        await begun.wait()
        for call in calls:
            call.cancel()
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(each) for each in ended] == [asyncio.CancelledError] * len(calls)
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(function(2), 0.001)
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0)
        calls.clear()
        gc.collect()

    asyncio.run(main())
    gc.collect()
    assert complaints == []


def test_event_loops_of_several_threads_share_a_flight() -> None:
    entered, release = threading.Event(), threading.Event()
    calls = []

    @cached
    async def function(a: str) -> str:
        calls.append(a)
        entered.set()
        await asyncio.to_thread(release.wait, 60)
        return a

    async def call() -> str:
        return await function("x")

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(lambda: asyncio.run(call()))
        assert entered.wait(60)
        others = [pool.submit(lambda: asyncio.run(call())) for _ in range(3)]
        release.set()
        assert {each.result() for each in (first, *others)} == {"x"}
    assert calls == ["x"]


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
    # Python hashes texts differently in each.
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

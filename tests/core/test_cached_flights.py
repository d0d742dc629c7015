"""`@cached`: which caller computes a result that several miss at the same time."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import swarmstate
from swarmstate.cached import cached

from tests.core.cached_calls import calls_of


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
    # Both stored the same entry, so nothing was evicted.
    assert function.cache_info().evictions == coroutine.cache_info().evictions == 0


def waits_for_a_result(thread: int) -> bool:
    """Return whether a thread waits for a result that another one computes."""
    frame = sys._current_frames().get(thread)
    if frame is None or frame.f_back is None:
        return False
    return (frame.f_code.co_name, frame.f_back.f_code.co_name) == ("wait", "result")


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

    waiting: list[int] = []

    def outcome(*noted: list[int]) -> Any:
        for each in noted:
            each.append(threading.get_ident())
        try:
            return function("x")
        except LookupError as error:
            return error

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(outcome)
        assert entered.wait(60)
        others = [pool.submit(outcome, waiting) for _ in range(7)]
        while len(waiting) < 7 or not all(map(waits_for_a_result, waiting)):
            pass
        release.set()
        outcomes = [each.result() for each in (first, *others)]
    if fails:
        assert all(each is outcomes[0] for each in outcomes)
        assert isinstance(outcomes[0], LookupError)
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
        function("x")  # another caller
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
    # Another event loop finds it, too.
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
        # When no caller is left, the work is cancelled, and the next call starts over.
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


def test_who_waited_in_a_loop_that_has_ended_is_told_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    entered, release = threading.Event(), threading.Event()

    @cached
    async def function(a: str) -> str:
        entered.set()
        await asyncio.to_thread(release.wait, 60)
        return a

    async def call() -> str:
        return await function("x")

    async def give_up() -> None:
        waiting = asyncio.create_task(call())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(lambda: asyncio.run(call()))
        assert entered.wait(60)
        asyncio.run(give_up())
        release.set()
        assert first.result() == "x"
    assert caplog.messages == []


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python has no eager tasks")
@pytest.mark.parametrize("in_store", [False, True])
def test_tasks_may_begin_at_once(in_store: bool) -> None:
    calls: list[str] = []

    @cached(store=swarmstate.Store() if in_store else None)
    async def function(a: str) -> str:
        calls.append(a)
        return a

    @cached
    async def within_itself(a: str) -> int:
        calls.append(a)
        return await within_itself(a) + 1 if calls.count(a) == 1 else 0

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(vars(asyncio)["eager_task_factory"])
        assert await asyncio.gather(*(function("x") for _ in range(3))) == ["x"] * 3
        assert calls == ["x"]
        assert await within_itself("y") == 1

    asyncio.run(main())


def test_a_call_that_is_cancelled_from_within_ends() -> None:
    calls = []

    @cached
    async def function(a: str) -> str:
        calls.append(a)
        await asyncio.sleep(0)
        if len(calls) < 100:
            raise asyncio.CancelledError  # as if it awaited a cancelled task
        return a

    async def main() -> None:
        ended = await asyncio.gather(*(function("x") for _ in range(2)), return_exceptions=True)
        assert [type(each) for each in ended] == [asyncio.CancelledError] * 2
        # Once for the first caller, and once more for the one that waited with it.
        assert calls == ["x"] * 2

    asyncio.run(main())


def test_a_flight_that_is_cancelled_before_it_begins_holds_up_nobody() -> None:
    @cached
    async def function(a: str) -> str:
        return a

    async def main() -> None:
        calls = [asyncio.create_task(function("x")) for _ in range(2)]
        await asyncio.sleep(0)
        # Like a server that cancels all tasks it does not know.
        [flight] = asyncio.all_tasks() - {*calls, asyncio.current_task()}
        flight.cancel()
        first, second = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(first, asyncio.CancelledError)
        assert second == "x"

    asyncio.run(main())

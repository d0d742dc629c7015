"""Which runs a profile covers, and when they begin and end."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any
from xml.etree import ElementTree

import pytest
import swarmstate
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from swarmstate.observability import Profile, ProfileRow
from typing_extensions import TypedDict

from tests.profiling.graphs import NAP, anap, built, by_name, call, nap, work


def test_chunks_of_a_stream_may_be_fetched_by_several_threads() -> None:
    def worked(left: int, right: int) -> int:
        work(NAP)
        return left + right

    builder = StateGraph(TypedDict("State", {"n": Annotated[int, worked]}))  # type: ignore[operator]  # created here
    builder.add_node("one", lambda state: {"n": 1})
    builder.add_edge(START, "one")
    graph = builder.compile()
    with swarmstate.profile() as profile:
        chunks = iter(graph.stream({"n": 1}, stream_mode="values"))
        fetched: list[Any] = [None]
        while fetched[-1] != "end":
            thread = threading.Thread(target=lambda: fetched.append(next(chunks, "end")))
            thread.start()
            thread.join()
    assert by_name(profile)["framework"].seconds >= NAP


@pytest.mark.parametrize("is_async", [False, True])
def test_what_is_done_with_chunks_is_no_part_of_a_run(is_async: bool) -> None:
    graph = built(SwarmStateSaver(), one=lambda state: {}, two=lambda state: {})
    given = {"messages": [("user", "Hi")]}
    config = {"configurable": {"thread_id": "1"}}
    seen: list[Any] = []

    def sync() -> None:
        for chunk in graph.stream(given, config):
            seen.append(chunk)
            time.sleep(NAP)
            assert swarmstate.observability.current_activity.get() is None

    async def main() -> None:
        async for chunk in graph.astream(given, config):
            seen.append(chunk)
            await asyncio.sleep(NAP)
            assert swarmstate.observability.current_activity.get() is None

    with swarmstate.profile() as profile:
        started = time.perf_counter()
        asyncio.run(main()) if is_async else sync()
        elapsed = time.perf_counter() - started
    assert len(seen) == 2
    assert 0 < profile.seconds <= elapsed - 2 * NAP


def test_a_stream_that_is_left_early_is_a_run() -> None:
    graph = built(SwarmStateSaver(), one=lambda state: {}, two=nap)
    with swarmstate.profile() as profile:
        for _ in graph.stream({"messages": [("user", "Hi")]}, {"configurable": {"thread_id": "1"}}):
            break
    assert profile.runs == 1
    assert "node two" not in by_name(profile)


def test_who_closes_a_stream_closes_its_run() -> None:
    ended = []

    async def stops() -> None:
        async def one(state: Any) -> dict[str, Any]:
            get_stream_writer()("started")
            try:
                await asyncio.sleep(60)
            finally:
                ended.append("node")
            return {}

        graph = built(SwarmStateSaver(), one=one)
        config: Any = {"configurable": {"thread_id": "1"}}
        stream = graph.astream({"messages": [("user", "Hi")]}, config, stream_mode="custom")
        assert await anext(stream) == "started"
        await stream.aclose()
        ended.append("stream")

    with swarmstate.profile():
        asyncio.run(stops())
    assert ended == ["node", "stream"]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_run_that_fails_is_told_and_fails(is_async: bool) -> None:
    def broken(state: Any) -> None:
        raise ZeroDivisionError

    graph = built(SwarmStateSaver(), one=nap, two=broken)
    with swarmstate.profile() as profile:
        with pytest.raises(ZeroDivisionError):
            call(graph, is_async)
        call(built(None, three=nap), is_async)
    rows = by_name(profile)
    assert profile.runs == 2
    assert rows["node two"].calls == rows["node three"].calls == 1


def test_runs_of_many_threads_and_tasks() -> None:
    graph = built(SwarmStateSaver(), one=nap, two=anap)

    async def together() -> None:
        given = {"messages": [("user", "Hi")]}
        await asyncio.gather(
            *(graph.ainvoke(given, {"configurable": {"thread_id": str(n)}}) for n in range(5))
        )

    sync = built(SwarmStateSaver(), one=nap)
    with swarmstate.profile() as here, ThreadPoolExecutor(4) as pool:
        asyncio.run(together())
        list(pool.map(lambda n: call(sync, False, str(n)), range(4)))
    assert here.runs == 5
    assert by_name(here)["node one"].calls == by_name(here)["node two"].calls == 5
    with swarmstate.profile(everywhere=True) as everywhere, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: call(sync, False, str(n)), range(4)))
    assert everywhere.runs == 4
    assert by_name(everywhere)["encode"].calls >= 4 * 3
    call(sync, False)
    assert everywhere.runs == 4


def test_only_what_began_inside_is_profiled() -> None:
    inside, outside = threading.Event(), threading.Event()

    def wait(state: Any) -> None:
        inside.set()
        assert outside.wait(60)

    graph = built(SwarmStateSaver(), one=wait)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(call, graph, False)
        assert inside.wait(60)
        with swarmstate.profile(everywhere=True) as profile:
            outside.set()
            running.result()
    assert profile.runs == 0
    assert str(profile) == "no run has finished"
    ElementTree.fromstring(profile.to_svg())


def test_a_task_that_outlives_the_run_that_began_it_has_runs_of_its_own() -> None:
    graph = built(SwarmStateSaver(), inner=anap)
    requests: asyncio.Queue[asyncio.Future[None]] = asyncio.Queue()
    tasks = []

    async def serve() -> None:
        while True:
            request = await requests.get()
            await graph.ainvoke({"messages": []}, {"configurable": {"thread_id": "1"}})
            request.set_result(None)

    async def begin(state: Any) -> None:
        tasks.append(asyncio.create_task(serve()))

    async def ask() -> None:
        request = asyncio.get_running_loop().create_future()
        requests.put_nowait(request)
        await request

    async def main() -> tuple[Profile, Profile, list[ProfileRow]]:
        with swarmstate.profile(everywhere=True) as first:
            await built(None, outer=begin).ainvoke({"messages": []})
            await ask()
        before = first.rows()
        with swarmstate.profile(everywhere=True) as second:
            await ask()
            await ask()
        tasks[0].cancel()
        return first, second, before

    first, second, before = asyncio.run(main())
    assert first.runs == 2
    assert by_name(first)["node inner"].calls == 1
    assert second.runs == by_name(second)["node inner"].calls == 2
    # What happens after a run is not part of it.
    assert first.rows() == before


def test_profiles_within_each_other_each_have_their_runs() -> None:
    graph = built(SwarmStateSaver(), one=nap)
    with swarmstate.profile() as outer:
        call(graph, False)
        with swarmstate.profile() as inner:
            call(graph, False)
        call(graph, False)
    assert (outer.runs, inner.runs) == (2, 1)


def test_a_profile_of_everything_ends_while_another_one_goes_on() -> None:
    graph = built(SwarmStateSaver(), one=nap)
    with swarmstate.profile() as here, ThreadPoolExecutor(1) as pool:
        with swarmstate.profile(everywhere=True) as everything:
            pool.submit(call, graph, False).result()
        pool.submit(call, graph, False).result()
    assert (here.runs, everything.runs) == (0, 1)


def test_a_profile_may_be_left_in_another_context() -> None:
    async def profiled() -> AsyncIterator[Profile]:
        with swarmstate.profile() as profile:
            yield profile

    async def main() -> None:
        profiles = profiled()

        async def enter() -> Profile:
            return await anext(profiles)

        profile = await asyncio.create_task(enter())

        async def leave() -> None:
            with pytest.raises(StopAsyncIteration):
                await anext(profiles)

        await asyncio.create_task(leave())
        assert profile.runs == 0

    asyncio.run(main())

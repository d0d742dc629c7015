"""Requests of concurrent tasks share round trips, and each caller gets its own outcome."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Callable, Sequence

import pytest
from swarmstate.batching import Batcher


class Server:
    """Doubles numbers and records which ones came together. A closed gate blocks it."""

    def __init__(self) -> None:
        self.trips: list[list[int]] = []
        self.under_way = 0
        self.most = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, requests: Sequence[int]) -> Sequence[int | Exception]:
        self.trips.append(list(requests))
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await self.gate.wait()
        finally:
            self.under_way -= 1
        return [
            KeyError(number) if number < 0 else number * 2  # negative numbers fail
            for number in requests
        ]


async def turns(count: int = 5) -> None:
    """Let all other tasks run until they wait."""
    for _ in range(count):
        await asyncio.sleep(0)


async def ask(batcher: Batcher[int, int], number: int) -> int:
    return await batcher.ask(number)


async def held_up(server: Server) -> tuple[Batcher[int, int], list[asyncio.Task[int]]]:
    """Return a batcher whose first round trip, for three tasks, waits at the gate."""
    server.gate.clear()
    batcher = Batcher(server)
    tasks = [asyncio.create_task(ask(batcher, number)) for number in range(3)]
    await turns()
    return batcher, tasks


def test_what_is_asked_in_one_moment_shares_a_round_trip() -> None:
    async def main() -> None:
        server = Server()
        batcher = Batcher(server)
        found = await asyncio.gather(*(ask(batcher, number) for number in range(100)))
        assert found == [number * 2 for number in range(100)]
        assert server.trips == [list(range(100))]

    asyncio.run(main())


def test_requests_queue_while_a_round_trip_is_under_way() -> None:
    async def main() -> None:
        server = Server()
        server.gate.clear()
        batcher = Batcher(server)
        first = asyncio.create_task(ask(batcher, 1))
        await turns()
        rest = []
        for number in range(2, 6):
            rest.append(asyncio.create_task(ask(batcher, number)))
            await turns()
        assert server.trips == [[1]]
        server.gate.set()
        assert await asyncio.gather(first, *rest) == [2, 4, 6, 8, 10]
        assert server.trips == [[1], [2, 3, 4, 5]]
        assert server.most == 1

    asyncio.run(main())


def test_a_lone_request_does_not_wait_for_others() -> None:
    async def main() -> None:
        server = Server()
        batcher = Batcher(server)
        for number in range(3):
            assert await batcher.ask(number) == number * 2
        assert server.trips == [[0], [1], [2]]

    asyncio.run(main())


def test_an_error_is_its_own_callers_alone() -> None:
    async def main() -> None:
        batcher = Batcher(Server())
        found = await asyncio.gather(
            *(ask(batcher, number) for number in (1, -1, 2, -2)), return_exceptions=True
        )
        assert [found[0], found[2]] == [2, 4]
        assert [repr(found[1]), repr(found[3])] == ["KeyError(-1)", "KeyError(-2)"]

    asyncio.run(main())


def test_a_failed_round_trip_fails_its_requests_and_not_the_next() -> None:
    async def main() -> None:
        fails = True

        async def round_trip(requests: Sequence[int]) -> Sequence[int]:
            await asyncio.sleep(0)
            if fails:
                raise ConnectionError("gone")
            return requests

        batcher = Batcher(round_trip)
        found = await asyncio.gather(ask(batcher, 1), ask(batcher, 2), return_exceptions=True)
        assert [str(error) for error in found] == ["gone", "gone"]
        fails = False
        assert await batcher.ask(3) == 3

    asyncio.run(main())


def test_too_few_outcomes_are_an_error() -> None:
    async def round_trip(requests: Sequence[int]) -> Sequence[int]:
        return requests[1:]

    async def main() -> None:
        batcher = Batcher(round_trip)
        found = await asyncio.gather(ask(batcher, 1), ask(batcher, 2), return_exceptions=True)
        assert all("one outcome for each of 2" in str(error) for error in found)

    asyncio.run(main())


def test_a_cancelled_request_that_was_not_sent_is_withdrawn() -> None:
    async def main() -> None:
        server = Server()
        batcher, tasks = await held_up(server)
        queued = [asyncio.create_task(ask(batcher, number)) for number in range(3, 6)]
        await turns()
        queued[1].cancel()
        server.gate.set()
        found = await asyncio.gather(*tasks, *queued, return_exceptions=True)
        assert [*found[:4], found[5]] == [0, 2, 4, 6, 10]
        assert isinstance(found[4], asyncio.CancelledError)
        assert server.trips == [[0, 1, 2], [3, 5]]

    asyncio.run(main())


def test_cancelling_a_caller_whose_request_was_sent_disturbs_no_other() -> None:
    async def main() -> None:
        server = Server()
        _, tasks = await held_up(server)
        tasks[0].cancel()
        await turns()
        assert tasks[0].cancelled()
        assert server.under_way == 1
        server.gate.set()
        assert await asyncio.gather(*tasks[1:]) == [2, 4]
        assert server.trips == [[0, 1, 2]]

    asyncio.run(main())


def test_what_is_asked_after_a_cancellation_is_sent_after_what_was_cancelled() -> None:
    async def main() -> None:
        server = Server()
        server.gate.clear()
        batcher = Batcher(server, lanes=3)
        cancelled, other = (asyncio.create_task(ask(batcher, n)) for n in (1, 2))
        await turns()
        beside = asyncio.create_task(ask(batcher, 3))
        await turns()
        cancelled.cancel()
        later = [asyncio.create_task(ask(batcher, n)) for n in (4, 5)]
        await turns(20)
        assert server.trips == [[1, 2], [3]], "what was under way goes on, and nothing else begins"
        server.gate.set()
        assert await asyncio.gather(other, beside, *later) == [4, 6, 8, 10]
        assert server.trips == [[1, 2], [3], [4, 5]]
        await batcher.drain()

    asyncio.run(main())


def test_a_round_trip_is_bounded() -> None:
    async def main() -> None:
        server = Server()
        batcher = Batcher(server, limit=10)
        weights = [4, 4, 4, 99, 1, 9, 1]
        futures = [batcher.ask(index, weight) for index, weight in enumerate(weights)]
        assert await asyncio.gather(*futures) == [index * 2 for index in range(len(weights))]
        assert server.trips == [[0, 1], [2], [3], [4, 5], [6]]

    asyncio.run(main())


def test_several_lanes() -> None:
    async def main() -> None:
        server = Server()
        server.gate.clear()
        batcher = Batcher(server, lanes=3, limit=10)
        tasks = [asyncio.create_task(ask(batcher, number)) for number in range(45)]
        await turns(20)
        assert [len(trip) for trip in server.trips] == [10, 10, 10]
        server.gate.set()
        assert await asyncio.gather(*tasks) == [number * 2 for number in range(45)]
        assert sorted(number for trip in server.trips for number in trip) == list(range(45))
        assert server.most == 3

    asyncio.run(main())


def test_many_tasks_that_ask_again_and_again() -> None:
    async def main() -> None:
        async def round_trip(requests: Sequence[int]) -> Sequence[int]:
            trips.append(len(requests))
            await turns(2)
            return [-number for number in requests]

        trips: list[int] = []
        batcher = Batcher(round_trip, lanes=2)

        async def caller(number: int) -> None:
            for index in range(50):
                assert await batcher.ask(number * 1000 + index) == -(number * 1000 + index)

        await asyncio.gather(*map(caller, range(100)))
        assert sum(trips) == 5000
        assert len(trips) < 500

    asyncio.run(main())


def test_the_end_of_the_loop_leaves_nobody_waiting_and_no_task_behind() -> None:
    cancelled = 0

    async def main() -> None:
        server = Server()
        server.gate.clear()
        batcher = Batcher(server)

        async def wait() -> None:
            nonlocal cancelled
            try:
                await batcher.ask(1)
            except asyncio.CancelledError:
                cancelled += 1
                raise

        tasks = [asyncio.create_task(wait()) for _ in range(3)]
        await turns()
        late = asyncio.create_task(wait())
        await turns()
        assert not late.done()
        assert len(tasks) == 3

    asyncio.run(main())
    assert cancelled == 4


def test_nobody_waits_for_ever_if_something_ends_all_tasks_but_its_own() -> None:
    async def main() -> None:
        server = Server()
        server.gate.clear()
        batcher = Batcher(server)
        future = batcher.ask(1)
        await turns()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        queued = batcher.ask(2)
        await turns()
        assert future.cancelled()
        server.gate.set()
        assert await queued == 4

    asyncio.run(main())


def test_drain_waits_for_what_was_asked() -> None:
    async def main() -> None:
        server = Server()
        batcher = Batcher(server)
        await batcher.drain()
        future = batcher.ask(1)
        await batcher.drain()
        assert future.result() == 2
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


def test_a_round_trip_has_the_context_of_no_caller() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")

    async def main() -> None:
        async def round_trip(requests: Sequence[int]) -> Sequence[str]:
            return [variable.get() for _ in requests]

        variable.set("caller")
        assert await Batcher(round_trip).ask(1) == "none"

    asyncio.run(main())


@pytest.mark.parametrize(
    "make", [lambda trip: Batcher(trip, lanes=0), lambda trip: Batcher(trip, limit=0)]
)
def test_senseless_bounds_are_refused(make: Callable[[Server], Batcher[int, int]]) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="1 or more"):
            make(Server())

    asyncio.run(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python has no eager tasks")
def test_tasks_that_begin_at_once_take_no_more_lanes() -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(vars(asyncio)["eager_task_factory"])
        server = Server()
        server.gate.clear()
        batcher = Batcher(server, lanes=2, limit=1)
        tasks = [asyncio.create_task(ask(batcher, number)) for number in range(6)]
        await turns(20)
        assert server.trips == [[0], [1]]
        server.gate.set()
        assert await asyncio.gather(*tasks) == [0, 2, 4, 6, 8, 10]
        assert server.most == 2
        await batcher.drain()

    asyncio.run(main())

"""Resources of event loops are closed in their loops, however those end."""

from __future__ import annotations

import asyncio
import gc
import threading
from weakref import ref

import pytest
from swarmstate.loops import PerLoop


class Resource:
    """Records in which loop it was closed."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.closed_in: asyncio.AbstractEventLoop | None = None
        self.abandoned = False

    async def close(self) -> None:
        await asyncio.sleep(0)
        assert self.closed_in is None
        self.closed_in = asyncio.get_running_loop()

    def abandon(self) -> None:
        self.abandoned = True


def per_loop() -> tuple[PerLoop[Resource], list[Resource]]:
    made: list[Resource] = []

    def make() -> Resource:
        made.append(Resource())
        return made[-1]

    return PerLoop(make, Resource.close, Resource.abandon), made


async def use(resources: PerLoop[Resource]) -> None:
    resources.get()


def test_a_loop_gets_its_own_each_time() -> None:
    resources, made = per_loop()

    async def main() -> None:
        first = resources.get()
        await asyncio.sleep(0)
        assert resources.get() is first

    asyncio.run(main())
    asyncio.run(main())
    assert len(made) == 2


def test_it_is_closed_when_asyncio_run_ends() -> None:
    resources, made = per_loop()
    asyncio.run(use(resources))
    assert made[0].closed_in is made[0].loop
    assert not made[0].abandoned


def test_aclose_waits_and_can_be_repeated() -> None:
    resources, made = per_loop()

    async def main() -> None:
        resources.get()
        await resources.aclose()
        assert made[0].closed_in is made[0].loop
        await resources.aclose()

    asyncio.run(main())
    resources.close()
    assert len(made) == 1
    assert not made[0].abandoned


def test_close_within_a_running_loop_has_the_loop_close_it() -> None:
    resources, made = per_loop()

    async def main() -> None:
        resources.get()
        resources.close()
        for _ in range(5):
            await asyncio.sleep(0)
        assert made[0].closed_in is made[0].loop

    asyncio.run(main())


class _Slow(Resource):
    """Takes longer to close than an ending loop has turns left, unless the loop waits for it."""

    async def close(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        await super().close()


def _closed_beside(loop: asyncio.AbstractEventLoop, where: str) -> Resource:
    """Return a loop's resource whose owner was closed and dropped."""
    made: list[_Slow] = []

    def make() -> _Slow:
        made.append(_Slow())
        return made[-1]

    resources = PerLoop(make, _Slow.close, _Slow.abandon)

    async def main() -> None:
        resources.get()
        if where == "within the loop":
            resources.close()

    loop.run_until_complete(main())
    resources.close()
    return made[0]


@pytest.mark.parametrize("where", ["within the loop", "while it stands still"])
def test_a_loop_that_ends_waits_until_it_is_closed(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.new_event_loop()
    found = _closed_beside(loop, where)
    # Like `asyncio.run` and `asyncio.Runner`.
    if tasks := asyncio.all_tasks(loop):
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.wait(tasks))
        del task, tasks
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    gc.collect()
    assert found.closed_in is loop
    assert caplog.messages == []


def test_another_thread_has_the_loop_close_it() -> None:
    resources, made = per_loop()
    started, closed = threading.Event(), threading.Event()

    async def main() -> None:
        resources.get()
        started.set()
        await asyncio.to_thread(closed.wait)
        for _ in range(5):
            await asyncio.sleep(0)
        assert made[0].closed_in is made[0].loop

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    started.wait()
    asyncio.run(resources.aclose())
    closed.set()
    thread.join()
    assert made[0].closed_in is made[0].loop


def test_a_loop_that_was_closed_without_a_chance_is_abandoned_at_the_next_use() -> None:
    resources, made = per_loop()
    loop = asyncio.new_event_loop()
    loop.run_until_complete(use(resources))
    loop.close()
    asyncio.run(use(resources))
    assert (made[0].closed_in, made[0].abandoned) == (None, True)
    assert made[1].closed_in is made[1].loop


def test_close_abandons_what_a_loop_that_stands_still_holds() -> None:
    resources, made = per_loop()
    loop = asyncio.new_event_loop()
    loop.run_until_complete(use(resources))
    resources.close()
    assert made[0].abandoned
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def test_who_is_cancelled_while_closing_only_stops_waiting() -> None:
    resources, made = per_loop()

    async def main() -> None:
        resources.get()
        closing = asyncio.create_task(resources.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        [ended] = await asyncio.gather(closing, return_exceptions=True)
        assert isinstance(ended, asyncio.CancelledError)
        # Closing again waits for the close in progress.
        await resources.aclose()
        assert made[0].closed_in is made[0].loop

    asyncio.run(main())
    assert len(made) == 1


@pytest.mark.filterwarnings("ignore:unclosed event loop:ResourceWarning")
def test_a_loop_that_nobody_closed_goes_with_what_belongs_to_it() -> None:
    resources, made = per_loop()
    loop = asyncio.new_event_loop()
    loop.run_until_complete(use(resources))
    loops, kept = ref(loop), ref(made.pop())
    del loop
    gc.collect()
    assert loops() is None
    assert kept() is None
    resources.close()


def test_resources_that_nobody_closed_are_closed_in_their_loop() -> None:
    made: list[Resource] = []

    async def main() -> None:
        resources, of_loop = per_loop()
        resources.get()
        made.extend(of_loop)
        del resources
        gc.collect()
        while made[0].closed_in is None:
            await asyncio.sleep(0)

    asyncio.run(main())

"""Round trips that concurrent tasks share, for stores on servers.

What tasks of one event loop ask of a store in the same moment goes out together.
Nothing waits for more to come: while a round trip is under way, requests queue,
and the next one takes them all. So a lone caller pays nothing, and the busier a
store is, the more each round trip carries.

A `Batcher` belongs to the event loop it is first used in; `swarmstate.loops.PerLoop`
keeps one for each loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

__all__ = ["Batcher"]

Q = TypeVar("Q")
A = TypeVar("A")


class _Trip:
    """A round trip that is under way.

    Attributes:
        is_abandoned: Whether a caller was cancelled whose request is part of it.
    """

    __slots__ = ("is_abandoned",)

    def __init__(self) -> None:
        self.is_abandoned = False


class _Answer(asyncio.Future[A]):
    """What the outcome of a request will be.

    Attributes:
        trip: The round trip that takes the request along, once there is one.
    """

    trip: _Trip | None = None

    def cancel(self, msg: Any = None) -> bool:
        """Cancel as futures do, and let it be known if the request was sent already."""
        cancelled = super().cancel(msg)
        if cancelled and self.trip is not None:
            self.trip.is_abandoned = True
        return cancelled


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[Q, A]):
    request: Q
    weight: int
    future: _Answer[A]


class Batcher(Generic[Q, A]):
    """Gathers the requests of concurrent tasks into round trips.

    Each caller gets the outcome of its own request: an error of one is not seen
    by the others. Cancelling a caller withdraws its request if it has not been
    sent, and otherwise only stops waiting for it: a round trip runs in a task of
    its own, to its end, whoever still waits. Until then no other begins: what is
    asked after a cancellation is never undone by what was cancelled. Requests of one
    caller that awaits each are sent in its order; nothing is said about the order
    between callers.

    Args:
        round_trip: Sends requests and returns their outcomes, one each, in their
            order: the answer, or the exception that is raised for its caller. If
            it raises, so does every request of the round trip.
        lanes: How many round trips may be under way at once.
        limit: A round trip takes requests until their weights add up to this;
            it always takes at least one.

    Raises:
        ValueError: `lanes` or `limit` is less than 1.
    """

    def __init__(
        self,
        round_trip: Callable[[Sequence[Q]], Awaitable[Sequence[A | Exception]]],
        *,
        lanes: int = 1,
        limit: int = 1_000,
    ) -> None:
        if lanes < 1 or limit < 1:
            raise ValueError(f"expected lanes and limit of 1 or more, found {lanes} and {limit}")
        self._round_trip = round_trip
        self._lanes = lanes
        self._limit = limit
        self._queue: deque[_Waiting[Q, A]] = deque()
        # Tasks that make round trips, at most one per lane; they end when the queue is empty.
        self._tasks: set[asyncio.Task[None]] = set()
        # Lanes in use: those of these tasks, and that of one which runs while it is being made.
        self._used = 0
        self._trips: set[_Trip] = set()
        # A task is about to be started, so nobody else needs to.
        self._starting = False

    def ask(self, request: Q, weight: int = 1) -> asyncio.Future[A]:
        """Queue a request and return what its outcome will be; await it at once.

        Args:
            request: The request.
            weight: What it counts for the limit, such as its bytes.
        """
        loop = asyncio.get_running_loop()
        future: _Answer[A] = _Answer(loop=loop)
        self._queue.append(_Waiting(request, weight, future))
        self._start_soon(loop)
        return future

    async def drain(self) -> None:
        """Return when every request that was made so far has its outcome."""
        while self._starting or self._tasks:
            if self._tasks:
                await asyncio.wait(self._tasks)
            else:
                await asyncio.sleep(0)

    def _start_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        # Not now: what else is ready to run in this turn of the loop may ask, too.
        if self._starting or self._used >= self._lanes or self._has_abandoned():
            return
        self._starting = True
        loop.call_soon(self._start, loop)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._starting = False
        if not self._queue:
            return
        self._used += 1
        # The task serves all callers, so it inherits the context of none.
        task = Context().run(loop.create_task, self._run(loop))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._used -= 1
        if self._queue:
            self._start_soon(task.get_loop())

    async def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while taken := self._take():
            if self._queue:
                self._start_soon(loop)
            trip = _Trip()
            for each in taken:
                each.future.trip = trip
            self._trips.add(trip)
            try:
                outcomes = await self._outcomes([each.request for each in taken])
            except BaseException:
                # Only the end of the loop comes here; nobody must wait for ever.
                for each in taken:
                    each.future.cancel()
                raise
            finally:
                self._trips.discard(trip)
            for each, outcome in zip(taken, outcomes, strict=True):
                if each.future.done():
                    continue
                if isinstance(outcome, Exception):
                    each.future.set_exception(outcome)
                else:
                    each.future.set_result(outcome)

    def _take(self) -> list[_Waiting[Q, A]]:
        if self._has_abandoned():
            return []
        taken: list[_Waiting[Q, A]] = []
        weight = 0
        while self._queue:
            each = self._queue[0]
            if taken and weight + each.weight > self._limit:
                break
            self._queue.popleft()
            if not each.future.done():
                taken.append(each)
                weight += each.weight
        return taken

    def _has_abandoned(self) -> bool:
        # Whoever makes that round trip goes on with what waits when it has ended.
        return any(trip.is_abandoned for trip in self._trips)

    async def _outcomes(self, requests: Sequence[Q]) -> Sequence[A | Exception]:
        try:
            outcomes = await self._round_trip(requests)
        except Exception as error:
            return [error] * len(requests)
        if len(outcomes) != len(requests):
            wrong = RuntimeError(
                f"expected one outcome for each of {len(requests)} requests, found {len(outcomes)}"
            )
            return [wrong] * len(requests)
        return outcomes

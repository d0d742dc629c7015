"""Round trips shared by concurrent tasks, for stores on servers.

Requests that the tasks of an event loop make at the same moment go out together.
Nothing waits for more requests to arrive: while a round trip is under way, requests
queue up, and the next one takes them all. So a lone caller pays nothing, and the
busier a store is, the more each round trip carries.

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
        is_abandoned: Whether the caller of one of its requests was cancelled.
    """

    __slots__ = ("is_abandoned",)

    def __init__(self) -> None:
        self.is_abandoned = False


class _Answer(asyncio.Future[A]):
    """The future outcome of a request.

    Attributes:
        trip: The round trip that carries the request, once there is one.
    """

    trip: _Trip | None = None

    def cancel(self, msg: Any = None) -> bool:
        """Cancel the future, and mark the round trip as abandoned if the request was sent."""
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

    Each caller gets the outcome of its own request and never sees another's error.
    Cancelling a caller withdraws its request if it has not been sent; otherwise the
    caller just stops waiting. A round trip runs to its end in its own task, whether
    or not anyone still waits. After a cancellation, no other round trip begins until
    it has ended, so a cancelled request never undoes a later one. The requests of a
    caller that awaits each one are sent in order; there is no order between callers.

    Args:
        round_trip: Sends requests and returns one outcome for each, in order: the
            answer, or the exception to raise for its caller. If it raises, every
            request of the round trip raises the same exception.
        lanes: The number of round trips that may be under way at once.
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
        # The tasks that make round trips, at most one per lane; they end when the queue is empty.
        self._tasks: set[asyncio.Task[None]] = set()
        # Lanes in use: one per task above, and one for a task that runs while being created.
        self._used = 0
        self._trips: set[_Trip] = set()
        # Whether a task is about to be started, so that nobody else starts one.
        self._starting = False

    def ask(self, request: Q, weight: int = 1) -> asyncio.Future[A]:
        """Queue a request and return its future outcome; await it at once.

        Args:
            request: The request.
            weight: How much it counts towards the limit, such as its size in bytes.
        """
        loop = asyncio.get_running_loop()
        future: _Answer[A] = _Answer(loop=loop)
        self._queue.append(_Waiting(request, weight, future))
        self._start_soon(loop)
        return future

    async def drain(self) -> None:
        """Wait until every request made so far has its outcome."""
        while self._starting or self._tasks:
            if self._tasks:
                await asyncio.wait(self._tasks)
            else:
                await asyncio.sleep(0)

    def _start_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        # Not right now: other callbacks that are ready in this turn of the loop may ask, too.
        if self._starting or self._used >= self._lanes or self._has_abandoned():
            return
        self._starting = True
        loop.call_soon(self._start, loop)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._starting = False
        if not self._queue:
            return
        self._used += 1
        # The task serves all callers, so it must not inherit the context of any one of them.
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
                # Reached only when the loop ends; nobody may be left waiting forever.
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
        # The task that makes the abandoned round trip takes up the queue when it has ended.
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

"""What belongs to one event loop, such as its connections, kept for each loop in use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

__all__ = ["PerLoop"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Kept(Generic[T]):
    resource: T
    # Holds the resource while it is suspended; closing the generator closes it.
    holder: AsyncGenerator[None, None]


class PerLoop(Generic[T]):
    """One resource for each event loop, made where it is first needed.

    A resource is closed in its own loop: by `aclose()`, by `close()`, or when the
    loop shuts down its asynchronous generators, as `asyncio.run` does at its end.
    What belongs to a loop that ended without that is abandoned.

    May be used from any thread.

    Args:
        make: Makes a resource; called while its loop is running.
        close: Closes it; awaited in its loop.
        abandon: Lets go of it without a loop: its loop is closed, or stands
            still. Must not block, and may be called from any thread.
    """

    def __init__(
        self,
        make: Callable[[], T],
        close: Callable[[T], Awaitable[None]],
        abandon: Callable[[T], None],
    ) -> None:
        self._make = make
        self._close = close
        self._abandon = abandon
        self._lock = Lock()
        self._kept: WeakKeyDictionary[asyncio.AbstractEventLoop, _Kept[T]] = WeakKeyDictionary()

    def get(self) -> T:
        """Return the resource of the running loop."""
        loop = asyncio.get_running_loop()
        kept = self._kept.get(loop)
        if kept is not None:
            return kept.resource
        self._abandon_closed()
        resource = self._make()
        holder = self._hold(loop, resource)
        # Its first step, which ends at its yield, makes it known to the loop.
        with suppress(StopIteration):
            holder.__anext__().send(None)
        with self._lock:
            self._kept[loop] = _Kept(resource, holder)
        return resource

    async def aclose(self) -> None:
        """Close what belongs to the running loop and wait for it; the rest as `close` does.

        Who is cancelled only stops waiting.
        """
        loop = asyncio.get_running_loop()
        kept = self._take(loop)
        self.close()
        if kept is not None:
            self._close_soon(loop, kept.holder)
        under_way = [
            task
            for task, owner in list(_closing.items())
            if owner is self and task.get_loop() is loop
        ]
        if under_way:
            await asyncio.shield(asyncio.gather(*under_way))

    def close(self) -> None:
        """Close every resource, or have its loop close it soon if that is running."""
        with self._lock:
            taken = list(self._kept.items())
            self._kept.clear()
        for loop, kept in taken:
            if loop.is_running():
                # A loop that ended just now has closed it.
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(self._close_soon, loop, kept.holder)
            else:
                self._abandon(kept.resource)

    def _take(self, loop: asyncio.AbstractEventLoop) -> _Kept[T] | None:
        with self._lock:
            return self._kept.pop(loop, None)

    def _abandon_closed(self) -> None:
        with self._lock:
            closed = [loop for loop in self._kept if loop.is_closed()]
            abandoned = [self._kept.pop(loop) for loop in closed]
        for kept in abandoned:
            self._abandon(kept.resource)

    async def _hold(
        self, loop: asyncio.AbstractEventLoop, resource: T
    ) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self._take(loop)
            await self._close(resource)

    def _close_soon(
        self, loop: asyncio.AbstractEventLoop, holder: AsyncGenerator[None, None]
    ) -> None:
        task = loop.create_task(_close(holder))
        _closing[task] = self
        task.add_done_callback(_closing.pop)


async def _close(holder: AsyncGenerator[None, None]) -> None:
    await holder.aclose()


# The loop itself keeps weak references only.
_closing: dict[asyncio.Task[None], PerLoop[Any]] = {}

"""What belongs to one event loop, such as its connections, kept for each loop in use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary, ref

__all__ = ["PerLoop"]

T = TypeVar("T")


@dataclass(frozen=True)
class _Kept(Generic[T]):
    resource: T
    # Holds the resource while it is suspended; closing the generator closes it.
    holder: AsyncGenerator[None, None]


class PerLoop(Generic[T]):
    """One resource for each event loop, made where it is first needed.

    A resource is closed in its own loop: by `aclose()`, by `close()`, or when the
    loop shuts down its asynchronous generators, as `asyncio.run` does at its end.
    What belongs to a loop that ended without that is abandoned, and what belongs to one
    that nobody holds any more goes with it.

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
        # What is kept refers to its loop, so it is the loop that holds it.
        self._kept: WeakKeyDictionary[asyncio.AbstractEventLoop, ref[_Kept[T]]] = (
            WeakKeyDictionary()
        )

    def get(self) -> T:
        """Return the resource of the running loop."""
        loop = asyncio.get_running_loop()
        found = self._kept.get(loop)
        if found is not None and (kept := found()) is not None:
            return kept.resource
        self._abandon_closed()
        resource = self._make()
        holder = _hold(ref(self), loop, resource, self._close)
        # Its first step, which ends at its yield, makes it known to the loop.
        with suppress(StopIteration):
            holder.__anext__().send(None)
        kept = _Kept(resource, holder)
        with self._lock:
            self._kept[loop] = ref(kept)
            _held_by(loop)[self] = kept
        return resource

    def loops(self) -> list[asyncio.AbstractEventLoop]:
        """Return the loops that have a resource; whoever holds them keeps these from going.

        For forked children, which own none of it: does not wait for a lock of the parent's.
        """
        return list(self._kept)

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
            loops = self.loops()
        for loop in loops:
            kept = self._take(loop)
            if kept is None:
                continue
            if loop.is_running():
                # A loop that ended just now has closed it.
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(self._close_soon, loop, kept.holder)
            else:
                self._abandon(kept.resource)
                # If the loop runs once more, and that is to shut down its generators, then by that:
                # it comes first, and is waited for.
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(loop.call_soon, self._close_soon, loop, kept.holder)

    def _take(self, loop: asyncio.AbstractEventLoop) -> _Kept[T] | None:
        with self._lock:
            self._kept.pop(loop, None)
            return _held_by(loop).pop(self, None)

    def _abandon_closed(self) -> None:
        with self._lock:
            closed = [loop for loop in self.loops() if loop.is_closed()]
        for loop in closed:
            if (kept := self._take(loop)) is not None:
                self._abandon(kept.resource)

    def _close_soon(
        self, loop: asyncio.AbstractEventLoop, holder: AsyncGenerator[None, None]
    ) -> None:
        task = loop.create_task(_close(holder))
        _closing[task] = self
        task.add_done_callback(partial(_closed, loop, holder))


async def _hold(
    owner: ref[PerLoop[T]],
    loop: asyncio.AbstractEventLoop,
    resource: T,
    close: Callable[[T], Awaitable[None]],
) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        resources = owner()
        if resources is not None:
            resources._take(loop)
        await close(resource)


def _held_by(loop: asyncio.AbstractEventLoop) -> WeakKeyDictionary[PerLoop[Any], _Kept[Any]]:
    """Return what a loop holds, which is an attribute of it where it can have one."""
    held: WeakKeyDictionary[PerLoop[Any], _Kept[Any]] | None = getattr(loop, _ATTRIBUTE, None)
    if held is None:
        held = _held_here.setdefault(loop, WeakKeyDictionary())
        with suppress(AttributeError, TypeError):
            setattr(loop, _ATTRIBUTE, held)
            del _held_here[loop]
    return held


async def _close(holder: AsyncGenerator[None, None]) -> None:
    # Not while the loop shuts down its generators.
    if not holder.ag_running:  # type: ignore[attr-defined]  # not of all, but of those that are functions
        await holder.aclose()


def _closed(
    loop: asyncio.AbstractEventLoop, holder: AsyncGenerator[None, None], task: asyncio.Task[None]
) -> None:
    _closing.pop(task)
    if task.cancelled():
        # Before it began, where the loop ends at once. Its generators are shut down then, and
        # waited for; one that nobody holds would be closed by a task that nobody waits for.
        left = getattr(loop, _LEFT, [])
        left.append(holder)
        with suppress(AttributeError, TypeError):
            setattr(loop, _LEFT, left)


_ATTRIBUTE = "_swarmstate_resources"
_LEFT = "_swarmstate_left"
# Of loops that take no attributes.
_held_here: WeakKeyDictionary[
    asyncio.AbstractEventLoop, WeakKeyDictionary[PerLoop[Any], _Kept[Any]]
] = WeakKeyDictionary()
# The loop itself keeps weak references only.
_closing: dict[asyncio.Task[None], PerLoop[Any]] = {}

"""Resources that belong to one event loop, such as connections, kept for each loop in use."""

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
    # An async generator that owns the resource while suspended; closing it closes the resource.
    holder: AsyncGenerator[None, None]


class PerLoop(Generic[T]):
    """One resource for each event loop, made on first use.

    A resource is closed in its own loop: by `aclose()`, by `close()`, or when the
    loop shuts down its asynchronous generators, as `asyncio.run` does at its end.
    If a loop ends without that, its resource is abandoned. If nothing refers to a loop
    any more, its resource is collected with it.

    May be used from any thread.

    Args:
        make: Makes a resource; called while its loop is running.
        close: Closes a resource; awaited in its loop.
        abandon: Lets go of a resource whose loop is closed or not running.
            Must not block, and may be called from any thread.
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
        # A resource refers to its loop. The loop holds it, so that neither is kept alive from here.
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
        # Run it up to its yield: this registers the generator with the loop.
        with suppress(StopIteration):
            holder.__anext__().send(None)
        kept = _Kept(resource, holder)
        with self._lock:
            self._kept[loop] = ref(kept)
            _held_by(loop)[self] = kept
        return resource

    def loops(self) -> list[asyncio.AbstractEventLoop]:
        """Return the loops that have a resource; holding them keeps their resources alive.

        Takes no lock, because forked children call this: the parent may have held the lock.
        """
        return list(self._kept)

    async def aclose(self) -> None:
        """Close the running loop's resource and wait for it; close all others as `close` does.

        Cancelling this call only stops the waiting.
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
        """Close every resource, or if its loop is running, have the loop close it soon."""
        with self._lock:
            loops = self.loops()
        for loop in loops:
            kept = self._take(loop)
            if kept is None:
                continue
            if loop.is_running():
                # A loop that has just ended has closed it.
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(self._close_soon, loop, kept.holder)
            else:
                self._abandon(kept.resource)
                # If the loop runs again, it may be to shut down its generators. One extra turn lets
                # that shutdown, which is waited for, close the holder first.
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
    """Return what a loop holds, kept as an attribute of the loop where possible."""
    held: WeakKeyDictionary[PerLoop[Any], _Kept[Any]] | None = getattr(loop, _ATTRIBUTE, None)
    if held is None:
        held = _held_here.setdefault(loop, WeakKeyDictionary())
        with suppress(AttributeError, TypeError):
            setattr(loop, _ATTRIBUTE, held)
            del _held_here[loop]
    return held


async def _close(holder: AsyncGenerator[None, None]) -> None:
    # While it is running, the loop is shutting down its generators and closes it.
    if not holder.ag_running:  # type: ignore[attr-defined]  # only some kinds have it
        await holder.aclose()


def _closed(
    loop: asyncio.AbstractEventLoop, holder: AsyncGenerator[None, None], task: asyncio.Task[None]
) -> None:
    _closing.pop(task)
    if task.cancelled():
        # Cancelled before it began, because the loop is ending. Keep the holder until the loop
        # shuts down its generators, which it waits for; once collected, it would be closed by a
        # task that nobody waits for.
        left = getattr(loop, _LEFT, [])
        left.append(holder)
        with suppress(AttributeError, TypeError):
            setattr(loop, _LEFT, left)


_ATTRIBUTE = "_swarmstate_resources"
_LEFT = "_swarmstate_left"
# For loops that do not accept attributes.
_held_here: WeakKeyDictionary[
    asyncio.AbstractEventLoop, WeakKeyDictionary[PerLoop[Any], _Kept[Any]]
] = WeakKeyDictionary()
# Keeps the closing tasks alive; the loop itself has only weak references to tasks.
_closing: dict[asyncio.Task[None], PerLoop[Any]] = {}

"""The event loop of a pool that a store was given; calls from elsewhere are sent there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, TypeVar

from swarmstate.errors import StoreError, StoreUnavailableError

__all__ = ["PoolLoop"]

T = TypeVar("T")

# How often a caller from elsewhere checks that the loop still runs.
_LOOK_SECONDS = 1.0
_ENDED = (
    "the event loop of the store's pool is not running: use the store while it is, or open it "
    "with a url"
)


class PoolLoop:
    """The event loop that is running where this is created.

    Raises:
        ValueError: None is running.
    """

    def __init__(self) -> None:
        loop = _running_loop()
        if loop is None:
            raise ValueError("expected a store to be created inside its pool's event loop")
        self._loop = loop

    def is_here(self) -> bool:
        """Return whether this loop is running in the current thread."""
        return _running_loop() is self._loop

    def run(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Await `ask()` in the loop and return its result.

        Raises:
            StoreError: This thread runs the loop, so it would deadlock.
            StoreUnavailableError: The loop is not running.
        """
        if self.is_here():
            raise StoreError(
                "a sync call from the event loop of the store's pool would deadlock: await the "
                "method with a leading 'a', or open the store with a url"
            )
        asked = self._start(ask)
        while True:
            try:
                return asked.result(_LOOK_SECONDS)
            except CancelledError:
                raise StoreUnavailableError(_ENDED) from None
            except (TimeoutError, FutureTimeoutError):
                if asked.done() and not asked.cancelled():
                    return asked.result()
                # A loop that is about to end may never start the coroutine.
                if not self._loop.is_running():
                    raise StoreUnavailableError(_ENDED) from None

    async def arun(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do what `run` does, from any other loop."""
        asked = asyncio.wrap_future(self._start(ask))
        try:
            while not asked.done():
                await asyncio.wait([asked], timeout=_LOOK_SECONDS)
                if not asked.done() and not self._loop.is_running():
                    raise StoreUnavailableError(_ENDED)
        finally:
            # Has no effect if it is done.
            asked.cancel()
        if asked.cancelled():
            # The loop ended; if this call itself is canceled, it does not get here.
            raise StoreUnavailableError(_ENDED)
        return asked.result()

    def _start(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        asking = ask()
        try:
            if self._loop.is_running():
                return asyncio.run_coroutine_threadsafe(asking, self._loop)
        except RuntimeError:
            # It was closed just now.
            pass
        asking.close()
        raise StoreUnavailableError(_ENDED)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None

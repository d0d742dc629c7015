"""A queue for a run's events that takes no lock until something waits for events."""

from __future__ import annotations

import queue
from collections import deque
from threading import Lock
from typing import Any

# The module takes itself out of type checking.
from langgraph._internal._queue import Semaphore, SyncQueue  # type: ignore[attr-defined]


class LazyQueue(SyncQueue):  # type: ignore[misc]  # see above
    """A queue that creates the semaphore for waiting threads only on demand."""

    def __init__(self) -> None:
        self._queue: deque[Any] = deque()
        self._semaphore: Any = None
        self._lock = Lock()

    @property
    def _count(self) -> Any:
        """The semaphore. It may count too many items, never too few; `get` then finds nothing."""
        with self._lock:
            if self._semaphore is None:
                semaphore = self._semaphore = Semaphore(0)
                for _ in range(len(self._queue)):
                    semaphore.release()
            return self._semaphore

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Put an item on the queue; never blocks."""
        self._queue.append(item)
        if self._semaphore is not None:
            self._semaphore.release()

    def get(self, block: bool = False, timeout: float | None = None) -> Any:
        """Take the first item.

        Raises:
            queue.Empty: There is none.
        """
        if block or timeout is not None or self._semaphore is not None:
            return super().get(block, timeout)
        try:
            return self._queue.popleft()
        except IndexError:
            raise queue.Empty from None


REPLACEMENTS = {"langgraph.pregel.main:SyncQueue": LazyQueue}

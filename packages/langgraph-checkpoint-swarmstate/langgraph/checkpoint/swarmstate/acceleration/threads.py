"""Thread pools that a run takes over from an earlier one, instead of starting its own.

No two runs share threads at the same time. So a run inside another run, or one that waits for
another, never waits for a thread that cannot become free.
"""

from __future__ import annotations

from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

from langchain_core.runnables.config import ContextThreadPoolExecutor

from swarmstate.forking import renew_in_children

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor

    from langchain_core.runnables import RunnableConfig

# Number of idle pools to keep; beyond that, a run ends its threads.
_MAX_IDLE = 16


@contextmanager
def executor_for_run(config: RunnableConfig | None) -> Iterator[Executor]:
    """Yield an executor to a run, which must have waited for all of its work when it leaves."""
    workers = (config or {}).get("max_concurrency")
    executor, generation = _IDLE.take(workers)
    try:
        yield executor
    except BaseException:
        # The run may not have waited.
        executor.shutdown()
        raise
    _IDLE.leave(workers, executor, generation)


class _IdleExecutors:
    """Idle executors, by their number of threads. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._idle: list[tuple[int | None, Executor]] = []
        # Executors taken before the last release are not kept.
        self._generation = 0

    def take(self, workers: int | None) -> tuple[Executor, int]:
        """Return the most recently used idle executor, or a new one, and its generation."""
        with self._lock:
            for place in reversed(range(len(self._idle))):
                if self._idle[place][0] == workers:
                    return self._idle.pop(place)[1], self._generation
            return ContextThreadPoolExecutor(max_workers=workers), self._generation

    def leave(self, workers: int | None, executor: Executor, generation: int) -> None:
        """Keep an executor for others, or end its threads."""
        with self._lock:
            if generation == self._generation and len(self._idle) < _MAX_IDLE:
                self._idle.append((workers, executor))
                return
        executor.shutdown()

    def release(self) -> None:
        """End all threads; those in use end when they are returned."""
        with self._lock:
            idle, self._idle = self._idle, []
            self._generation += 1
        for _, executor in idle:
            executor.shutdown()


_IDLE = _IdleExecutors()
renew_in_children(_IDLE, _IdleExecutors.__init__)


def release() -> None:
    """Let go of the threads."""
    _IDLE.release()


REPLACEMENTS = {"langgraph.pregel._executor:get_executor_for_config": executor_for_run}

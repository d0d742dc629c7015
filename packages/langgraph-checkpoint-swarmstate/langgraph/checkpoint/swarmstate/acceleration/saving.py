"""Batching the writes of a sync run to our saver, mostly without another thread.

LangGraph hands each checkpoint and each task's writes to a thread pool that it creates for the
run. Here they are encoded immediately, as they are at that moment, and then queued. The whole
queue is written in order, in one round trip, by whichever comes first: the run itself, when it
would have to wait (at its end, and with `durability="sync"` after each superstep), or a helper
thread, for runs that take longer. Nothing is acknowledged earlier than before.
"""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from inspect import unwrap
from threading import Lock
from typing import TYPE_CHECKING, Any

from langgraph.pregel import _executor
from langgraph.pregel._executor import BackgroundExecutor
from langgraph.pregel._loop import SyncPregelLoop

from swarmstate.forking import renew_in_children

from ..saver import SwarmStateSaver
from .storing import LINGER, Storing, batches_of, storing_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from langchain_core.runnables import RunnableConfig

_MAX_HELPERS = 32

_stock_put: Any = SyncPregelLoop._checkpointer_put_after_previous
# Unwrapped, because a profile may be measuring them right now.
_OURS = {name: unwrap(getattr(SwarmStateSaver, name)) for name in ("put", "put_writes")}


class _Saving(Future[Any]):
    """A queued checkpoint or a task's queued writes; a thread that waits for it helps to write.

    Attributes:
        storing: The work to do; deleted when done, because it refers back to the run.
    """

    def __init__(self, line: _Line, storing: Storing) -> None:
        super().__init__()
        self._line = line
        self.storing = storing

    def result(self, timeout: float | None = None) -> Any:
        """Return the result, writing the queue first if it is not done."""
        if not self.done():
            self._line.work()
        return super().result(timeout)

    def store(self, *, as_prepared: bool) -> bool:
        """Store it by itself: as prepared, or by the call that LangGraph asked for.

        Returns:
            Whether it succeeded.
        """
        storing = self.storing
        try:
            result = storing.context.run(storing.store if as_prepared else storing.call)
        except Exception as error:
            self.set_exception(error)
            del self.storing
            return False
        self.finish(result)
        return True

    def finish(self, result: Any = None) -> None:
        """Set the result."""
        self.set_result(result)
        del self.storing


class _Line:
    """The queue of what a run has given its saver and is not written yet, in order.

    Attributes:
        saver: The saver.
    """

    def __init__(self, saver: SwarmStateSaver) -> None:
        self.saver = saver
        self._waiting: deque[_Saving] = deque()
        # Held while writing.
        self._busy = Lock()
        # Whether a helper was called. Accessed without a lock: at worst two are called.
        self._called = False
        # After a failure, LangGraph's calls are made one by one: a checkpoint must not be
        # stored unless those before it were.
        self._failed = False

    def add(self, saving: _Saving) -> None:
        """Add to the queue, and make sure that it is written even if the run is busy for long."""
        if not self._failed:
            saving.storing.prepare()
        self._waiting.append(saving)
        if not self._called:
            self._called = True
            _HELPERS.submit(self._help)

    def work(self) -> None:
        """Write the queue, and return when everything that was in it is written."""
        while self._waiting or self._busy.locked():
            with self._busy:
                if self._waiting:
                    self._take()

    def _help(self) -> None:
        time.sleep(LINGER)
        self.work()
        self._called = False
        # Whatever was queued before this line counted on this helper.
        self.work()

    def _take(self) -> None:
        together: list[_Saving] = []
        while self._waiting:
            together.append(self._waiting.popleft())
        try:
            self._save(together)
        except BaseException:
            # The run is being interrupted, but what it did must still be stored.
            self._waiting.extendleft(each for each in reversed(together) if not each.done())
            _HELPERS.submit(self._help)
            raise

    def _save(self, together: list[_Saving]) -> None:
        storings = [saving.storing for saving in together]
        if not self._failed and all(storing.write for storing in storings):
            try:
                storings[0].context.run(self.saver.store.write, batches_of(storings))
            except Exception:
                # It may have been stored. Try each by itself: storing twice changes nothing.
                pass
            else:
                for saving in together:
                    saving.storing.written()
                    saving.finish()
                return
        for saving in together:
            as_prepared = not self._failed and saving.storing.is_prepared
            if not saving.store(as_prepared=as_prepared):
                self._failed = True


class LiningExecutor(BackgroundExecutor):
    """LangGraph's executor, with a queue for our saver and threads created only on demand."""

    def __init__(self, config: RunnableConfig) -> None:
        self.stack = ExitStack()
        self.tasks = {}
        self._config = config
        self._executor: Executor | None = None
        self._lock = Lock()
        self._line: _Line | None = None

    @property
    def executor(self) -> Executor:  # type: ignore[override]  # nobody sets it
        """The run's own threads."""
        with self._lock:
            if self._executor is None:
                # LangGraph's own executor, or the one that another patch installed.
                make = _executor.get_executor_for_config  # type: ignore[attr-defined]  # imported
                self._executor = self.stack.enter_context(make(self._config))
            return self._executor

    def submit(self, fn: Callable[..., Any], *args: Any, **options: Any) -> Future[Any]:
        """Run a function: queue calls of our saver, and run any other on a thread."""
        storing = None if options else storing_of(fn, args, _stock_put, _OURS)
        if storing is None:
            return super().submit(fn, *args, **options)
        if self._line is None:
            self._line = _Line(storing.saver)
        saving = _Saving(self._line, storing)
        self.tasks[saving] = (False, True)
        saving.add_done_callback(self.done)
        self._line.add(saving)
        return saving

    def __exit__(self, *exc: Any) -> bool | None:
        """Write the queue, and exit like LangGraph's executor."""
        self._write()
        try:
            return super().__exit__(*exc)
        finally:
            # A task may have ended only now, while a run that gave up waited for it.
            self._write()

    def _write(self) -> None:
        if self._line is not None:
            self._line.work()


class _Helpers:
    """Helper threads that write queues; created on demand, gone after `release`."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._pool: ThreadPoolExecutor | None = None

    def submit(self, help: Callable[[], None]) -> None:
        """Have a helper thread write a queue."""
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(_MAX_HELPERS, "swarmstate-saving")
            self._pool.submit(help)

    def release(self) -> None:
        """Let the threads end once their work is done."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False)


_HELPERS = _Helpers()
renew_in_children(_HELPERS, _Helpers.__init__)


def release() -> None:
    """Release the patch's resources."""
    _HELPERS.release()


REPLACEMENTS = {"langgraph.pregel._loop:BackgroundExecutor": LiningExecutor}

"""What a run gives our saver goes to the store together, and mostly without another thread.

LangGraph hands each checkpoint and each task's writes to a pool of threads that it makes for
the run. Here they are encoded at once, as they are at that moment, and then line up. Whoever
comes first takes all that wait, in their order, and writes them in one round trip: the run
itself when it would have to wait for them, which is at its end and with `durability="sync"`
after each superstep, or a thread that looks after the lines of runs that take longer. Nothing is
acknowledged earlier than before.
"""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from contextvars import copy_context
from inspect import unwrap
from threading import Lock
from typing import TYPE_CHECKING, Any

from langgraph.pregel import _executor
from langgraph.pregel._executor import BackgroundExecutor
from langgraph.pregel._loop import SyncPregelLoop

from swarmstate.operations import Write

from ..saver import SwarmStateSaver
from ..writing import put_writes
from .forking import renew_in_children

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from langchain_core.runnables import RunnableConfig

    from swarmstate.operations import Operation

# Seconds that a line is left to its run, which writes it without waking a thread if it ends in
# time. What a crash may lose without `durability="sync"` grows by as much.
_LINGER = 0.002
_MAX_HELPERS = 32

_stock_put: Any = SyncPregelLoop._checkpointer_put_after_previous
# Unwrapped: they may be being measured at the moment.
_OUR_PUT: Any = unwrap(SwarmStateSaver.put)
_OUR_PUT_WRITES: Any = unwrap(SwarmStateSaver.put_writes)


class _Saving(Future[Any]):
    """A checkpoint or a task's writes in a line; waiting for it helps.

    Attributes:
        write: What is to be written; None if the saver must be asked once more.
    """

    def __init__(self, line: _Line, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        super().__init__()
        self._line = line
        self._context = copy_context()
        self._function = function
        self._args = args
        self._operation: Operation[Any] | None = None
        self.write: Write | None = None

    def result(self, timeout: float | None = None) -> Any:
        """Return the result, as a future does."""
        if not self.done():
            self._line.work()
        return super().result(timeout)

    def prepare(self) -> None:
        """Encode what is to be written. What follows may rely on it, and expects it to be there."""
        # Whatever goes wrong goes wrong again, and is reported, when LangGraph's own call is made.
        with suppress(Exception):
            operation = self._begin(self._line.saver)
            request = next(operation)
            if isinstance(request, Write):
                self._operation, self.write = operation, request

    def write_with(self, others: list[_Saving]) -> None:
        """Write this and what follows it in one round trip.

        Raises:
            Exception: The store could not, or not all of it.
        """
        batches = [batch for each in (self, *others) if each.write for batch in each.write.batches]
        self._context.run(self._line.saver.store.write, batches)

    def call(self) -> bool:
        """Make the call that LangGraph asked for, and tell whether it succeeded."""
        try:
            result = self._context.run(self._function, *self._args)
        except Exception as error:
            self.set_exception(error)
            self._let_go()
            return False
        self._finish(result)
        return True

    def written(self) -> None:
        """Take note that the write succeeded."""
        if self._operation is not None:
            with suppress(StopIteration):
                self._operation.send(None)
        self._finish(None)

    def _finish(self, result: Any) -> None:
        self.set_result(result)
        self._let_go()

    def _let_go(self) -> None:
        """Refer no longer to the run, which has this future: only when it is done."""
        del self._function, self._args
        self._operation = self.write = None

    def _begin(self, saver: SwarmStateSaver) -> Operation[Any]:
        if getattr(self._function, "__func__", None) is _stock_put:
            _, _, config, checkpoint, metadata, new_versions = self._args
            return saver._put(config, checkpoint, metadata, new_versions)
        config, writes, task_id, *path = self._args
        return put_writes(
            saver._values(), config, writes, task_id, path[0] if path else "", saver.ttl
        )


class _Line:
    """What a run has given its saver and is not written yet, in the order it came.

    Attributes:
        saver: The saver.
    """

    def __init__(self, saver: SwarmStateSaver) -> None:
        self.saver = saver
        self._waiting: deque[_Saving] = deque()
        # Held by whoever writes.
        self._busy = Lock()
        # Whether a helper is on its way. Read and set without a lock: at worst there are two.
        self._called = False
        # After a failure LangGraph's calls are made one by one: a checkpoint must not be
        # stored if one before it was not.
        self._failed = False

    def add(self, saving: _Saving) -> None:
        """Take something in, and see to it that it is written even if the run is busy for long."""
        if not self._failed:
            saving.prepare()
        self._waiting.append(saving)
        if not self._called:
            self._called = True
            _HELPERS.submit(self._help)

    def work(self) -> None:
        """Write all there is; returns when everything that was there is written."""
        while self._waiting or self._busy.locked():
            with self._busy:
                if self._waiting:
                    self._take()

    def _help(self) -> None:
        time.sleep(_LINGER)
        self.work()
        self._called = False
        # What came before that counted on this helper.
        self.work()

    def _take(self) -> None:
        together: list[_Saving] = []
        while self._waiting:
            together.append(self._waiting.popleft())
        try:
            self._save(together)
        except BaseException:
            # The run is being interrupted, but what it did is to be stored.
            self._waiting.extendleft(each for each in reversed(together) if not each.done())
            _HELPERS.submit(self._help)
            raise

    def _save(self, together: list[_Saving]) -> None:
        if not self._failed and all(saving.write for saving in together):
            try:
                together[0].write_with(together[1:])
            except Exception:
                # Stored or not, each is tried by itself: storing twice changes nothing.
                pass
            else:
                for saving in together:
                    saving.written()
                return
        for saving in together:
            if not saving.call():
                self._failed = True


class LiningExecutor(BackgroundExecutor):
    """LangGraph's executor with a line for our saver, and threads only when one is needed."""

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
                # LangGraph's own, or what another patch put in its place.
                make = _executor.get_executor_for_config  # type: ignore[attr-defined]
                self._executor = self.stack.enter_context(make(self._config))
            return self._executor

    def submit(self, fn: Callable[..., Any], *args: Any, **options: Any) -> Future[Any]:
        """Have a function called, ours in line and any other by a thread."""
        saver = None if options else _saver_of(fn)
        if saver is None:
            return super().submit(fn, *args, **options)
        if self._line is None:
            self._line = _Line(saver)
        saving = _Saving(self._line, fn, args)
        self.tasks[saving] = (False, True)
        saving.add_done_callback(self.done)
        self._line.add(saving)
        return saving

    def __exit__(self, *exc: Any) -> bool | None:
        """Write what is in line, and end as LangGraph's executor does."""
        self._write()
        try:
            return super().__exit__(*exc)
        finally:
            # A task may have ended only now, because the run that gave up has waited for it.
            self._write()

    def _write(self) -> None:
        if self._line is not None:
            self._line.work()


def _saver_of(function: Any) -> SwarmStateSaver | None:
    """Return our saver if the function is how LangGraph has it store something."""
    owner: Any = getattr(function, "__self__", None)
    if getattr(function, "__func__", None) is _stock_put:
        owner = owner.checkpointer
    elif getattr(function, "__name__", "") != "put_writes":
        return None
    if not isinstance(owner, SwarmStateSaver):
        return None
    # Whoever measures a saver, or makes one of their own, is called as LangGraph calls it.
    cls = type(owner)
    plain = cls.put is _OUR_PUT and cls.put_writes is _OUR_PUT_WRITES
    return owner if plain and not {"put", "put_writes"} & vars(owner).keys() else None


class _Helpers:
    """Threads that look after lines; there are none until one is needed, and after `release`."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._pool: ThreadPoolExecutor | None = None

    def submit(self, help: Callable[[], None]) -> None:
        """Have a line looked after."""
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(_MAX_HELPERS, "swarmstate-saving")
            self._pool.submit(help)

    def release(self) -> None:
        """Let the threads end when they have done what they were asked."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False)


_HELPERS = _Helpers()
renew_in_children(_HELPERS)


def release() -> None:
    """Let go of what the patch needs beside its replacements."""
    _HELPERS.release()


REPLACEMENTS = {"langgraph.pregel._loop:BackgroundExecutor": LiningExecutor}

"""Batching the writes of an async run to our saver; the async counterpart of `saving`.

LangGraph creates a task for each checkpoint, which waits for the previous one, and for each
task's writes. Here they are encoded immediately and queued. The queue is written in one round
trip when the run ends or waits for it, which with `durability="sync"` is after each superstep,
and otherwise after a short delay. A node that blocks the event loop prolongs that delay. Memory
is written immediately, which takes less time than queueing.
"""

from __future__ import annotations

import asyncio
from inspect import unwrap
from typing import TYPE_CHECKING, Any

from langgraph.pregel._executor import AsyncBackgroundExecutor
from langgraph.pregel._loop import AsyncPregelLoop

from swarmstate import Store

from ..saver import SwarmStateSaver
from .storing import LINGER, Storing, batches_of, storing_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from langchain_core.runnables import RunnableConfig

_stock_put: Any = AsyncPregelLoop._checkpointer_put_after_previous
# Unwrapped, because a profile may be measuring them right now.
_OURS = {name: unwrap(getattr(SwarmStateSaver, name)) for name in ("aput", "aput_writes")}


class _Saving(asyncio.Future[Any]):
    """A queued checkpoint or a task's queued writes; awaiting it writes the queue right away.

    Attributes:
        storing: The work to do; deleted when done, because it refers back to the run.
    """

    def __init__(self, line: _Line, storing: Storing) -> None:
        super().__init__(loop=line.loop)
        self._line = line
        self.storing = storing

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait for the result, like any future."""
        if not self.done():
            self._line.write()
        return (yield from super().__await__())

    def finish(self, error: BaseException | None = None) -> None:
        """Set the result, unless the waiter has given up."""
        del self.storing
        if self.done():
            return
        if error is None:
            self.set_result(None)
        elif isinstance(error, asyncio.CancelledError):
            self.cancel()
        else:
            self.set_exception(error)


class _Line:
    """The queue of what a run has given its saver and is not written yet, in order.

    Attributes:
        loop: The run's event loop; nothing else may use the queue.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, saver: SwarmStateSaver) -> None:
        self.loop = loop
        self._saver = saver
        self._waiting: list[_Saving] = []
        self._timer: asyncio.TimerHandle | None = None
        self._is_writing = False
        self._writer: asyncio.Task[None] | None = None
        # After a failure, LangGraph's calls are made one by one: a checkpoint must not be
        # stored unless those before it were.
        self._failed = False
        self._is_memory = type(saver.store) is Store

    def add(self, saving: _Saving) -> None:
        """Add to the queue, and make sure that it is written even if the run goes on for long."""
        if not self._failed:
            saving.storing.prepare()
        if self._is_memory and self._store_now(saving):
            return
        self._waiting.append(saving)
        if self._timer is None and not self._is_writing:
            self._timer = self.loop.call_later(LINGER, self.write)

    def _store_now(self, saving: _Saving) -> bool:
        """Store it in memory, unless others come first; return whether that succeeded."""
        if self._waiting or self._is_writing or not saving.storing.is_prepared:
            return False
        try:
            saving.storing.context.run(saving.storing.store)
        except Exception:
            # The queue tries it once more, and reports what happens then.
            return False
        saving.finish()
        return True

    def write(self) -> None:
        """Start writing the whole queue."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting and not self._is_writing:
            self._is_writing = True
            # In the context of the first call in the queue.
            context = self._waiting[0].storing.context
            self._writer = context.run(self.loop.create_task, self._write_all())
            self._writer.add_done_callback(self._ended)

    async def end(self) -> None:
        """Write the whole queue, and return when it is written."""
        self.write()
        if self._writer is not None:
            # If this is cancelled, the write still goes on.
            await asyncio.wait([self._writer])

    def _ended(self, writer: asyncio.Task[None]) -> None:
        if writer is self._writer and self._is_writing:
            # Cancelled before it began, as when a loop is closed, it took nothing off the queue.
            self._is_writing = False
            self.write()

    async def _write_all(self) -> None:
        together: list[_Saving] = []
        try:
            while self._waiting:
                together, self._waiting = self._waiting, []
                await self._save(together)
        except BaseException as error:
            # The loop is being closed, or worse: give up the writes, as tasks are given up.
            given_up, self._waiting = [*together, *self._waiting], []
            for saving in given_up:
                if not saving.done():
                    saving.finish(error)
            raise
        finally:
            self._is_writing = False

    async def _save(self, together: list[_Saving]) -> None:
        storings = [saving.storing for saving in together]
        if not self._failed and all(storing.write for storing in storings):
            try:
                await self._saver.store.awrite(batches_of(storings))
            except Exception:
                # It may have been stored. Try each by itself: storing twice changes nothing.
                pass
            else:
                for saving in together:
                    saving.storing.written()
                    saving.finish()
                return
        for saving in together:
            storing = saving.storing
            as_prepared = not self._failed and storing.is_prepared
            work = storing.astore() if as_prepared else storing.call()
            stored = storing.context.run(self.loop.create_task, work)
            # It may be cancelled because the previous one was; the others are still stored.
            await asyncio.wait([stored])
            error = asyncio.CancelledError() if stored.cancelled() else stored.exception()
            self._failed = self._failed or error is not None
            saving.finish(error)


class LiningAsyncExecutor(AsyncBackgroundExecutor):
    """LangGraph's executor, with a queue for our saver."""

    def __init__(self, config: RunnableConfig) -> None:
        super().__init__(config)
        self._line: _Line | None = None

    def submit(self, fn: Callable[..., Any], *args: Any, **options: Any) -> asyncio.Future[Any]:
        """Run a function: queue calls of our saver, and run any other as a task."""
        storing = None
        if not options and asyncio._get_running_loop() is self.loop:
            storing = storing_of(fn, args, _stock_put, _OURS)
        if storing is None:
            return super().submit(fn, *args, **options)
        if self._line is None:
            self._line = _Line(self.loop, storing.saver)
        saving = _Saving(self._line, storing)
        self._line.add(saving)
        if not saving.done():
            self.tasks[saving] = (False, True)
            saving.add_done_callback(self.done)
        return saving

    async def __aexit__(self, *exc: Any) -> None:
        """Write the queue, and exit like LangGraph's executor."""
        if self._line is not None:
            self._line.write()
        is_awaited = True
        try:
            await super().__aexit__(*exc)
        except asyncio.CancelledError:
            is_awaited = False
            raise
        finally:
            # A task may have ended only now, while a run that gave up waited for it.
            if self._line is not None:
                self._line.write()
                if is_awaited:
                    await self._line.end()


REPLACEMENTS = {"langgraph.pregel._loop:AsyncBackgroundExecutor": LiningAsyncExecutor}

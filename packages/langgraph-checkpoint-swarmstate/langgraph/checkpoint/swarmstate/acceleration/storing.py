"""LangGraph's calls of our saver, encoded immediately so that several can be written together."""

from __future__ import annotations

from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from swarmstate.operations import Write, adrive, drive

from ..saver import SwarmStateSaver
from ..writing import put_writes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from swarmstate import Batch
    from swarmstate.operations import Operation, Step

# Seconds for which a queue is left to its run, which writes all of it if it ends in time. Without
# `durability="sync"`, a crash may lose what was queued in that time.
LINGER = 0.002


class Storing:
    """A call by which LangGraph stores a checkpoint, or what a task wrote, with our saver.

    Attributes:
        saver: The saver.
        context: The context to make the call in.
    """

    def __init__(
        self,
        saver: SwarmStateSaver,
        is_checkpoint: bool,
        function: Callable[..., Any],
        args: tuple[Any, ...],
    ) -> None:
        self.saver = saver
        self.context = copy_context()
        self._step: Step | None = None
        self._is_checkpoint = is_checkpoint
        self._function = function
        self._args = args
        self._operation: Operation[Any] | None = None

    def prepare(self) -> None:
        """Encode what is to be written; later calls may rely on it and expect it to exist."""
        # Any failure recurs, and is reported, when LangGraph's own call is made.
        with suppress(Exception):
            operation = self._begin()
            self._step = next(operation)
            self._operation = operation

    @property
    def is_prepared(self) -> bool:
        """Whether it is encoded; if not, the saver must be called again.

        An encoded call must be stored as it is: later ones may rely on where its values were
        cut, and the values themselves may have changed since.
        """
        return self._operation is not None

    @property
    def write(self) -> Write | None:
        """The write, if nothing has to be read first; otherwise None."""
        return self._step if isinstance(self._step, Write) else None

    def store(self) -> None:
        """Do the prepared work by itself; if interrupted, it can be repeated."""
        drive(self.saver.store, self._rest())

    async def astore(self) -> None:
        """Do the prepared work, like `store`."""
        await adrive(self.saver.store, self._rest())

    def call(self) -> Any:
        """Make the call that LangGraph asked for."""
        return self._function(*self._args)

    def written(self) -> None:
        """Record that the write succeeded."""
        if self._operation is not None:
            with suppress(StopIteration):
                self._operation.send(None)

    def _rest(self) -> Operation[None]:
        operation = self._operation
        with suppress(StopIteration):
            while operation is not None and self._step is not None:
                try:
                    answer = yield self._step
                except Exception as error:
                    self._step = operation.throw(error)
                else:
                    self._step = operation.send(answer)

    def _begin(self) -> Operation[Any]:
        saver = self.saver
        if self._is_checkpoint:
            _, _, config, checkpoint, metadata, new_versions = self._args
            return saver._put(config, checkpoint, metadata, new_versions)
        config, writes, task_id, *path = self._args
        return put_writes(
            saver._values(), config, writes, task_id, path[0] if path else "", saver.ttl
        )


def batches_of(storings: Sequence[Storing]) -> list[Batch]:
    """Return the batches of all of them, in order."""
    return [batch for each in storings if each.write for batch in each.write.batches]


def storing_of(
    function: Any, args: tuple[Any, ...], stock_put: Any, ours: dict[str, Any]
) -> Storing | None:
    """Return a call as `Storing`, if it is one by which LangGraph stores something with our saver.

    Args:
        function: The function that is called.
        args: Its arguments.
        stock_put: The function by which LangGraph stores checkpoints.
        ours: The methods of our saver for checkpoints and writes, by name.
    """
    owner: Any = getattr(function, "__self__", None)
    is_checkpoint = getattr(function, "__func__", None) is stock_put
    if is_checkpoint:
        owner = owner.checkpointer
    elif getattr(function, "__name__", "") not in ours:
        return None
    # A measured saver, or a subclass with its own methods, is called just as LangGraph calls it.
    if (
        not isinstance(owner, SwarmStateSaver)
        or ours.keys() & vars(owner).keys()
        or any(getattr(type(owner), name) is not method for name, method in ours.items())
    ):
        return None
    return Storing(owner, is_checkpoint, function, args)

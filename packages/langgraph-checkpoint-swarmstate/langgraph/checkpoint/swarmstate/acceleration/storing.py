"""LangGraph's calls of our saver, encoded when they come, so that several are written together."""

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

# Seconds that a line is left to its run, which writes it at once if it ends in time. What a crash
# may lose without `durability="sync"` grows by as much.
LINGER = 0.002


class Storing:
    """How LangGraph has our saver store a checkpoint, or what a task wrote.

    Attributes:
        saver: The saver.
        context: What the call is made in.
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
        """Encode what is to be written. What follows may rely on it, and expects it to be there."""
        # Whatever goes wrong goes wrong again, and is reported, when LangGraph's own call is made.
        with suppress(Exception):
            operation = self._begin()
            self._step = next(operation)
            self._operation = operation

    @property
    def is_prepared(self) -> bool:
        """Whether it is encoded; if not, the saver must be asked once more.

        Then it is stored as it was encoded: what was encoded after it may rely on where its values
        were cut, and the values themselves may have been changed since.
        """
        return self._operation is not None

    @property
    def write(self) -> Write | None:
        """What is to be written, if nothing must be read before."""
        return self._step if isinstance(self._step, Write) else None

    def store(self) -> None:
        """Do what was prepared, by itself; if that is interrupted, it can be done again."""
        drive(self.saver.store, self._rest())

    async def astore(self) -> None:
        """Do what was prepared, as `store` does."""
        await adrive(self.saver.store, self._rest())

    def call(self) -> Any:
        """Make the call that LangGraph asked for."""
        return self._function(*self._args)

    def written(self) -> None:
        """Take note that the write succeeded."""
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
    """Return what is to be written for all of them, in their order."""
    return [batch for each in storings if each.write for batch in each.write.batches]


def storing_of(
    function: Any, args: tuple[Any, ...], stock_put: Any, ours: dict[str, Any]
) -> Storing | None:
    """Return what a call is if it is how LangGraph has our saver store something.

    Args:
        function: What is called.
        args: What it is given.
        stock_put: What LangGraph stores checkpoints by.
        ours: The methods of our saver for checkpoints and writes, by their names.
    """
    owner: Any = getattr(function, "__self__", None)
    is_checkpoint = getattr(function, "__func__", None) is stock_put
    if is_checkpoint:
        owner = owner.checkpointer
    elif getattr(function, "__name__", "") not in ours:
        return None
    # Whoever measures a saver, or makes one of their own, is called as LangGraph calls it.
    if (
        not isinstance(owner, SwarmStateSaver)
        or ours.keys() & vars(owner).keys()
        or any(getattr(type(owner), name) is not method for name, method in ours.items())
    ):
        return None
    return Storing(owner, is_checkpoint, function, args)

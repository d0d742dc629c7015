"""What an import reads, whichever database it is in."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from swarmstate import Codec
from swarmstate.errors import DecodeError, StoreFormatError

from ..serde import SwarmStateSerializer

if TYPE_CHECKING:
    from langgraph.checkpoint.base import Checkpoint, CheckpointMetadata


class Id(NamedTuple):
    """A checkpoint of a thread."""

    checkpoint_ns: str
    checkpoint_id: str


class StoredWrite(NamedTuple):
    """A pending write; its value is `(type, bytes)`."""

    task_id: str
    task_path: str
    idx: int
    channel: str
    value: tuple[str, bytes]

    @classmethod
    def of_row(cls, row: tuple[Any, ...]) -> StoredWrite:
        """Return the write of a row that has these columns, the value's type before its bytes.

        Raises:
            StoreFormatError: A name is no text, which SQLite does not see to.
        """
        task_id, task_path, idx, channel, type_, data = row
        if not (isinstance(task_id, str) and isinstance(channel, str)):
            raise StoreFormatError(
                "expected a pending write to name its task and channel as text, found "
                f"{task_id!r} and {channel!r}"
            )
        return cls(task_id, task_path, idx, channel, (type_, data))


class SourceCheckpoint(NamedTuple):
    """A checkpoint as it is stored, its values decoded."""

    id: Id
    parent: str | None
    checkpoint: Checkpoint
    metadata: CheckpointMetadata


class Source(Protocol):
    """A database of one of LangGraph's savers, read from one consistent view."""

    def threads(self) -> list[str]:
        """Return the ids of all threads that have checkpoints or writes."""

    def ids(self, thread_id: str) -> list[Id]:
        """Return the checkpoints of a thread, in the order of `checkpoints`."""

    def checkpoints(self, thread_id: str) -> Iterator[SourceCheckpoint]:
        """Yield the checkpoints of a thread: parents before children."""

    def written(self, thread_id: str) -> list[Id]:
        """Return the checkpoints that have pending writes, whether they exist or not."""

    def writes(self, thread_id: str, checkpoint: Id) -> list[StoredWrite]:
        """Return the pending writes of a checkpoint, in any order."""

    def close(self) -> None:
        """Release what it holds."""


class ExactSerializer(SwarmStateSerializer):
    """Reads what LangGraph's serializer wrote, or raises: it never gives a stand-in.

    LangGraph reads an object whose class is missing or not allowed as the data it
    was made of. To store that again would lose the object for good.
    """

    @cached_property
    def _codec(self) -> Codec:
        allowed, method_allowed = self._rule()

        def check(module: str, name: str) -> bool:
            if not allowed(module, name):
                raise _blocked(f"{module}.{name}")
            return True

        def check_method(module: str, name: str, method: str) -> bool:
            if not method_allowed(module, name, method):
                raise _blocked(f"{module}.{name}.{method}")
            return True

        return Codec.delegated(
            safe=self._silently_allowed(),
            check=check,
            check_method=check_method,
            fallback=self._stand_in,
        )

    def _stand_in(self, module: str, name: str, payload: Any, error: Exception) -> Any:
        if isinstance(error, DecodeError):
            raise error
        raise DecodeError(
            f"an object of {module}.{name} cannot be rebuilt ({type(error).__name__}: {error}); "
            "its class must be importable, for instance with PYTHONPATH set to your project"
        ) from error


def _blocked(name: str) -> DecodeError:
    return DecodeError(
        f"{name} is not allowed; allow it with LangGraph's allowed_msgpack_modules, or import "
        "without LANGGRAPH_STRICT_MSGPACK"
    )

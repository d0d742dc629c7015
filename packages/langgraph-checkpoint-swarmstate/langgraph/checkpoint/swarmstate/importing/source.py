"""The interface of the databases that imports read from, and their shared code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from enum import Enum
from functools import cached_property
from importlib import import_module
from inspect import isclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from langgraph.checkpoint.serde._msgpack import SAFE_MSGPACK_TYPES
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from swarmstate import Codec
from swarmstate.errors import DecodeError, StoreFormatError

from ..serde import SwarmStateSerializer

if TYPE_CHECKING:
    from langgraph.checkpoint.base import Checkpoint, CheckpointMetadata
    from langgraph.checkpoint.serde.base import SerializerProtocol


# The first releases stored objects as JSON, with the path of their constructor. These have moved
# since, or are plain data that msgpack now writes itself.
_MOVED = {("langgraph.constants", "Send"): ("langgraph.types", "Send")}
_PLAIN = {("builtins", "bytes"): "fromhex", ("builtins", "bytearray"): "fromhex"}


class Id(NamedTuple):
    """A checkpoint of a thread."""

    checkpoint_ns: str
    checkpoint_id: str

    @classmethod
    def of_row(cls, checkpoint_ns: object, checkpoint_id: object) -> Id:
        """Return the id in a row.

        Raises:
            StoreFormatError: A name is not a string, which SQLite does not enforce.
        """
        if not (isinstance(checkpoint_ns, str) and isinstance(checkpoint_id, str)):
            raise StoreFormatError(
                "expected checkpoint ids and namespaces to be strings, found "
                f"{checkpoint_id!r:.80} (checkpoint_ns {checkpoint_ns!r:.80})"
            )
        return cls(checkpoint_ns, checkpoint_id)


class StoredWrite(NamedTuple):
    """A pending write; its value is `(type, bytes)`."""

    task_id: str
    task_path: str
    idx: int
    channel: str
    value: tuple[str, bytes]

    @classmethod
    def of_row(cls, row: tuple[Any, ...]) -> StoredWrite:
        """Return the write in a row with these columns, the value as its type and its bytes.

        Raises:
            StoreFormatError: A name is not a string, or the index not an int, which SQLite does
                not enforce.
        """
        task_id, task_path, idx, channel, type_, data = row
        if not all(isinstance(name, str) for name in (task_id, task_path, channel)):
            raise StoreFormatError(
                "expected the task id, task path and channel of a pending write to be strings, "
                f"found {task_id!r:.80}, {task_path!r:.80} and {channel!r:.80}"
            )
        if not isinstance(idx, int):
            raise StoreFormatError(
                f"expected the index of a pending write of task {task_id!r:.80} to be an int, "
                f"found {idx!r:.80}"
            )
        return cls(task_id, task_path, idx, channel, (type_, data))


class SourceCheckpoint(NamedTuple):
    """A checkpoint as stored in the source, with its values decoded."""

    id: Id
    parent: str | None
    checkpoint: Checkpoint
    metadata: CheckpointMetadata


class Source(Protocol):
    """A database of one of LangGraph's savers, read as one consistent snapshot."""

    def threads(self) -> list[str]:
        """Return the ids of all threads that have checkpoints or writes."""

    def ids(self, thread_id: str) -> list[Id]:
        """Return the checkpoints of a thread, in the order of `checkpoints`."""

    def checkpoints(self, thread_id: str) -> Iterator[SourceCheckpoint]:
        """Yield the checkpoints of a thread, parents before children."""

    def written(self, thread_id: str) -> list[Id]:
        """Return the checkpoints that have pending writes, even if they do not exist."""

    def writes(self, thread_id: str, checkpoint: Id) -> list[StoredWrite]:
        """Return the pending writes of a checkpoint, in any order."""

    def close(self) -> None:
        """Release all resources."""


def checked(found: SourceCheckpoint) -> SourceCheckpoint:
    """Return a decoded checkpoint after checking its form.

    Raises:
        StoreFormatError: It is not a checkpoint.
    """
    parts: Any = found.checkpoint
    for name in ("channel_values", "channel_versions", "versions_seen"):
        if not isinstance(parts, dict) or not isinstance(parts.get(name), dict):
            raise damaged(found.id, ValueError(f"expected a checkpoint with a dict of {name}"))
    if not isinstance(found.metadata, dict):
        raise damaged(found.id, ValueError("expected its metadata to be a dict"))
    return found


def damaged(checkpoint: Id, error: Exception) -> StoreFormatError:
    """Return the error for a checkpoint that cannot be decoded."""
    return StoreFormatError(
        f"checkpoint {checkpoint.checkpoint_id!r} (checkpoint_ns {checkpoint.checkpoint_ns!r}) "
        f"cannot be read: {error}"
    )


class ExactSerializer(SwarmStateSerializer):
    """Reads what LangGraph's serializer wrote, or raises; it never returns a stand-in.

    If an object's class is missing or not allowed, LangGraph returns the data that the
    object was built from. Storing that again would lose the object for good.
    """

    @cached_property
    def _codec(self) -> Codec:
        check, check_method = self._checks
        return Codec.delegated(
            safe=self._silently_allowed(),
            check=check,
            check_method=check_method,
            fallback=self._stand_in,
        )

    @cached_property
    def _checks(self) -> tuple[Callable[[str, str], bool], Callable[[str, str, str], bool]]:
        """The checks that raise unless a class, or a method of a class, may be used."""
        allowed, method_allowed = self._rule()

        def check(module: str, name: str) -> bool:
            if not allowed(module, name):
                raise _blocked(f"{module}.{name}")
            return True

        def check_method(module: str, name: str, method: str) -> bool:
            if not method_allowed(module, name, method):
                raise _blocked(f"{module}.{name}.{method}")
            return True

        return check, check_method

    def _reviver(self, value: dict[str, Any]) -> Any:
        """Rebuild an object stored as JSON, under the same rule as for msgpack."""
        if (value.get("lc"), value.get("type")) != (2, "constructor"):
            return super()._reviver(value)
        [*modules, last] = value["id"]
        module, name = _MOVED.get((".".join(modules), last), (".".join(modules), last))
        # Models list several constructors, the usual one first.
        methods = value.get("method")
        method = methods[0] if isinstance(methods, list) else methods
        args, kwargs = value.get("args") or (), value.get("kwargs") or {}
        check, check_method = self._checks
        if method is None:
            check(module, name)
        elif _PLAIN.get((module, name)) != method:
            check_method(module, name, method)
        try:
            make = getattr(import_module(module), name)
            if method is not None:
                make = getattr(make, method)
            elif (module, name) not in SAFE_MSGPACK_TYPES and not _holds_data(make):
                raise TypeError("it is not a dataclass, enum or model")
            return make(*args, **kwargs)
        except Exception as error:
            return self._stand_in(module, name, (args, kwargs), error)

    def _stand_in(
        self, module: str, name: str, payload: Any, error: Exception, is_model: bool = False
    ) -> Any:
        if isinstance(error, DecodeError):
            raise error
        raise DecodeError(
            f"cannot rebuild an instance of {module}.{name} ({type(error).__name__}: {error}); "
            "its class must be importable, e.g. with PYTHONPATH set to your project"
        ) from error


def exact(serde: SerializerProtocol | None) -> SerializerProtocol:
    """Return a serializer with the same rule about classes that never returns a stand-in.

    A serializer that is not LangGraph's is returned unchanged.
    """
    if serde is None:
        return ExactSerializer()
    if type(serde) is EncryptedSerializer:
        return EncryptedSerializer(serde.cipher, exact(serde.serde))
    if type(serde) not in (JsonPlusSerializer, SwarmStateSerializer):
        return serde
    found = ExactSerializer()
    vars(found).update({name: value for name, value in vars(serde).items() if name != "_codec"})
    return found


def _holds_data(found: Any) -> bool:
    """Whether this is a kind of class whose objects were stored as JSON.

    Calling anything else may have side effects, chosen by whoever can write to the database.
    """
    if not isclass(found):
        return False
    is_model = hasattr(found, "model_dump") or hasattr(found, "dict")
    return is_model or is_dataclass(found) or issubclass(found, Enum)


def _blocked(name: str) -> DecodeError:
    return DecodeError(
        f"{name} is not allowed; allow it with LangGraph's allowed_msgpack_modules, or import "
        "without LANGGRAPH_STRICT_MSGPACK"
    )

"""How checkpoints are read: one of them, or many at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.serde.types import TASKS

from swarmstate import Query, Range
from swarmstate.errors import CheckpointError, DecodeError

from .layout import (
    BLOBS,
    Address,
    checkpoints_prefix,
    parse_checkpoint_key,
    thread_namespace,
    writes_of,
)
from .records import (
    StoredCheckpoint,
    StoredWrite,
    decode_body,
    decode_checkpoint,
    decode_writes,
    describe,
)
from .requests import Operation, Read
from .values import Entry, Values

if TYPE_CHECKING:
    from langgraph.checkpoint.base import CheckpointMetadata
    from langgraph.checkpoint.serde.base import SerializerProtocol

# Before this version of its format LangGraph kept pending sends apart from the channels.
SENDS_ARE_CHANNEL = 4

T = TypeVar("T")

_ATTEMPTS = 3


def retry(operation: Callable[[], Operation[T]]) -> Operation[T]:
    """Read again if something is missing or damaged: it may have been pruned meanwhile.

    Raises:
        CheckpointError: It was so each time.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return (yield from operation())
        except CheckpointError:
            continue
    return (yield from operation())


class Reader:
    """Reads checkpoints; every method is an operation without I/O.

    Args:
        values: Joins channel values.
        serde: The saver's serializer.
        next_version: The saver's `get_next_version`, for old checkpoints whose
            pending sends become a channel.
        refresh: Seconds to live that reading a checkpoint gives its thread, or None.
    """

    def __init__(
        self,
        values: Values,
        serde: SerializerProtocol,
        next_version: Callable[[Any, None], Any],
        refresh: float | None,
    ) -> None:
        self._values = values
        self._serde = serde
        self._next_version = next_version
        self._refresh = refresh

    def get(self, address: Address) -> Operation[CheckpointTuple | None]:
        """Read a checkpoint, or the latest one, in at most two round trips.

        A checkpoint may be pruned between the two; then reading starts again,
        and only a blob that is missing while its checkpoint exists is an error.

        Raises:
            CheckpointError: The checkpoint is damaged.
        """
        return (yield from retry(lambda: self._get(address)))

    def _get(self, address: Address) -> Operation[CheckpointTuple | None]:
        stored, writes = yield from self._find(address)
        if stored is None:
            return None
        pending = _Pending(self._serde, stored, writes)
        [found] = yield from self._complete([pending], is_followed=True)
        return found

    def find(self, address: Address) -> Operation[StoredCheckpoint | None]:
        """Read the record of a checkpoint, or of the latest one."""
        stored, _ = yield from self._find(address)
        return stored

    def _find(
        self, address: Address
    ) -> Operation[tuple[StoredCheckpoint | None, list[StoredWrite] | None]]:
        """Read a record, together with its pending writes if the id is known beforehand."""
        namespace = thread_namespace(address.thread_id)
        prefix = checkpoints_prefix(address.checkpoint_ns)
        if address.checkpoint_id is None:
            latest = Range.of_prefix(prefix, reverse=True, limit=1)
            [answer] = yield Read([Query(namespace, (), (latest,), self._refresh)])
            if not answer.ranges[0]:
                return None, None
            key, record = answer.ranges[0][0]
            checkpoint_id, _ = parse_checkpoint_key(key)
            return decode_checkpoint(address._replace(checkpoint_id=checkpoint_id), record), None
        key = prefix + address.checkpoint_id
        [answer] = yield Read([Query(namespace, (key,), (writes_of(address),), self._refresh)])
        record = answer.values[0]
        if record is None:
            return None, None
        return decode_checkpoint(address, record), decode_writes(address, answer.ranges[0])

    def fetch(self, addresses: Sequence[Address]) -> Operation[list[StoredCheckpoint]]:
        """Read the records of checkpoints; those that no longer exist are left out."""
        keys: dict[str, list[str]] = {}
        for thread_id, checkpoint_ns, checkpoint_id in addresses:
            key = f"{checkpoints_prefix(checkpoint_ns)}{checkpoint_id}"
            keys.setdefault(thread_namespace(thread_id), []).append(key)
        answers = yield Read([Query(namespace, wanted) for namespace, wanted in keys.items()])
        records = {
            namespace: iter(answer.values) for namespace, answer in zip(keys, answers, strict=True)
        }
        found = []
        for address in addresses:
            record = next(records[thread_namespace(address.thread_id)])
            if record is not None:
                found.append(decode_checkpoint(address, record))
        return found

    def load(self, stored: Iterable[StoredCheckpoint]) -> Operation[list[CheckpointTuple]]:
        """Read what belongs to records, in one round trip, and decode them."""
        pending = [_Pending(self._serde, record, None) for record in stored]
        return self._complete(pending, is_followed=False)

    def _complete(
        self, pending: Sequence[_Pending], *, is_followed: bool
    ) -> Operation[list[CheckpointTuple]]:
        """Read what is missing of checkpoints, in one round trip, and decode them.

        A blob that several checkpoints of a thread share is read once.

        Args:
            pending: The checkpoints.
            is_followed: Whether checkpoints are likely to be put that follow them.
        """
        blobs: dict[str, dict[str, bytes | None]] = {}
        ranges: dict[str, list[Range]] = {}
        for item in pending:
            namespace = thread_namespace(item.stored.address.thread_id)
            blobs.setdefault(namespace, {}).update(dict.fromkeys(item.stored.blobs()))
            ranges.setdefault(namespace, []).extend(item.ranges)
        queries = [
            Query(namespace, [BLOBS + name for name in names], ranges[namespace])
            for namespace, names in blobs.items()
            if names or ranges[namespace]
        ]
        answers = (yield Read(queries)) if queries else []
        read = {}
        for query, answer in zip(queries, answers, strict=True):
            names = blobs[query.namespace]
            names.update(zip(names, answer.values, strict=True))
            read[query.namespace] = iter(answer.ranges)
        tuples = []
        for item in pending:
            namespace = thread_namespace(item.stored.address.thread_id)
            item.take(read.get(namespace, iter(())))
            tuples.append(self._decode(item, blobs[namespace], is_followed))
        return tuples

    def _decode(
        self, item: _Pending, blobs: dict[str, bytes | None], is_followed: bool
    ) -> CheckpointTuple:
        serde, stored, checkpoint = self._serde, item.stored, item.body
        key = stored.address.values_key() if is_followed else None
        checkpoint["channel_values"] = decode_values(
            self._values, key, stored, stored.channels, blobs
        )
        sends = [write.decode(serde)[2] for write in item.sends if write.channel == TASKS]
        if sends:
            versions = checkpoint["channel_versions"]
            checkpoint["channel_values"][TASKS] = sends
            versions[TASKS] = max(versions.values()) if versions else self._next_version(None, None)
        return CheckpointTuple(
            config=stored.address.config(),
            checkpoint=checkpoint,  # type: ignore[arg-type]  # has the TypedDict's keys
            metadata=item.metadata,
            parent_config=parent_config(stored),
            pending_writes=[write.decode(serde) for write in item.writes or ()],
        )


class _Pending:
    """A checkpoint whose record is read, and what else must be read for it."""

    def __init__(
        self,
        serde: SerializerProtocol,
        stored: StoredCheckpoint,
        writes: list[StoredWrite] | None,
    ) -> None:
        self.stored = stored
        self.writes = writes
        self.sends: list[StoredWrite] = []
        self.body: dict[str, Any]
        self.metadata: CheckpointMetadata
        self.body, self.metadata = decode_body(serde, stored)
        version = self.body.get("v", SENDS_ARE_CHANNEL)
        self._parent = (
            stored.address._replace(checkpoint_id=stored.parent)
            if stored.parent is not None and version < SENDS_ARE_CHANNEL
            else None
        )
        self.ranges = [writes_of(stored.address)] if writes is None else []
        if self._parent is not None:
            self.ranges.append(writes_of(self._parent))

    def take(self, answers: Any) -> None:
        """Take the answers to `ranges` from an iterator of them."""
        if self.writes is None:
            self.writes = decode_writes(self.stored.address, next(answers))
        if self._parent is not None:
            self.sends = decode_writes(self._parent, next(answers))


def decode_values(
    values: Values,
    key: str | None,
    stored: StoredCheckpoint,
    entries: dict[str, Entry],
    blobs: dict[str, bytes | None],
) -> dict[str, Any]:
    """Return values of a checkpoint; see `Values.join`.

    Raises:
        CheckpointError: A blob is missing or damaged; the message names the checkpoint.
    """
    try:
        return values.join(key, str(stored.address.checkpoint_id), entries, blobs)
    except (CheckpointError, DecodeError) as error:
        raise CheckpointError(f"{describe(stored.address)} cannot be read: {error}") from error


def parent_config(stored: StoredCheckpoint) -> Any:
    """Return the config of a checkpoint's parent, or None."""
    if stored.parent is None:
        return None
    return stored.address._replace(checkpoint_id=stored.parent).config()

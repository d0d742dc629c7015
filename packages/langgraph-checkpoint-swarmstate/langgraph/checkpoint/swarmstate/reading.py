"""Reading checkpoints, one at a time or many at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.serde.types import TASKS

from swarmstate import Query, Range, Result
from swarmstate.errors import CheckpointError, DecodeError
from swarmstate.operations import Operation, Read

from .collector import collector_at_rest
from .layout import (
    BLOBS,
    Address,
    blobs_at,
    checkpoints_prefix,
    last_of,
    thread_namespace,
    writes_of,
    writes_prefix,
)
from .records import (
    StoredCheckpoint,
    StoredWrite,
    damaged,
    decode_body,
    decode_checkpoint,
    decode_writes,
    describe,
    sends_are_apart,
)
from .values import Entry, Recalled, Values

if TYPE_CHECKING:
    from langgraph.checkpoint.serde.base import SerializerProtocol

T = TypeVar("T")

_ATTEMPTS = 3

# Pending writes to read along with a latest checkpoint whose id is unknown. A thread at rest has
# none, and one that waits for a person has few. If a write of an earlier checkpoint is among
# them, all writes of the latest one were read.
_LAST_WRITES = 4


def retry(operation: Callable[[], Operation[T]]) -> Operation[T]:
    """Retry if something is missing or damaged, because it may just have been pruned.

    Raises:
        CheckpointError: Every attempt failed.
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
        refresh: The time to live, in seconds, to give a thread when it is read, or None.
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

        One is enough if the record holds the values or they are remembered; rarely,
        `fill` needs a third.

        If the checkpoint is pruned in between, reading starts over. A missing blob
        is an error only while its checkpoint exists.

        Raises:
            CheckpointError: The checkpoint is damaged.
        """
        return (yield from retry(lambda: self._get(address)))

    def _get(self, address: Address) -> Operation[CheckpointTuple | None]:
        namespace = thread_namespace(address.thread_id)
        stored, writes = yield from self._find(namespace, address)
        if stored is None:
            return None
        key = stored.address.values_key()
        recalled = recall(self._values, key, stored)
        opened = _Opened(self._serde, stored, writes, recalled)
        blobs: dict[str, bytes | None] = {}
        if opened.blobs or opened.ranges:
            blobs.update(self._values.take_recent(opened.blobs))
            missing = [name for name in opened.blobs if name not in blobs]
            answer = Result([], [])
            if missing or opened.ranges:
                keys = [BLOBS + name for name in missing]
                [answer] = yield Read([Query(namespace, keys, opened.ranges)])
            blobs.update(zip(missing, answer.values, strict=True))
            opened.take(iter(answer.ranges), blobs)
            yield from fill(namespace, (*(opened.writes or ()), *opened.sends), blobs)
        return self._close(opened, blobs, self._values, key, recalled)

    def _find(
        self, namespace: str, address: Address
    ) -> Operation[tuple[StoredCheckpoint | None, list[StoredWrite] | None]]:
        """Read a record and its pending writes; None for the writes if there may be more."""
        thread_id, checkpoint_ns, checkpoint_id = address
        prefix = checkpoints_prefix(checkpoint_ns)
        if checkpoint_id is None:
            ranges = last_of(checkpoint_ns, _LAST_WRITES)
            [answer] = yield Read([Query(namespace, (), ranges, self._refresh)])
            if not answer.ranges[0]:
                return None, None
            key, record = answer.ranges[0][0]
            address = Address(thread_id, checkpoint_ns, key[len(prefix) :])
            return decode_checkpoint(address, record), _writes_among(address, answer.ranges[1])
        query = Query(namespace, (prefix + checkpoint_id,), (writes_of(address),), self._refresh)
        [answer] = yield Read([query])
        record = answer.values[0]
        if record is None:
            return None, None
        return decode_checkpoint(address, record), decode_writes(address, answer.ranges[0])

    def fetch(self, addresses: Sequence[Address]) -> Operation[list[StoredCheckpoint]]:
        """Read the records of checkpoints, skipping those that no longer exist."""
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

    def load(self, records: Iterable[StoredCheckpoint]) -> Operation[list[CheckpointTuple]]:
        """Decode records, reading everything else they need in one round trip.

        A blob shared by several checkpoints of a thread is read once.
        """
        items = [_Opened(self._serde, stored, None, None) for stored in records]
        blobs: dict[str, dict[str, bytes | None]] = {}
        ranges: dict[str, list[Range]] = {}
        for opened in items:
            blobs.setdefault(opened.namespace, {}).update(dict.fromkeys(opened.blobs))
            ranges.setdefault(opened.namespace, []).extend(opened.ranges)
        answers = yield Read(
            [
                Query(namespace, [BLOBS + name for name in names], ranges[namespace])
                for namespace, names in blobs.items()
            ]
        )
        for (namespace, names), answer in zip(blobs.items(), answers, strict=True):
            names.update(zip(names, answer.values, strict=True))
            read = iter(answer.ranges)
            belonging = [each for each in items if each.namespace == namespace]
            for opened in belonging:
                opened.take(read, names)
            writes = [
                each for opened in belonging for each in (*(opened.writes or ()), *opened.sends)
            ]
            yield from fill(namespace, writes, names)
        # Shared parts are decoded for the first checkpoint and copied for the others.
        values = self._values.apart()
        loaded = []
        with collector_at_rest():
            for opened in items:
                key = opened.stored.address.values_key() if len(items) > 1 else None
                recalled = recall(values, key, opened.stored) if key is not None else None
                found = blobs[opened.namespace]
                loaded.append(self._close(opened, found, values, key, recalled))
        return loaded

    def _close(
        self,
        opened: _Opened,
        blobs: dict[str, bytes | None],
        joining: Values,
        key: str | None,
        recalled: Recalled | None,
    ) -> CheckpointTuple:
        """Return a checkpoint, given everything that was read for it.

        Args:
            opened: The checkpoint, with its writes.
            blobs: Its blobs, and possibly others.
            joining: Joins its values, and those of its writes.
            key: The key to remember its values under, if others are likely to follow.
            recalled: What was recalled of it; all other blobs are in `blobs`.
        """
        serde, stored, checkpoint = self._serde, opened.stored, opened.body
        checkpoint["channel_values"] = values = decode_values(
            joining, key, stored, stored.channels, blobs, recalled
        )
        if opened.parent is not None:
            sends = [
                write.decode(joining, serde, opened.parent, blobs)[2] for write in opened.sends
            ]
            if sends:
                values[TASKS] = sends
                self._add_version(stored.address, checkpoint["channel_versions"])
        return CheckpointTuple(
            stored.address.config(),
            checkpoint,  # type: ignore[arg-type]  # has the TypedDict's keys
            opened.metadata,
            parent_config(stored),
            [write.decode(joining, serde, stored.address, blobs) for write in opened.writes or ()],
        )

    def _add_version(self, address: Address, versions: dict[str, Any]) -> None:
        """Add the version of the channel of sends, which checkpoints of an old format lack."""
        try:
            newest = max(versions.values()) if versions else self._next_version(None, None)
        except TypeError as error:
            raise damaged(address, f"its versions are of different types: {error}") from error
        versions[TASKS] = newest


def _writes_among(
    address: Address, records: Sequence[tuple[str, bytes]]
) -> list[StoredWrite] | None:
    """Return a checkpoint's pending writes, given the last ones; None if there may be more.

    Writes of later checkpoints, which are not stored yet, may come after them.
    """
    if not records:
        return []
    prefix = writes_prefix(address.checkpoint_ns, str(address.checkpoint_id))
    if len(records) == _LAST_WRITES and records[-1][0] > prefix:
        return None
    return decode_writes(address, [each for each in records if each[0].startswith(prefix)])


class _Opened:
    """A checkpoint whose record was read, and what still has to be read for it.

    Attributes:
        stored: The record.
        namespace: The namespace of its thread.
        writes: Its pending writes; None if they still have to be read.
        body: The checkpoint without its values.
        metadata: Its metadata.
        parent: The parent, if it holds the checkpoint's sends as writes.
        sends: Those writes.
        blobs: Names of the blobs to read: those that the checkpoint refers to, except
            recalled ones, and those of `writes`. While the writes are unknown, recalled
            blobs are included, since the writes may refer to them.
        refers: Whether the checkpoint refers to any blobs.
        ranges: Ranges to read: the writes and the blobs at home at this checkpoint, if
            `writes` is None, and the parent's writes.
    """

    __slots__ = (
        "blobs",
        "body",
        "metadata",
        "namespace",
        "parent",
        "ranges",
        "refers",
        "sends",
        "stored",
        "writes",
    )

    def __init__(
        self,
        serde: SerializerProtocol,
        stored: StoredCheckpoint,
        writes: list[StoredWrite] | None,
        recalled: Recalled | None,
    ) -> None:
        self.stored = stored
        self.namespace = thread_namespace(stored.address.thread_id)
        self.writes = writes
        self.sends: list[StoredWrite] = []
        self.body, self.metadata = decode_body(serde, stored)
        self.parent: Address | None = None
        self.blobs = stored.blobs() if recalled is None else [*recalled.blobs]
        self.refers = bool(self.blobs) if recalled is None else recalled.refers
        self.ranges: list[Range] = []
        if writes is None:
            # The writes may refer to any blob of the checkpoint, recalled or not.
            self.blobs = stored.blobs()
            self.ranges.append(writes_of(stored.address))
            if self.refers:
                self.ranges.append(blobs_at(str(stored.address.checkpoint_id)))
        else:
            written = [name for write in writes for name in write.blobs()]
            self.blobs = list(dict.fromkeys([*self.blobs, *written]))
        if stored.parent is not None and sends_are_apart(stored.address, self.body):
            thread_id, checkpoint_ns, _ = stored.address
            self.parent = Address(thread_id, checkpoint_ns, stored.parent)
            self.ranges.append(writes_of(self.parent))

    def take(
        self, answers: Iterator[list[tuple[str, bytes]]], blobs: dict[str, bytes | None]
    ) -> None:
        """Consume the answers to `ranges`, and add the blobs among them to `blobs`."""
        if self.writes is None:
            self.writes = decode_writes(self.stored.address, next(answers))
            if self.refers:
                blobs.update((key[len(BLOBS) :], data) for key, data in next(answers))
        if self.parent is not None:
            writes = decode_writes(self.parent, next(answers))
            self.sends = [write for write in writes if write.channel == TASKS]


def fill(
    namespace: str, writes: Iterable[StoredWrite], blobs: dict[str, bytes | None]
) -> Operation[None]:
    """Read the blobs of writes that are not in `blobs` yet.

    The extra round trip is rarely needed: for sends of an old format, and for writes that
    were stored before a checkpoint in which the last large value became small.
    """
    missing = [name for write in writes for name in write.blobs() if name not in blobs]
    if missing:
        [answer] = yield Read([Query(namespace, [BLOBS + name for name in missing])])
        blobs.update(zip(missing, answer.values, strict=True))


def recall(values: Values, key: str, stored: StoredCheckpoint) -> Recalled:
    """Return what is remembered about a checkpoint; see `Values.recall`.

    Raises:
        CheckpointError: Its record is damaged; the message names the checkpoint.
    """
    try:
        recalled: Recalled = values.recall(key, stored.channels)
    except CheckpointError as error:
        raise CheckpointError(f"{describe(stored.address)} cannot be read: {error}") from error
    return recalled


def decode_values(
    values: Values,
    key: str | None,
    stored: StoredCheckpoint,
    entries: dict[str, Entry],
    blobs: dict[str, bytes | None],
    recalled: Recalled | None = None,
) -> dict[str, Any]:
    """Join the values of a checkpoint; see `Values.join`.

    Raises:
        CheckpointError: A blob is missing or damaged; the message names the checkpoint.
    """
    try:
        return values.join(key, str(stored.address.checkpoint_id), entries, blobs, recalled)
    except (CheckpointError, DecodeError) as error:
        raise CheckpointError(f"{describe(stored.address)} cannot be read: {error}") from error


def parent_config(stored: StoredCheckpoint) -> Any:
    """Return the config of a checkpoint's parent, or None."""
    if stored.parent is None:
        return None
    thread_id, checkpoint_ns, _ = stored.address
    return Address(thread_id, checkpoint_ns, stored.parent).config()

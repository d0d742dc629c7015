"""The history that LangGraph's DeltaChannels are rebuilt from, in two round trips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from langgraph.checkpoint.base import DeltaChannelHistory

from swarmstate import Query, Range
from swarmstate.base import several
from swarmstate.errors import CheckpointError
from swarmstate.operations import Operation, Read
from swarmstate.sharing import follow_parents, select_writes

from .layout import (
    BLOBS,
    Address,
    address_of_write,
    blobs_at,
    checkpoints_prefix,
    thread_namespace,
    writes_between,
    writes_of,
)
from .reading import decode_values, fill, retry
from .records import (
    StoredCheckpoint,
    StoredWrite,
    decode_body,
    decode_checkpoint,
    decode_writes,
    describe,
)
from .values import Values

if TYPE_CHECKING:
    from langgraph.checkpoint.serde.base import SerializerProtocol

# The step of the input checkpoint of a run that started from nothing.
_FIRST_STEP = -1

# Ancestors to read at once. By default a DeltaChannel stores its value every 100
# updates, so one page is nearly always enough.
_PAGE = 256


def delta_history(
    values: Values, serde: SerializerProtocol, address: Address, channels: Sequence[str]
) -> Operation[Mapping[str, DeltaChannelHistory]]:
    """Return for each channel its nearest stored value and the writes since then.

    A channel's seed is the nearest ancestor that stores its value; the writes are
    those of the seed and of the ancestors after it, oldest first.

    Raises:
        TypeError: `channels` is a single name.
        CheckpointError: A required record is damaged or missing.
    """
    names = several(channels, "channels")
    return (yield from retry(lambda: _delta_history(values, serde, address, names)))


def _delta_history(
    values: Values, serde: SerializerProtocol, address: Address, channels: Sequence[str]
) -> Operation[Mapping[str, DeltaChannelHistory]]:
    history: dict[str, DeltaChannelHistory] = {channel: {"writes": []} for channel in channels}
    chain = _Chain(serde, address)
    path, homes, seeds = yield from chain.walk({*history})
    if not path:
        return history

    stored = {channel: chain.decode(checkpoint_id) for channel, checkpoint_id in seeds.items()}
    names = [name for channel in stored for name in stored[channel].blobs([channel])]
    if chain.is_line(path):
        ranges = [writes_between(address.checkpoint_ns, path)]
    else:
        # A fork in between may have many writes.
        ranges = [writes_of(address._replace(checkpoint_id=each)) for each in path]
    query = Query(
        thread_namespace(address.thread_id),
        [BLOBS + name for name in names],
        [*ranges, *map(blobs_at, homes)],
    )
    [answer] = yield Read([query])
    blobs: dict[str, bytes | None] = dict(zip(names, answer.values, strict=True))
    for records in answer.ranges[len(ranges) :]:
        blobs.update((key[len(BLOBS) :], data) for key, data in records)
    written: dict[str | None, list[tuple[str, bytes]]] = {}
    for records in answer.ranges[: len(ranges)]:
        for key, record in select_writes(records, {*history}):
            place = address_of_write(address.thread_id, key)
            written.setdefault(place.checkpoint_id, []).append((key, record))
    reaches = {channel: path.index(checkpoint_id) for channel, checkpoint_id in seeds.items()}
    writes: list[tuple[Address, StoredWrite]] = []
    for position, checkpoint_id in reversed([*enumerate(path)]):
        if checkpoint_id in written:
            place = address._replace(checkpoint_id=checkpoint_id)
            writes += [
                (place, write)
                for write in decode_writes(place, written[checkpoint_id])
                if write.channel in history and position <= reaches.get(write.channel, position)
            ]
    yield from fill(query.namespace, [write for _, write in writes], blobs)
    for place, write in writes:
        history[write.channel]["writes"].append(write.decode(values, serde, place, blobs))
    for channel, seed in stored.items():
        entries = {channel: seed.channels[channel]}
        history[channel]["seed"] = decode_values(values, None, seed, entries, blobs)[channel]
    return history


class _Chain:
    """Reads the records from a checkpoint back to its ancestors, page by page.

    Attributes:
        records: The records read so far, by id; some may belong to other branches.
    """

    def __init__(self, serde: SerializerProtocol, address: Address) -> None:
        self._serde = serde
        self._address = address
        self._prefix = checkpoints_prefix(address.checkpoint_ns)
        self.records: dict[str, bytes] = {}
        # Every checkpoint from this id up to the target has been read; None: from the first.
        self._read_from: str | None = None

    def walk(self, channels: set[str]) -> Operation[tuple[list[str], list[str], dict[str, str]]]:
        """Follow the ancestors until each channel was found in one.

        Returns:
            The ids of the ancestors, newest first; of these, the ids of those that refer to
            blobs; and for each channel that was found, the id of the nearest ancestor with it.

        Raises:
            CheckpointError: A required record is damaged or missing.
        """
        yield from self._read_page()
        child = self._address.checkpoint_id or max(self.records, default="")
        parent = self.decode(child).parent if child in self.records else None
        path: dict[str, bool] = {}
        seeds: dict[str, str] = {}
        while parent is not None and len(seeds) < len(channels):
            if parent not in self.records and not (yield from self._read_parent(child, parent)):
                break
            if parent in path:
                raise CheckpointError(
                    f"{describe(self._address)} cannot be rebuilt: {parent!r} is an ancestor of "
                    "itself; put again the ancestor that was put with the config of a checkpoint "
                    "other than its parent"
                )
            missing = channels - seeds.keys()
            met, found, following = follow_parents(self.records, self._prefix, parent, missing)
            if not met:
                # Decoding it raises an error, unless it is just unusual.
                stored = self.decode(parent)
                met = {parent: bool(stored.blobs())}
                found = dict.fromkeys(missing & stored.channels.keys(), parent)
                following = stored.parent
            path.update(met)
            seeds.update(found)
            child, parent = next(reversed(met)), following
        return [*path], [each for each, refers in path.items() if refers], seeds

    def _read_parent(self, child: str, parent: str) -> Operation[bool]:
        """Read the parent that a checkpoint names, and return whether it exists.

        A run whose config names a checkpoint that does not exist, for example a deleted
        one, starts from nothing: its first checkpoint names a parent that is missing.

        Raises:
            CheckpointError: The parent should exist and does not.
        """
        while parent not in self.records:
            if self._read_from is not None and parent < self._read_from:
                yield from self._read_page()
            # Its id is greater than its child's, or it no longer exists.
            elif not (yield from self._read_one(parent)):
                of = self.decode(child)
                if self._begins(of):
                    return False
                raise CheckpointError(
                    f"{describe(of.address)} cannot be rebuilt: its parent {parent!r} is missing"
                )
        return True

    def is_line(self, path: Sequence[str]) -> bool:
        """Whether no other checkpoint that was read lies between those of a path."""
        first, last = min(path), max(path)
        return sum(first <= each <= last for each in self.records) == len(path)

    def _read_page(self) -> Operation[None]:
        last = Range.of_prefix(self._prefix, reverse=True, limit=_PAGE)
        if self._read_from is not None:
            last = last._replace(stop=self._prefix + self._read_from)
        elif self._address.checkpoint_id is not None:
            # The least key above the target's own.
            last = last._replace(stop=f"{self._prefix}{self._address.checkpoint_id}\x01")
        [answer] = yield Read([Query(thread_namespace(self._address.thread_id), (), (last,))])
        records = answer.ranges[0]
        # All of one checkpoint namespace.
        self.records.update((key[len(self._prefix) :], record) for key, record in records)
        ended = len(records) < _PAGE
        self._read_from = None if ended else records[-1][0][len(self._prefix) :]

    def _read_one(self, checkpoint_id: str) -> Operation[bool]:
        """Read a record, and return whether it exists."""
        key = self._prefix + checkpoint_id
        [answer] = yield Read([Query(thread_namespace(self._address.thread_id), (key,))])
        record = answer.values[0]
        if record is None:
            return False
        self.records[checkpoint_id] = record
        return True

    def _begins(self, stored: StoredCheckpoint) -> bool:
        """Whether a checkpoint is the first of a run that started from nothing."""
        _, metadata = decode_body(self._serde, stored)
        return metadata.get("source") == "input" and metadata.get("step") == _FIRST_STEP

    def decode(self, checkpoint_id: str) -> StoredCheckpoint:
        """Return a checkpoint whose record was read."""
        thread_id, checkpoint_ns, _ = self._address
        address = Address(thread_id, checkpoint_ns, checkpoint_id)
        return decode_checkpoint(address, self.records[checkpoint_id])

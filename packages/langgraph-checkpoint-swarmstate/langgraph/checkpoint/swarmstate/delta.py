"""The history that LangGraph's DeltaChannels are rebuilt from, in two round trips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from langgraph.checkpoint.base import DeltaChannelHistory

from swarmstate import Query, Range
from swarmstate.base import prefix_end, several
from swarmstate.errors import CheckpointError
from swarmstate.operations import Operation, Read

from .layout import (
    BLOBS,
    Address,
    blobs_at,
    checkpoints_prefix,
    thread_namespace,
    writes_prefix,
    writes_prefix_of,
)
from .reading import decode_values, fill, retry
from .records import StoredCheckpoint, decode_body, decode_checkpoint, decode_writes, describe
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
    wanted = frozenset(history)
    seeds: dict[str, StoredCheckpoint] = {}
    # Newest to oldest, each with the channels whose history its writes belong to.
    path: list[tuple[StoredCheckpoint, frozenset[str]]] = []
    met: set[str] = set()
    chain = _Chain(serde, address)
    ancestor = yield from chain.target()
    while ancestor is not None and ancestor.parent is not None and wanted:
        if ancestor.parent not in chain.records and not (yield from chain.read_parent(ancestor)):
            break
        if ancestor.parent in met:
            raise CheckpointError(
                f"{describe(address)} cannot be rebuilt: {ancestor.parent!r} is an ancestor of "
                "itself; put that one of its ancestors again that was put with the config of "
                "another checkpoint than its parent"
            )
        met.add(ancestor.parent)
        ancestor = chain.decode(ancestor.parent)
        path.append((ancestor, wanted))
        if not wanted.isdisjoint(ancestor.channels):
            seeds.update(dict.fromkeys(wanted & ancestor.channels.keys(), ancestor))
            wanted -= seeds.keys()
    if not path:
        return history

    names = [name for channel, stored in seeds.items() for name in stored.blobs([channel])]
    homes = [blobs_at(str(stored.address.checkpoint_id)) for stored, _ in path if stored.blobs()]
    places = [
        writes_prefix(address.checkpoint_ns, str(stored.address.checkpoint_id))
        for stored, _ in path
    ]
    if chain.is_line([stored for stored, _ in path]):
        ranges = [Range(min(places), prefix_end(max(places)))]
    else:
        # A fork in between may have many writes.
        ranges = [Range.of_prefix(place) for place in places]
    query = Query(
        thread_namespace(address.thread_id), [BLOBS + name for name in names], [*ranges, *homes]
    )
    [answer] = yield Read([query])
    blobs: dict[str, bytes | None] = dict(zip(names, answer.values, strict=True))
    for records in answer.ranges[len(ranges) :]:
        blobs.update((key[len(BLOBS) :], data) for key, data in records)
    written: dict[str, list[tuple[str, bytes]]] = {}
    for records in answer.ranges[: len(ranges)]:
        for key, record in records:
            written.setdefault(writes_prefix_of(key), []).append((key, record))
    writes = [
        (stored.address, write)
        for (stored, wanted), place in zip(reversed(path), reversed(places), strict=True)
        if place in written
        for write in decode_writes(stored.address, written[place])
        if write.channel in wanted
    ]
    yield from fill(query.namespace, [write for _, write in writes], blobs)
    for place, write in writes:
        history[write.channel]["writes"].append(write.decode(values, serde, place, blobs))
    for channel, stored in seeds.items():
        entries = {channel: stored.channels[channel]}
        history[channel]["seed"] = decode_values(values, None, stored, entries, blobs)[channel]
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

    def target(self) -> Operation[StoredCheckpoint | None]:
        """Return the checkpoint at which the walk starts."""
        yield from self._read_page()
        checkpoint_id = self._address.checkpoint_id
        if checkpoint_id is None:
            checkpoint_id = max(self.records, default="")
        return self.decode(checkpoint_id) if checkpoint_id in self.records else None

    def read_parent(self, of: StoredCheckpoint) -> Operation[bool]:
        """Read the parent that a checkpoint names, and return whether it exists.

        A run whose config names a checkpoint that does not exist, for example a deleted
        one, starts from nothing: its first checkpoint names a parent that is not there.

        Raises:
            CheckpointError: The parent should exist and does not.
        """
        parent = str(of.parent)
        while parent not in self.records:
            if self._read_from is not None and parent < self._read_from:
                yield from self._read_page()
            # Its id is greater than its child's, or it no longer exists.
            elif not (yield from self._read_one(parent)):
                if self._begins(of):
                    return False
                raise CheckpointError(
                    f"{describe(of.address)} cannot be rebuilt: its parent {parent!r} is missing"
                )
        return True

    def is_line(self, path: Sequence[StoredCheckpoint]) -> bool:
        """Whether no other checkpoint that was read lies between those of a path."""
        ids = [str(stored.address.checkpoint_id) for stored in path]
        first, last = min(ids), max(ids)
        return sum(first <= each <= last for each in self.records) == len(ids)

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

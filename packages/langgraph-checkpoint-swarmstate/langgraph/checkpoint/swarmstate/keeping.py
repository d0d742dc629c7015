"""What retention needs to know of a checkpoint, and which others a kept one depends on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from langgraph.checkpoint.serde.types import TASKS

from swarmstate import Query
from swarmstate.operations import Operation, Read

from .layout import Address, parse_checkpoint_key, thread_namespace, writes_of
from .records import (
    MISSHAPEN,
    StoredCheckpoint,
    damaged,
    decode_body,
    decode_checkpoint,
    decode_writes,
    sends_are_apart,
)

if TYPE_CHECKING:
    from langgraph.checkpoint.serde.base import SerializerProtocol


ROOT = ""
"""The checkpoint namespace of the graph itself."""


class Checkpoint(NamedTuple):
    """What is needed to decide whether to keep a checkpoint.

    Attributes:
        stored: Its record.
        ts: Its creation time, as it states it.
        run_id: The run that created it, if known.
        root: For a subgraph's checkpoint, the id of the graph's own checkpoint that the
            subgraph was started from, if known.
        delta_channels: The channels whose values its ancestors hold.
        sends_in_parent: Whether its pending sends are among its parent's writes.
    """

    stored: StoredCheckpoint
    ts: object
    run_id: str | None
    root: str | None
    delta_channels: frozenset[str]
    sends_in_parent: bool

    @property
    def place(self) -> tuple[str, str | None]:
        """Its checkpoint namespace and id."""
        return self.stored.address.checkpoint_ns, self.stored.address.checkpoint_id

    @property
    def parent(self) -> tuple[str, str | None]:
        """The place of its parent."""
        return self.stored.address.checkpoint_ns, self.stored.parent


Kept = dict[tuple[str, str | None], Checkpoint]
"""Checkpoints to keep, by place."""

Choice = Callable[[Sequence[Checkpoint]], Iterable[Checkpoint]]
"""Picks the checkpoints to keep, given those of a thread in key order."""


def parse(serde: SerializerProtocol, thread_id: str, key: str, record: bytes) -> Checkpoint:
    """Parse a checkpoint's record.

    Raises:
        CheckpointError: The record is damaged.
    """
    checkpoint_id, checkpoint_ns = parse_checkpoint_key(thread_id, key)
    stored = decode_checkpoint(Address(thread_id, checkpoint_ns, checkpoint_id), record)
    body, metadata = decode_body(serde, stored)
    fields: dict[str, Any] = dict(metadata)
    parents = fields.get("parents")
    root = parents.get(ROOT) if isinstance(parents, dict) else None
    try:
        # Channels that were never written have no version and nothing to rebuild.
        delta = {*(fields.get("counters_since_delta_snapshot") or ())} & {*body["channel_versions"]}
    except MISSHAPEN as error:
        raise damaged(stored.address, error) from error
    run_id = fields.get("run_id")
    return Checkpoint(
        stored,
        body.get("ts"),
        None if run_id is None else str(run_id),
        root if isinstance(root, str) else None,
        frozenset(delta.difference(stored.channels)),
        sends_are_apart(stored.address, body),
    )


def with_delta_ancestors(checkpoints: Iterable[Checkpoint], kept: Iterable[Checkpoint]) -> Kept:
    """Return `kept`, by place, and the ancestors that its DeltaChannels are rebuilt from.

    A DeltaChannel is rebuilt from the nearest ancestor that stores its value,
    and from the writes of that ancestor and of those in between.
    """
    by_place = {item.place: item for item in checkpoints}
    result = {item.place: item for item in kept}
    for item in list(result.values()):
        needed = item.delta_channels
        met: set[tuple[str, str | None]] = set()
        ancestor = by_place.get(item.parent)
        # A checkpoint that was put again may name itself, or a later one, as its parent.
        while needed and ancestor is not None and ancestor.place not in met:
            met.add(ancestor.place)
            result[ancestor.place] = ancestor
            needed = needed.difference(ancestor.stored.channels)
            ancestor = by_place.get(ancestor.parent)
    return result


def keep_senders(checkpoints: Iterable[Checkpoint], kept: Kept) -> Operation[None]:
    """Add the parents that hold the pending sends of kept checkpoints in an old format."""
    by_place = {item.place: item for item in checkpoints}
    wanted = {item.parent for item in kept.values() if item.sends_in_parent}
    parents = [by_place[place] for place in wanted if place in by_place and place not in kept]
    if not parents:
        return
    namespace = thread_namespace(parents[0].stored.address.thread_id)
    ranges = [writes_of(item.stored.address) for item in parents]
    [answer] = yield Read([Query(namespace, (), ranges)])
    for item, records in zip(parents, answer.ranges, strict=True):
        writes = decode_writes(item.stored.address, records)
        if any(write.channel == TASKS for write in writes):
            kept[item.place] = item

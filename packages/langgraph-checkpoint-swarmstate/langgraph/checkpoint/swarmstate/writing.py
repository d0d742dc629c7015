"""Storing checkpoints and pending writes, with one round trip each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.base import WRITES_IDX_MAP, get_checkpoint_metadata

from swarmstate import Batch, Expect
from swarmstate.base import prefix_end
from swarmstate.errors import ConflictError, InvalidConfigError
from swarmstate.operations import Operation, Write
from swarmstate.sharing import blob_names

from .foreign import EmptyFields, empty_fields, taken_over
from .indexing import write_indexed
from .layout import (
    BLOBS,
    COLLECTIONS,
    INDEX,
    RUNS,
    Address,
    address_of,
    bucket_of,
    checkpoints_prefix,
    escape,
    run_key,
    thread_namespace,
    time_key,
    writes_prefix,
)
from .records import encode_body, encode_checkpoint, encode_write
from .values import Entry, Split, SplitWrites, Values

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata
    from langgraph.checkpoint.serde.base import SerializerProtocol

_PARTS = frozenset({"id", "channel_values", "channel_versions", "versions_seen"})

# Every batch that refers to blobs removes the marks of garbage collections in progress.
# A collection that finds its mark gone gives up, so it never deletes those blobs.
_STOP_COLLECTION = ((COLLECTIONS, prefix_end(COLLECTIONS)),)


def put(
    values: Values,
    known: EmptyFields,
    serde: SerializerProtocol,
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    new_versions: ChannelVersions,
    ttl: float | None,
) -> Operation[Address]:
    """Store a checkpoint and return its address.

    Blobs that the parent refers to are not sent again. The batch expects the parent,
    and with it the blobs, to exist; if it does not, everything is sent.
    Fields of the state that the graph does not have are taken over from the parent.

    Raises:
        InvalidConfigError: The config names no thread.
        TypeError: The checkpoint is not a valid one.
        EncodeError: A value cannot be serialized.
    """
    thread_id, checkpoint_ns, parent = address_of(config)
    _check(checkpoint)
    address = Address(thread_id, checkpoint_ns, checkpoint["id"])
    metadata = get_checkpoint_metadata(config, metadata)
    body = encode_body(serde, checkpoint, metadata)
    key = address.values_key()
    empty = empty_fields(checkpoint, metadata)
    foreign: Sequence[str] = ()
    if empty and parent is not None:
        unchanged = [field for field in empty if field not in new_versions]
        foreign = known.unknown(key, parent, checkpoint, unchanged)
    run_id = metadata.get("run_id")
    index = _index_batch(thread_id, checkpoint["id"], parent, run_id)
    # The last attempt relies on nothing, so it cannot conflict.
    for base, fields in ((parent, foreign), (None, foreign), (None, ())):
        # Before any round trip: the state to store is the state as it is now.
        split = values.split(key, base, checkpoint["channel_values"], checkpoint["id"])
        # Before it is stored: whatever relies on it expects it to exist.
        values.keep(key, checkpoint["id"], split)
        kept: dict[str, Entry] = {}
        try:
            if fields:
                source = address._replace(checkpoint_id=parent)
                kept = yield from taken_over(serde, source, checkpoint, fields)
            if empty:
                known.note(key, checkpoint, [field for field in empty if field not in kept])
            batches = _batches(address, parent, body, split, kept, ttl, run_id)
            if index is None:
                yield Write(batches)
            else:
                yield from write_indexed(batches, index)
        except BaseException as error:
            # Another attempt may cut the values differently, so the existence of a checkpoint of
            # this id does not prove that the blobs of this attempt exist.
            split.doubt()
            if not (isinstance(error, ConflictError) and (split.relies_on or kept)):
                raise
        else:
            split.confirm()
            break
    return address


def _check(checkpoint: Checkpoint) -> None:
    """Check that a checkpoint has all required parts, and a usable id.

    Raises:
        TypeError: It does not.
    """
    found: object = checkpoint
    # Testing for a dict first is faster than testing for a Mapping.
    if not isinstance(found, (dict, Mapping)) or not found.keys() >= _PARTS:
        there = sorted(map(str, found)) if isinstance(found, Mapping) else repr(found)[:80]
        raise TypeError(
            f"expected a checkpoint (a dict with {', '.join(sorted(_PARTS))}), found {there}; "
            "langgraph.checkpoint.base.empty_checkpoint() creates one"
        )
    name = found["id"]
    if not (isinstance(name, str) and name):
        raise TypeError(f"expected the checkpoint id to be a non-empty string, found {name!r:.80}")


def _batches(
    address: Address,
    parent: str | None,
    body: tuple[str, bytes],
    split: Split,
    kept: dict[str, Entry],
    ttl: float | None,
    run_id: object,
) -> list[Batch]:
    """Return the batches that store a checkpoint, without its index entries."""
    prefix = checkpoints_prefix(address.checkpoint_ns)
    record_key = f"{prefix}{address.checkpoint_id}"
    added = {BLOBS + name: data for name, data in split.blobs.items()}
    if run_id is not None:
        added[f"{RUNS}{run_id}"] = b""
    entries, relies_on = split.entries, split.relies_on
    if kept:
        entries = {**kept, **entries}
        if parent not in relies_on and any(map(blob_names, kept.values())):
            relies_on = [str(parent), *relies_on]
    expecting, expect = _expectations(address, relies_on)
    thread = Batch(
        thread_namespace(address.thread_id),
        put={record_key: encode_checkpoint(record_key, parent, body, entries)},
        put_if_absent=added,
        delete_ranges=_STOP_COLLECTION,
        ttl=ttl,
        expect=expect,
    )
    return [*expecting, thread]


def _expectations(address: Address, relies_on: Sequence[str]) -> tuple[list[Batch], Expect | None]:
    """Return batches and an expectation that together require these checkpoints to exist.

    Each checkpoint but the last may rely on those after it, which are older. The batches expect
    the younger ones; the batch with the changes, which is applied after them, expects the oldest.
    So the oldest still existed when the younger ones were found. These are then the ones that are
    remembered, because a put that does not find what it relies on is cut anew.
    """
    prefix = checkpoints_prefix(address.checkpoint_ns)
    expected = [Expect(f"{prefix}{each}", f"{prefix}{each}") for each in relies_on]
    namespace = thread_namespace(address.thread_id)
    before = [Batch(namespace, expect=each) for each in expected[:-1]]
    return before, expected[-1] if expected else None


def _index_batch(
    thread_id: str, checkpoint_id: str, parent: str | None, run_id: object
) -> Batch | None:
    """Return the batch that updates the index for a checkpoint; often None."""
    added: dict[str, bytes] = {}
    superseded: tuple[str, ...] = ()
    if run_id is not None:
        added[run_key(str(run_id), thread_id)] = b""
    if parent is None or bucket_of(parent) != bucket_of(checkpoint_id):
        added[time_key(checkpoint_id, thread_id)] = b""
        if parent is not None and parent < checkpoint_id:
            superseded = (time_key(parent, thread_id),)
    return Batch(INDEX, put_if_absent=added, delete=superseded) if added else None


def put_writes(
    values: Values,
    config: RunnableConfig,
    writes: Sequence[tuple[str, Any]],
    task_id: str,
    task_path: str,
    ttl: float | None,
) -> Operation[None]:
    """Store the pending writes of a task.

    Regular writes are write-once; errors, interrupts and the like have fixed indices
    (`WRITES_IDX_MAP`) and replace what is there. The items of large writes become blobs,
    which the next checkpoint shares. Items that the checkpoint or the one before it already
    holds refer to its blobs; the batch then expects that checkpoint to be stored. If it is
    not stored yet, all items are sent.

    Raises:
        InvalidConfigError: The config names no thread or no checkpoint.
        TypeError: The task's id or path is not a string, and would make the checkpoint unreadable.
        EncodeError: A value cannot be serialized.
    """
    names: tuple[tuple[str, object], ...] = ("task_id", task_id), ("task_path", task_path)
    for name, found in names:
        if not isinstance(found, str):
            raise TypeError(f"expected {name} to be a string, found {found!r:.80}")
    address = address_of(config)
    if address.checkpoint_id is None:
        raise InvalidConfigError(
            "expected config['configurable']['checkpoint_id'] to name the checkpoint that the "
            "writes belong to, found none; pass the config that put() returned"
        )
    # The checkpoint relied on may be on its way, and usually exists at the second attempt.
    for relying in (True, True, False):
        split = values.split_writes(
            address.values_key(), address.checkpoint_id, writes, relying=relying
        )
        try:
            yield Write(_writes_batches(address, writes, split, task_id, task_path, ttl))
            break
        except ConflictError:
            if not split.relies_on:
                raise


def _writes_batches(
    address: Address,
    writes: Sequence[tuple[str, Any]],
    split: SplitWrites,
    task_id: str,
    task_path: str,
    ttl: float | None,
) -> list[Batch]:
    """Return the batches that store pending writes."""
    prefix = f"{writes_prefix(address.checkpoint_ns, str(address.checkpoint_id))}{escape(task_id)}/"
    regular: dict[str, bytes] = {}
    special: dict[str, bytes] = {}
    for position, ((channel, _), entry) in enumerate(zip(writes, split.entries, strict=True)):
        idx = WRITES_IDX_MAP.get(channel, position)
        target = regular if idx >= 0 else special
        key = f"{prefix}{idx}"
        target[key] = encode_write(key, channel, task_path, entry)
    regular.update((BLOBS + name, data) for name, data in split.blobs.items())
    expecting, expect = _expectations(address, split.relies_on)
    written = Batch(
        thread_namespace(address.thread_id),
        put=special,
        put_if_absent=regular,
        delete_ranges=_STOP_COLLECTION if split.blobs or split.relies_on else (),
        ttl=ttl,
        expect=expect,
    )
    return [*expecting, written]

"""What is written for a checkpoint and for pending writes: one round trip each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.base import WRITES_IDX_MAP, get_checkpoint_metadata

from swarmstate import Batch
from swarmstate.base import prefix_end
from swarmstate.errors import InvalidConfigError

from .layout import (
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
from .records import encode_checkpoint, encode_write

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import Checkpoint, CheckpointMetadata
    from langgraph.checkpoint.serde.base import SerializerProtocol

# A collection of unreachable blobs that is under way gives up when it finds its
# mark gone: every put removes it, so that no blob a put relies on is collected.
_STOP_COLLECTION = ((COLLECTIONS, prefix_end(COLLECTIONS)),)


def put_batches(
    serde: SerializerProtocol,
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    ttl: float | None,
) -> tuple[Address, list[Batch]]:
    """Return where a checkpoint goes and what to write for it.

    Raises:
        InvalidConfigError: The config names no thread.
        EncodeError: A value cannot be serialized.
    """
    thread_id, checkpoint_ns, parent = address_of(config)
    checkpoint_id = checkpoint["id"]
    address = Address(thread_id, checkpoint_ns, checkpoint_id)
    merged = get_checkpoint_metadata(config, metadata)
    record, blobs = encode_checkpoint(serde, address, checkpoint, merged, parent)
    added = blobs
    index: dict[str, bytes] = {}
    run_id = merged.get("run_id")
    if run_id is not None:
        added[f"{RUNS}{run_id}"] = b""
        index[run_key(str(run_id), thread_id)] = b""
    batches = [
        Batch(
            thread_namespace(thread_id),
            put={checkpoints_prefix(checkpoint_ns) + checkpoint_id: record},
            put_if_absent=added,
            delete_ranges=_STOP_COLLECTION,
            ttl=ttl,
        )
    ]
    superseded: tuple[str, ...] = ()
    if parent is None or bucket_of(parent) != bucket_of(checkpoint_id):
        index[time_key(checkpoint_id, thread_id)] = b""
        if parent is not None and parent < checkpoint_id:
            superseded = (time_key(parent, thread_id),)
    if index:
        batches.append(Batch(INDEX, put_if_absent=index, delete=superseded))
    return address, batches


def put_writes_batches(
    serde: SerializerProtocol,
    config: RunnableConfig,
    writes: Sequence[tuple[str, Any]],
    task_id: str,
    task_path: str,
    ttl: float | None,
) -> list[Batch]:
    """Return what to write for the pending writes of a task.

    Regular writes are write-once; errors, interrupts and the like have indices
    of their own (`WRITES_IDX_MAP`) and replace what is there.

    Raises:
        InvalidConfigError: The config names no thread or no checkpoint.
        EncodeError: A value cannot be serialized.
    """
    address = address_of(config)
    if address.checkpoint_id is None:
        raise InvalidConfigError(
            "expected config['configurable']['checkpoint_id'] to name the checkpoint that the "
            "writes belong to, found none; pass the config that put() returned"
        )
    prefix = f"{writes_prefix(address.checkpoint_ns, address.checkpoint_id)}{escape(task_id)}/"
    regular: dict[str, bytes] = {}
    special: dict[str, bytes] = {}
    for position, (channel, value) in enumerate(writes):
        idx = WRITES_IDX_MAP.get(channel, position)
        target = regular if idx >= 0 else special
        target[f"{prefix}{idx}"] = encode_write(serde, address, channel, task_path, value)
    namespace = thread_namespace(address.thread_id)
    return [Batch(namespace, put=special, put_if_absent=regular, ttl=ttl)]

"""Deleting and copying whole threads."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from swarmstate import Batch, Query, Range, Result
from swarmstate.errors import CheckpointError, StoreFormatError, StoreIncompleteError
from swarmstate.operations import Copy, Operation, Read

from .indexing import write_indexed
from .layout import (
    CHECKPOINTS,
    INDEX,
    RUNS,
    bucket_of,
    parse_checkpoint_key,
    run_key,
    thread_id_of,
    thread_namespace,
    time_key,
)

_KEYS = (
    Range.of_prefix(CHECKPOINTS, keys_only=True),
    Range.of_prefix(RUNS, keys_only=True),
)


def delete_thread(thread_id: str) -> Operation[None]:
    """Delete everything of a thread."""
    thread_id = thread_id_of(thread_id)
    namespace = thread_namespace(thread_id)
    stale: Sequence[str] = ()
    # The keys of a thread that a server has lost part of, or that a disk has damaged, cannot be
    # read. Its index entries stay behind, as they do for an expired thread.
    with suppress(StoreIncompleteError, StoreFormatError):
        [answer] = yield Read([Query(namespace, (), _KEYS)])
        stale = _index_keys(answer, thread_id)
    yield from write_indexed([Batch(namespace, clear=True)], Batch(INDEX, delete=stale))


def copy_thread(source: str, target: str) -> Operation[None]:
    """Make a thread hold exactly what another holds; an unknown source changes nothing."""
    source, target = thread_id_of(source), thread_id_of(target)
    if source == target:
        return
    here, there = yield Read(
        [Query(thread_namespace(thread), (), _KEYS) for thread in (source, target)]
    )
    if not here.ranges[0]:
        return
    newest = max(parse_checkpoint_key(source, key)[0] for key, _ in here.ranges[0])
    yield Copy(thread_namespace(source), thread_namespace(target))
    added = [time_key(newest, target)]
    added += [run_key(key[len(RUNS) :], target) for key, _ in here.ranges[1]]
    stale = _index_keys(there, target)
    yield from write_indexed(
        [], Batch(INDEX, delete=stale, put_if_absent=dict.fromkeys(added, b""))
    )


def _index_keys(answer: Result, thread_id: str) -> list[str]:
    """Return the index keys of a thread, given its checkpoint and run keys."""
    checkpoints, runs = answer.ranges
    ids = set()
    for key, _ in checkpoints:
        # A thread with a damaged key can still be deleted.
        with suppress(CheckpointError):
            ids.add(bucket_of(parse_checkpoint_key(thread_id, key)[0]))
    return sorted(
        {time_key(bucket, thread_id) for bucket in ids}
        | {run_key(key[len(RUNS) :], thread_id) for key, _ in runs}
    )

"""Deleting checkpoints from a thread, with everything that only they used.

Blobs are shared, so pruning deletes the blobs that no kept checkpoint refers to.
A put may start to rely on such a blob at any moment. A collection therefore
writes a mark first, then reads the thread, and deletes only if the mark is still
there; every put removes the marks in the batch that adds its checkpoint. A
collection that deletes also removes the marks of all others, because their plans
are out of date; nothing else does, so of several collections of one thread, one
always succeeds. A mark left behind by a killed process is harmless.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from secrets import token_hex
from typing import TYPE_CHECKING, NamedTuple

from swarmstate import Batch, Expect, Query, Range, Result
from swarmstate.base import prefix_end, several
from swarmstate.errors import ConflictError
from swarmstate.operations import Operation, Read, Write

from .collector import collector_at_rest
from .indexing import threads_of_runs, write_indexed
from .keeping import Checkpoint, Choice, Kept, keep_senders, parse, with_delta_ancestors
from .layout import (
    BLOBS,
    CHECKPOINTS,
    COLLECTIONS,
    INDEX,
    RUNS,
    WRITES,
    address_of_write,
    checkpoints_prefix,
    run_key,
    thread_namespace,
    time_key,
    writes_prefix,
    writes_prefix_of,
)
from .records import decode_writes, without_parent

if TYPE_CHECKING:
    from langgraph.checkpoint.serde.base import SerializerProtocol

_ATTEMPTS = 10
_MARKS = (COLLECTIONS, prefix_end(COLLECTIONS))


def delete_for_runs(serde: SerializerProtocol, run_ids: Sequence[str]) -> Operation[None]:
    """Delete the checkpoints of runs, in all threads."""
    wanted = {str(run_id) for run_id in several(run_ids, "run_ids")}
    if not wanted:
        return
    entries = yield from threads_of_runs(sorted(wanted))

    def others(checkpoints: Sequence[Checkpoint]) -> Iterable[Checkpoint]:
        return (item for item in checkpoints if item.run_id not in wanted)

    for thread_id, keys in entries.items():
        planned = yield from collect(serde, thread_id, others)
        if not planned.exists:
            yield from write_indexed([], Batch(INDEX, delete=keys))


class Doomed(NamedTuple):
    """The keys to delete from a thread."""

    checkpoints: list[str]
    writes: list[str]
    blobs: list[str]


class Plan:
    """What to keep and what to delete of a thread, given a snapshot of it.

    Args:
        thread_id: The thread.
        checkpoints: All of its checkpoints, in key order.
        kept: The checkpoints to keep.
        answer: The answer to the ranges in `_EVERYTHING`.
    """

    def __init__(
        self, thread_id: str, checkpoints: Sequence[Checkpoint], kept: Kept, answer: Result
    ) -> None:
        self._thread_id = thread_id
        self._checkpoints = checkpoints
        self._kept = kept
        self._records, blobs, self._writes, self._runs = answer.ranges
        self._dropped = [item for item in checkpoints if item.place not in kept]
        self._live_runs = {f"{RUNS}{item.run_id}" for item in kept.values()}
        self._prefixes = [
            writes_prefix(ns, str(checkpoint_id)) for ns, checkpoint_id in _places(self._dropped)
        ]
        live = {BLOBS + name for item in kept.values() for name in item.stored.blobs()}
        prefixes = set(self._prefixes)
        self.doomed = Doomed(
            checkpoints=[_key(item) for item in self._dropped],
            writes=[key for key, _ in self._writes if writes_prefix_of(key) in prefixes],
            blobs=[key for key, _ in blobs if key not in live],
        )

    def spare_written(self) -> Operation[None]:
        """Keep the blobs that the remaining pending writes refer to.

        Raises:
            CheckpointError: One of these writes is damaged.
        """
        if not self.doomed.blobs:
            return
        doomed = set(self.doomed.writes)
        wanted = [
            (key, address_of_write(self._thread_id, key))
            for key, _ in self._writes
            if key not in doomed
        ]
        if not wanted:
            return
        keys = [key for key, _ in wanted]
        [answer] = yield Read([Query(thread_namespace(self._thread_id), keys)])
        written = {
            BLOBS + name
            for (key, address), record in zip(wanted, answer.values, strict=True)
            if record is not None
            for write in decode_writes(address, [(key, record)])
            for name in write.blobs()
        }
        blobs = [key for key in self.doomed.blobs if key not in written]
        self.doomed = self.doomed._replace(blobs=blobs)

    @property
    def exists(self) -> bool:
        """Whether the thread held any checkpoint."""
        return bool(self._checkpoints)

    def has_all_of(self, earlier: Plan) -> bool:
        """Whether no checkpoint was deleted since an earlier plan."""
        return {item.place for item in earlier._checkpoints} <= {
            item.place for item in self._checkpoints
        }

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to delete."""
        return not any(self.doomed) and not self._ended_runs

    @property
    def _ended_runs(self) -> list[str]:
        """The marks of runs that no kept checkpoint belongs to."""
        return [key for key, _ in self._runs if key not in self._live_runs]

    def batch(self, mark: str) -> Batch:
        """Return the batch that deletes the rest if `mark` is still there."""
        if self.is_empty:  # another collection was quicker; the plans of others stay valid
            return Batch(thread_namespace(self._thread_id), delete=[mark])
        dropped = set(_places(self._dropped))
        orphans = {
            key: without_parent(key, record)
            for item, (key, record) in zip(self._checkpoints, self._records, strict=True)
            if item.place not in dropped and item.parent in dropped
        }
        # By range: a write may have been added since the thread was read.
        writes = ((prefix, prefix_end(prefix)) for prefix in self._prefixes)
        return Batch(
            thread_namespace(self._thread_id),
            delete=[*self.doomed.checkpoints, *self.doomed.blobs, *self._ended_runs],
            delete_ranges=[_MARKS, *writes],
            put=orphans,
            expect=Expect(mark, mark),
        )

    def index_batch(self) -> Batch | None:
        """Return the batch that updates the index afterwards, if any."""
        stale = {time_key(str(id_), self._thread_id) for _, id_ in _places(self._dropped)}
        stale |= {run_key(key[len(RUNS) :], self._thread_id) for key in self._ended_runs}
        if not stale:
            return None
        newest = max((str(id_) for _, id_ in self._kept), default=None)
        present = {} if newest is None else {time_key(newest, self._thread_id): b""}
        return Batch(INDEX, delete=sorted(stale), put_if_absent=present)


_EVERYTHING = (
    Range.of_prefix(CHECKPOINTS),
    Range.of_prefix(BLOBS, keys_only=True),
    Range.of_prefix(WRITES, keys_only=True),
    Range.of_prefix(RUNS, keys_only=True),
)


def plan(serde: SerializerProtocol, thread_id: str, choose: Choice) -> Operation[Plan]:
    """Return what to delete of a thread when `choose` picks the checkpoints to keep.

    These are kept as well: the ancestors that a kept checkpoint's DeltaChannels
    are rebuilt from, the parent that holds its pending sends if it has an old
    format, and the pending writes of every kept checkpoint. A kept checkpoint
    whose parent is deleted is left without one.

    Raises:
        CheckpointError: A checkpoint is damaged, so the blobs that it needs are
            unknown.
    """
    [answer] = yield Read([Query(thread_namespace(thread_id), (), _EVERYTHING)])
    with collector_at_rest():
        checkpoints = [parse(serde, thread_id, *record) for record in answer.ranges[0]]
    kept = with_delta_ancestors(checkpoints, choose(checkpoints))
    yield from keep_senders(checkpoints, kept)
    planned = Plan(thread_id, checkpoints, kept, answer)
    yield from planned.spare_written()
    return planned


def collect(serde: SerializerProtocol, thread_id: str, choose: Choice) -> Operation[Plan]:
    """Delete what `plan` says from a thread, and return the plan.

    Raises:
        CheckpointError: A checkpoint is damaged; nothing was deleted.
        ConflictError: The thread is written to so often that no attempt
            succeeded; nothing was deleted.
    """
    # In a regular clean-up most threads have nothing to delete, and cost no write.
    planned = yield from plan(serde, thread_id, choose)
    if planned.is_empty:
        return planned
    attempts = 0
    while attempts < _ATTEMPTS:
        mark = COLLECTIONS + token_hex(8)
        yield Write([Batch(thread_namespace(thread_id), put={mark: b""})])
        earlier, planned = planned, (yield from plan(serde, thread_id, choose))
        # Losing to another collection does not count: these come to an end.
        attempts += planned.has_all_of(earlier)
        try:
            yield Write([planned.batch(mark)])
        except ConflictError:
            continue
        # Separately: the mark is gone now, so the batch above could not be repeated.
        if (index := planned.index_batch()) is not None:
            yield from write_indexed([], index)
        return planned
    raise ConflictError(
        f"thread {thread_id!r} was written to during each of {_ATTEMPTS} attempts to prune it; "
        "nothing was deleted, prune it again when it is less busy"
    )


def _places(checkpoints: Iterable[Checkpoint]) -> list[tuple[str, str | None]]:
    return [item.place for item in checkpoints]


def _key(item: Checkpoint) -> str:
    checkpoint_ns, checkpoint_id = item.place
    return f"{checkpoints_prefix(checkpoint_ns)}{checkpoint_id}"

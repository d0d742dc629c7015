"""Pruning: which checkpoints to keep, and the report of what was deleted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, NamedTuple, SupportsIndex

from swarmstate import Query, Range
from swarmstate.base import several
from swarmstate.errors import StoreFormatError, StoreIncompleteError
from swarmstate.operations import Operation, Read

from .collecting import Doomed, collect, plan
from .keeping import ROOT, Checkpoint, with_delta_ancestors
from .layout import BLOBS, CHECKPOINTS, WRITES, thread_id_of, thread_namespace
from .threads import delete_thread

if TYPE_CHECKING:
    from langgraph.checkpoint.serde.base import SerializerProtocol

# Records read at once to add up their sizes; a blob may be as large as a list item.
_CHUNK = 32
# In LangGraph's checkpoint namespaces, precedes the id of a task; node names cannot contain it.
_TASK = ":"


@dataclass(frozen=True)
class PruneReport:
    """What `prune` deleted, or would delete in a dry run.

    Attributes:
        threads: Number of threads that something was deleted from.
        checkpoints: Number of checkpoints.
        writes: Number of pending writes of these checkpoints.
        blobs: Number of pieces of values that only these checkpoints used.
        freed_bytes: Bytes of all these records, in a dry run only: finding out
            requires reading everything that is to be deleted.
    """

    threads: int = 0
    checkpoints: int = 0
    writes: int = 0
    blobs: int = 0
    freed_bytes: int | None = None


class Retention(NamedTuple):
    """The rules for keeping checkpoints; one that matches either rule is kept.

    Attributes:
        keep_last: Keep this many of the newest checkpoints of each checkpoint namespace.
        older_than: Keep checkpoints that are not older than this many seconds; None
            disables the rule.
        now: The current time.
    """

    keep_last: int
    older_than: float | None
    now: datetime

    def choose(self, checkpoints: Sequence[Checkpoint]) -> Iterable[Checkpoint]:
        """Return the checkpoints to keep, given those of a thread in key order.

        Each run of a subgraph has its own namespace, which ends in the id of a task, and can be
        reached only from the checkpoint that it was started from. It is deleted along with that
        checkpoint, but kept if that checkpoint is missing: it may be stored a moment later.
        """
        by_namespace: dict[str, list[Checkpoint]] = {}
        for item in checkpoints:
            by_namespace.setdefault(item.stored.address.checkpoint_ns, []).append(item)
        roots = by_namespace.get(ROOT, [])
        kept = with_delta_ancestors(roots, self._choose_of(roots))
        gone = {item.stored.address.checkpoint_id for item in roots if item.place not in kept}
        for checkpoint_ns, items in by_namespace.items():
            if not (_TASK in checkpoint_ns and items[-1].root in gone):
                yield from self._choose_of(items)

    def _choose_of(self, items: Sequence[Checkpoint]) -> Iterable[Checkpoint]:
        yield from (item for item in items[: -self.keep_last] if self._is_recent(item))
        yield from items[-self.keep_last :]

    def _is_recent(self, item: Checkpoint) -> bool:
        return self.older_than is not None and _age(item.ts, self.now) <= self.older_than


def retention_of(
    strategy: str, keep_last: int | None, older_than: timedelta | float | None
) -> Retention | None:
    """Return the retention for the arguments of `prune`; None keeps nothing.

    Raises:
        ValueError: The arguments are invalid, alone or in combination.
    """
    # LangGraph's server uses another name for what LangGraph calls "delete".
    deletes = strategy in ("delete", "delete_all")
    if not deletes and strategy != "keep_latest":
        raise ValueError(f"expected strategy to be 'keep_latest' or 'delete', found {strategy!r}")
    if deletes:
        if keep_last is not None or older_than is not None:
            raise ValueError(
                "strategy 'delete' deletes whole threads and takes neither keep_last nor "
                "older_than; omit strategy to keep some checkpoints"
            )
        return None
    is_count = isinstance(keep_last, SupportsIndex)
    if keep_last is not None and not (is_count and keep_last > 0):
        raise ValueError(
            f"expected keep_last to be at least 1, found {keep_last!r}; "
            "strategy 'delete' keeps nothing"
        )
    seconds = older_than.total_seconds() if isinstance(older_than, timedelta) else older_than
    is_number = seconds is None or isinstance(seconds, int | float)
    if seconds is not None and not (is_number and seconds >= 0):
        raise ValueError(
            f"expected older_than to be a timedelta or seconds, at least 0, found {older_than!r}"
        )
    return Retention(1 if keep_last is None else keep_last, seconds, datetime.now(timezone.utc))


def prune(
    serde: SerializerProtocol,
    thread_ids: Iterable[str],
    retention: Retention | None,
    *,
    dry_run: bool,
) -> Operation[PruneReport]:
    """Delete what the retention does not keep; see `SwarmStateSaver.prune`."""
    threads = checkpoints = writes = blobs = size = 0
    for thread_id in dict.fromkeys(map(thread_id_of, several(thread_ids, "thread_ids"))):
        doomed = yield from _prune(serde, thread_id, retention, dry_run=dry_run)
        threads += any(doomed)
        checkpoints += len(doomed.checkpoints)
        writes += len(doomed.writes)
        blobs += len(doomed.blobs)
        if dry_run:
            size += yield from _size(thread_id, [key for keys in doomed for key in keys])
    return PruneReport(threads, checkpoints, writes, blobs, size if dry_run else None)


def _prune(
    serde: SerializerProtocol, thread_id: str, retention: Retention | None, *, dry_run: bool
) -> Operation[Doomed]:
    if retention is None:
        try:
            doomed = yield from _whole_thread(thread_id)
        except (StoreIncompleteError, StoreFormatError):
            if dry_run:
                raise
            # The remains of a damaged thread cannot be counted, but are deleted anyway.
            doomed = Doomed([], [], [])
        if not dry_run:
            yield from delete_thread(thread_id)
        return doomed
    carry_out = plan if dry_run else collect
    planned = yield from carry_out(serde, thread_id, retention.choose)
    return planned.doomed


def _whole_thread(thread_id: str) -> Operation[Doomed]:
    """Return the keys of all checkpoints, writes and blobs of a thread."""
    ranges = [Range.of_prefix(kind, keys_only=True) for kind in (CHECKPOINTS, WRITES, BLOBS)]
    [answer] = yield Read([Query(thread_namespace(thread_id), (), ranges)])
    return Doomed(*([key for key, _ in found] for found in answer.ranges))


def _size(thread_id: str, keys: Sequence[str]) -> Operation[int]:
    """Return the total size of records of a thread, reading a few at a time."""
    size = 0
    for start in range(0, len(keys), _CHUNK):
        [answer] = yield Read([Query(thread_namespace(thread_id), keys[start : start + _CHUNK])])
        size += sum(len(value) for value in answer.values if value is not None)
    return size


def _age(ts: object, now: datetime) -> float:
    """Return a checkpoint's age in seconds; 0 if its `ts` is not a valid time."""
    try:
        # Python 3.10 does not parse the "Z" that JavaScript writes.
        made = datetime.fromisoformat(str(ts).replace("Z", "+00:00"))
    except ValueError:
        return 0.0
    if made.tzinfo is None:
        made = made.replace(tzinfo=timezone.utc)
    return (now - made).total_seconds()

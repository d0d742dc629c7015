"""Bring an index up to date before it answers.

The records in the store are the truth. Each process has its own index, which reads the log
entries that were added since, and the records they name.
Operations, written once and free of I/O; see `swarmstate.operations`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from swarmstate._plane import Query, Range, Result, prefix_end
from swarmstate.codec import loads
from swarmstate.errors import DecodeError, DimensionError, TypeNotAllowedError
from swarmstate.operations import OFFLOADED_BYTES, Compute, Operation, Read
from swarmstate.vectors import _layout as layout
from swarmstate.vectors._head import read_head
from swarmstate.vectors._shared import Shared, View
from swarmstate.vectors._snapshots import WORTHWHILE

# Records per step of a large read: those of one step are in memory twice, as bytes and as vectors.
PAGE = 500


def refresh(shared: Shared) -> Operation[View]:
    """Return the index, with everything that was written before this call."""
    while True:
        view = shared.view
        if view is None:
            view = yield from load(shared)
            shared.view = view
            if not view.is_saved:
                return view
        ticket, doubtful = view.index.begin()
        try:
            cursors = dict(view.cursors)
            query = tail_query(shared.namespace, cursors, doubtful)
            [result] = yield Read([query])
            changed = changes(cursors, result)
            if changed is None:
                shared.drop(view)
                continue
            certain = True
            if doubtful:
                certain = view.index.apply(ticket, zip(doubtful, result.values[1:], strict=True))
            for keys in pages(sorted(changed.difference(doubtful))):
                [items] = yield Read([Query(shared.namespace, keys=keys)])
                certain &= view.index.apply(ticket, zip(keys, items.values, strict=True))
            for lane, entries in zip(layout.LANES, result.ranges, strict=True):
                if cursors and len(entries) > 1:
                    view.advance(lane, entries[-1][0], len(entries) - 1)
            if certain:
                shared.save_if_due(view)
                return view
        except DimensionError:
            # The collection was cleared and started over after its log was read.
            shared.drop(view)
        finally:
            view.index.end(ticket)


def tail_query(namespace: str, cursors: Mapping[int, str], doubtful: Sequence[str]) -> Query:
    ranges = [
        Range(cursors[lane], prefix_end(layout.lane_prefix(lane))) if cursors else Range(limit=0)
        for lane in layout.LANES
    ]
    return Query(namespace, keys=[layout.META, *doubtful], ranges=ranges)


def changes(cursors: Mapping[int, str], result: Result) -> set[str] | None:
    """Return the keys of changed records, or None if they cannot be determined."""
    meta = result.values[0]
    if meta is None or not cursors:
        return None if cursors or meta is not None else set()
    changed: set[str] = set()
    for lane, entries in zip(layout.LANES, result.ranges, strict=True):
        # The last entry that was read must still be there: this proves that the entries after
        # it continue the same chain, with nothing trimmed in between.
        if not entries or entries[0][0] != cursors[lane]:
            return None
        for _, ids in entries[1:]:
            try:
                changed.update(map(layout.ITEM.__add__, loads(ids)))
            except (DecodeError, TypeNotAllowedError, TypeError):
                # The entry is damaged: read all records to find what it would have named.
                return None
    return changed


def load(shared: Shared) -> Operation[View]:
    """Load the index from the file, or else build it from all records."""
    snapshot = shared.snapshot
    if snapshot is not None and shared.trusts_snapshot:
        loaded = yield Compute(snapshot.load, OFFLOADED_BYTES)
        if loaded is not None:
            index, cursors = loaded
            return View(index, dict(zip(layout.LANES, cursors, strict=True)), is_saved=True)
    view = yield from read_all(shared)
    shared.trusts_snapshot = True
    if len(view.index) >= WORTHWHILE:
        shared.save(view)
    return view


def read_all(shared: Shared) -> Operation[View]:
    """Build an index from all records.

    Raises:
        DimensionError: The records have embeddings of different dimensions.
    """
    while True:
        head = yield from read_head(shared)
        view = View(shared.new_index(), dict(head.tails) if head else {})
        if head is None:
            return view
        try:
            yield from read_records(shared, view)
        except DimensionError:
            # The collection may have been cleared and started over between two pages.
            found = yield from read_head(shared)
            if found is not None and found.tails == head.tails:
                raise
        else:
            return view


def read_records(shared: Shared, view: View) -> Operation[None]:
    # Anything written from here on is in the log after the tails of the view.
    ticket, _ = view.index.begin()
    try:
        start, stop = layout.ITEM, prefix_end(layout.ITEM)
        while True:
            [result] = yield Read(
                [Query(shared.namespace, ranges=[Range(start, stop, limit=PAGE)])]
            )
            [records] = result.ranges
            view.index.apply(ticket, records)
            if len(records) < PAGE:
                return
            # The last record is read again with the next page, which does no harm.
            start = records[-1][0]
    finally:
        view.index.end(ticket)


def pages(keys: Sequence[str]) -> Iterable[Sequence[str]]:
    for start in range(0, len(keys), PAGE):
        yield keys[start : start + PAGE]

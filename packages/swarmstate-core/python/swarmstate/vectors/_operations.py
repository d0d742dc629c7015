"""What a collection does, written once and free of I/O; see `swarmstate.operations`.

The records in the store are the truth. Each process has an index of its own,
which is brought up to date before it answers: by the entries that came to the
log's lanes since, and the records they name.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from swarmstate import _core
from swarmstate._plane import Batch, Expect, Query, Range, Result, prefix_end
from swarmstate.codec import dumps, loads
from swarmstate.errors import (
    ConflictError,
    DecodeError,
    DimensionError,
    StoreFormatError,
    TypeNotAllowedError,
)
from swarmstate.operations import OFFLOADED_BYTES, Compute, Operation, Read, Write
from swarmstate.vectors import _layout as layout
from swarmstate.vectors._snapshots import WORTHWHILE, SnapshotFile

# Records per step where many are read: those of one are in memory twice, as bytes and as vectors.
PAGE = 500


class Head(NamedTuple):
    """What a writer must know: the dimension, and the last entry of each lane."""

    dimensions: int | None
    tails: dict[int, str]


class View:
    """An index and how far it has read each lane of the log."""

    def __init__(
        self, index: _core.VectorIndex, cursors: dict[int, str], *, is_saved: bool = False
    ) -> None:
        self.index: Final = index
        # Whether it was made of a file, which may know less than was written meanwhile.
        self.is_saved: Final = is_saved
        # Entries that were read since the index was last saved.
        self.unsaved = 0
        # By lane, the last entry that the index knows; none if there was no collection.
        # Only ever moves ahead: entries are in the order of their keys.
        self.cursors = cursors

    def advance(self, lane: int, key: str, entries: int = 1) -> None:
        self.unsaved += entries
        # Two threads may both advance, and the lesser key may win. Then entries are
        # read again, which does no harm.
        self.cursors[lane] = max(self.cursors[lane], key)

    @property
    def size(self) -> int:
        """How many bytes a search looks at."""
        return len(self.index) * (64 + (self.index.dimensions or 0))


class Shared:
    """What the threads that use one `Collection` share."""

    def __init__(
        self,
        namespace: str,
        new_index: Callable[[], _core.VectorIndex],
        snapshot: SnapshotFile | None,
    ) -> None:
        self.namespace: Final = namespace
        self.new_index: Final = new_index
        self.snapshot: Final = snapshot
        # Whether the file is worth loading.
        self.trusts_snapshot = True
        # What was last known, None if nothing is; replaced, never changed, but for the tails.
        self.head: Head | None = None
        self.view: View | None = None
        # The lane that is written to unless another thread is doing so, and the busy ones.
        self.lane = random.choice(layout.LANES)
        self.busy: Final[set[int]] = set()

    def forget(self) -> None:
        self.head = None
        self.view = None

    def drop(self, view: View) -> None:
        """Let go of an index of another collection than lies there now, or too far behind it."""
        if self.view is view:
            self.view = None
        if view.is_saved and self.snapshot is not None:
            self.trusts_snapshot = False
            self.snapshot.remove()

    def save(self, view: View, *, wait: bool = False) -> None:
        """Save an index, unless there is no file for it or nothing in it."""
        if self.snapshot is not None and view.cursors:
            view.unsaved = 0
            # What is read while it is saved is read again by whoever loads it.
            cursors = [view.cursors[lane] for lane in layout.LANES]
            self.snapshot.save(view.index, cursors, wait=wait)

    def save_if_due(self, view: View) -> None:
        """Save an index in the background before the log forgets what it would have to read."""
        if view.unsaved >= layout.SAVED:
            self.save(view)


def read_head(shared: Shared) -> Operation[Head | None]:
    [result] = yield Read([layout.head_query(shared.namespace)])
    [meta] = result.values
    if meta is None:
        return None
    check_format(shared, meta)
    dimensions, *lanes = result.ranges
    tails = [key for entries in lanes for key, _ in entries]
    size = dimensions[0][0].removeprefix(layout.DIMENSIONS) if dimensions else None
    if not layout.are_tails(tails) or not (size is None or size.isdecimal()):
        raise StoreFormatError(
            f"the collection in namespace {shared.namespace!r} is damaged: expected a dimension "
            f"and the last entries of {len(layout.LANES)} lanes, found {size!r} and {tails}; "
            "restore a back-up, or copy its records to another collection"
        )
    return Head(None if size is None else int(size), dict(zip(layout.LANES, tails, strict=True)))


def check_format(shared: Shared, meta: bytes) -> None:
    try:
        found = loads(meta)["v"]
    except (DecodeError, TypeNotAllowedError, TypeError, LookupError):
        raise no_collection(shared) from None
    if found != layout.FORMAT:
        raise StoreFormatError(
            f"expected a collection of format {layout.FORMAT} in namespace "
            f"{shared.namespace!r}, but it has format {found}: use the version of swarmstate "
            "that wrote it, or a newer one"
        )


def open_head(shared: Shared, dimensions: int | None) -> Operation[Head]:
    """Make the collection if there is none, and its dimension known.

    Raises:
        DimensionError: The dimension is another one.
        StoreFormatError: The namespace holds something else.
    """
    head = shared.head
    if head is not None and dimensions in (None, head.dimensions):
        return head
    while True:
        # Not what was known before: meanwhile the collection may have been cleared.
        head = shared.head = yield from read_head(shared)
        if head is None:
            batch = layout.creation(shared.namespace, dimensions)
        elif dimensions in (None, head.dimensions):
            return head
        elif head.dimensions is not None:
            raise DimensionError(head.dimensions, dimensions or 0)
        else:
            batch = layout.first_dimension(shared.namespace, dimensions)
        try:
            yield Write([batch])
        except ConflictError:
            if head is None and (yield from read_head(shared)) is None:
                raise no_collection(shared) from None


def check_dimensions(shared: Shared, dimensions: int) -> Operation[None]:
    """Check that a dimension is that of the collection, if this has one.

    Raises:
        DimensionError: The dimension is another one.
        StoreFormatError: The namespace holds something else.
    """
    head = shared.head
    if head is None or head.dimensions != dimensions:
        # Not what was known before: meanwhile the collection may have been cleared.
        head = shared.head = yield from read_head(shared)
    if head is not None and head.dimensions not in (None, dimensions):
        raise DimensionError(head.dimensions or 0, dimensions)


def no_collection(shared: Shared) -> StoreFormatError:
    return StoreFormatError(
        f"namespace {shared.namespace!r} holds records that are no collection: choose another "
        "namespace"
    )


def clear(shared: Shared) -> Operation[None]:
    """Delete everything, if it is a collection.

    Raises:
        StoreFormatError: The namespace holds something else.
    """
    query = Query(shared.namespace, keys=[layout.META], ranges=[Range(limit=1, keys_only=True)])
    while True:
        [result] = yield Read([query])
        [meta], [first] = result.values, result.ranges
        if meta is None:
            if first:
                raise no_collection(shared)
            return
        check_format(shared, meta)
        # Not what somebody else put there meanwhile.
        batch = Batch(shared.namespace, clear=True, expect_values={layout.META: meta})
        with suppress(ConflictError):
            yield Write([batch])
            return


def commit(
    shared: Shared,
    put: Mapping[str, bytes],
    delete: Sequence[str],
    dimensions: int | None,
    expected: Mapping[str, bytes] | None = None,
) -> Operation[bool]:
    """Write records and the entry that names them, and show them to the index.

    Returns False if `expected`, values by key, may not be there any more; then
    nothing is written.
    """
    ids = dumps([key.removeprefix(layout.ITEM) for key in (*put, *delete)])
    while True:
        head = yield from open_head(shared, dimensions)
        lane = choose_lane(shared)
        last = head.tails[lane]
        key, trim = layout.following(lane, last)
        batch = Batch(
            shared.namespace,
            put={**put, key: ids},
            delete=delete,
            delete_ranges=trim,
            expect=Expect(layout.lane_prefix(lane), last),
            expect_values=expected or {},
        )
        view = shared.view
        ticket = view.index.begin()[0] if view else 0
        shared.busy.add(lane)
        try:
            yield Write([batch])
            head.tails[lane] = key
            if view:
                try:
                    view.index.apply(ticket, [*put.items(), *((each, None) for each in delete)])
                except DimensionError:
                    # It is of a collection that somebody has cleared since.
                    shared.drop(view)
                    return True
                if view.cursors.get(lane) == last:
                    view.advance(lane, key)
                    shared.save_if_due(view)
            return True
        except ConflictError:
            # Somebody else writes to this lane: leave it, and unless another thread of this
            # process knows more, ask the store how things are.
            shared.lane = random.choice(layout.LANES)
            if shared.head is head and head.tails[lane] == last:
                shared.head = None
            if expected is not None:
                return False
        finally:
            shared.busy.discard(lane)
            if view:
                view.index.end(ticket)


def choose_lane(shared: Shared) -> int:
    if shared.lane not in shared.busy:
        return shared.lane
    free = [lane for lane in layout.LANES if lane not in shared.busy]
    return random.choice(free or layout.LANES)


def refresh(shared: Shared) -> Operation[View]:
    """Return the index with everything that was written before this began."""
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
            changed = changes(shared, cursors, result)
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
            # The collection was cleared, and begun anew, after its log was read.
            shared.drop(view)
        finally:
            view.index.end(ticket)


def tail_query(namespace: str, cursors: Mapping[int, str], doubtful: Sequence[str]) -> Query:
    ranges = [
        Range(cursors[lane], prefix_end(layout.lane_prefix(lane))) if cursors else Range(limit=0)
        for lane in layout.LANES
    ]
    return Query(namespace, keys=[layout.META, *doubtful], ranges=ranges)


def changes(shared: Shared, cursors: Mapping[int, str], result: Result) -> set[str] | None:
    """Return the keys of records that changed, or None if that cannot be known."""
    meta = result.values[0]
    if meta is None or not cursors:
        return None if cursors or meta is not None else set()
    changed: set[str] = set()
    for lane, entries in zip(layout.LANES, result.ranges, strict=True):
        # The entry that was read last must still be there: it proves that what follows
        # is the rest of the same chain, with nothing trimmed in between.
        if not entries or entries[0][0] != cursors[lane]:
            return None
        for _, ids in entries[1:]:
            try:
                changed.update(map(layout.ITEM.__add__, loads(ids)))
            except (DecodeError, TypeNotAllowedError, TypeError):
                # Damaged: all records say what this would have said.
                return None
    return changed


def load(shared: Shared) -> Operation[View]:
    """Make an index of the file, or else of all records."""
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
    """Make an index of all records.

    Raises:
        DimensionError: The records have embeddings of several dimensions.
    """
    while True:
        head = yield from read_head(shared)
        view = View(shared.new_index(), dict(head.tails) if head else {})
        if head is None:
            return view
        try:
            yield from read_records(shared, view)
        except DimensionError:
            # The collection may have been cleared, and begun anew, between two pages.
            found = yield from read_head(shared)
            if found is not None and found.tails == head.tails:
                raise
        else:
            return view


def read_records(shared: Shared, view: View) -> Operation[None]:
    # Whatever is written from here on is in the log after the tails of the view.
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
            # Read again with the next page, which does no harm.
            start = records[-1][0]
    finally:
        view.index.end(ticket)


def pages(keys: Sequence[str], size: int = PAGE) -> Iterable[Sequence[str]]:
    for start in range(0, len(keys), size):
        yield keys[start : start + size]

"""The state of a collection that a process's threads share: its head and an index."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final, NamedTuple

from swarmstate import _core
from swarmstate.vectors import _layout as layout
from swarmstate.vectors._snapshots import SnapshotFile


class Head(NamedTuple):
    """What a writer must know: the dimension, and the last entry of each lane."""

    dimensions: int | None
    tails: dict[int, str]


class View:
    """An index, and how far it has read each lane of the log."""

    def __init__(
        self, index: _core.VectorIndex, cursors: dict[int, str], *, is_saved: bool = False
    ) -> None:
        self.index: Final = index
        # Whether it was loaded from a file, which may be behind the log.
        self.is_saved: Final = is_saved
        # Log entries read since the index was last saved.
        self.unsaved = 0
        # The last entry of each lane that the index has read; empty if there was no collection.
        # Cursors only move forward, in the order of the keys.
        self.cursors = cursors

    def advance(self, lane: int, key: str, entries: int = 1) -> None:
        self.unsaved += entries
        # If two threads advance at once, the lesser key may win. Then entries are
        # read again, which does no harm.
        self.cursors[lane] = max(self.cursors[lane], key)

    @property
    def size(self) -> int:
        """How many bytes a search examines."""
        return len(self.index) * (64 + (self.index.dimensions or 0))


class Shared:
    """The state shared by the threads that use one `Collection`."""

    def __init__(
        self,
        namespace: str,
        new_index: Callable[[], _core.VectorIndex],
        snapshot: SnapshotFile | None,
    ) -> None:
        self.namespace: Final = namespace
        self.new_index: Final = new_index
        self.snapshot: Final = snapshot
        # Whether the file is worth trying to load.
        self.trusts_snapshot = True
        # The last known head, or None; it is replaced, never mutated, except for its tails.
        self.head: Head | None = None
        self.view: View | None = None
        # The lane to write to, unless another thread is writing to it; and the busy lanes.
        self.lane = random.choice(layout.LANES)
        self.busy: Final[set[int]] = set()

    def forget(self) -> None:
        self.head = None
        self.view = None

    def drop(self, view: View) -> None:
        """Drop an index whose collection was replaced, or that is too far behind the log."""
        if self.view is view:
            self.view = None
        if view.is_saved and self.snapshot is not None:
            self.trusts_snapshot = False
            self.snapshot.remove()

    def save(self, view: View, *, wait: bool = False) -> None:
        """Save an index, unless it has no file, or there was no collection."""
        if self.snapshot is not None and view.cursors:
            view.unsaved = 0
            # Entries read during the save are read again by whoever loads the file.
            cursors = [view.cursors[lane] for lane in layout.LANES]
            self.snapshot.save(view.index, cursors, wait=wait)

    def save_if_due(self, view: View) -> None:
        """Save an index in the background, before the log trims entries that the file lacks."""
        if view.unsaved >= layout.SAVED:
            self.save(view)

"""What the threads of a process share of one collection: its head, and an index of it."""

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

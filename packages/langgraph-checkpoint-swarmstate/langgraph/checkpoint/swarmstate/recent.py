"""A cache of blobs that were just stored, so that the next read need not fetch them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from threading import Lock

from swarmstate.forking import renew_in_children

__all__ = ["RecentBlobs"]


class RecentBlobs:
    """The bytes of the most recently stored blobs, by name. Thread-safe.

    A name contains the hash of the bytes, so an entry can never be stale.

    Args:
        budget: Maximum number of bytes to keep.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._renew()
        renew_in_children(self, RecentBlobs._renew)

    def _renew(self) -> None:
        """Empty the cache."""
        self._size = 0
        self._blobs: OrderedDict[str, bytes] = OrderedDict()
        self._lock = Lock()

    def add(self, blobs: Mapping[str, bytes]) -> None:
        """Add blobs and evict the oldest; a blob larger than the budget is skipped."""
        if not blobs:
            return
        with self._lock:
            for name, data in blobs.items():
                if len(data) > self._budget:
                    continue
                self._size += len(data) - len(self._blobs.pop(name, b""))
                self._blobs[name] = data
            while self._size > self._budget:
                self._size -= len(self._blobs.popitem(last=False)[1])

    def take(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return and remove the blobs that are here; the reader then remembers their values."""
        taken = {}
        with self._lock:
            for name in names:
                data = self._blobs.pop(name, None)
                if data is not None:
                    self._size -= len(data)
                    taken[name] = data
        return taken

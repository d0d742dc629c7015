"""Blobs that were stored just now, so that the next read need not ask the store for them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from threading import Lock

from swarmstate.forking import renew_in_children

__all__ = ["RecentBlobs"]


class RecentBlobs:
    """The bytes of the blobs that were stored last, by name; may be used from any thread.

    A name is made of the hash of the bytes, so what is found under it is right.

    Args:
        budget: How many bytes are kept at most.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._renew()
        renew_in_children(self, RecentBlobs._renew)

    def _renew(self) -> None:
        """Keep nothing."""
        self._size = 0
        self._blobs: OrderedDict[str, bytes] = OrderedDict()
        self._lock = Lock()

    def add(self, blobs: Mapping[str, bytes]) -> None:
        """Keep blobs, and let go of the oldest ones. One that alone is too large leaves them."""
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
        """Return those blobs that are kept, and let go of them: whoever reads remembers values."""
        taken = {}
        with self._lock:
            for name in names:
                data = self._blobs.pop(name, None)
                if data is not None:
                    self._size -= len(data)
                    taken[name] = data
        return taken

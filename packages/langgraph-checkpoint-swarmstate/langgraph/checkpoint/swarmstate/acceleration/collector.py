"""Lets Python's cyclic garbage collector run less often.

By default it scans the youngest objects after every 700 new ones (2,000 since Python 3.13), and
now and then all objects. A single run soon frees what it creates. With a hundred runs at once,
each keeps its objects until its model has answered, so the collector keeps running and finds
nothing.
"""

from __future__ import annotations

import gc

from .guarding import UnsuitableError

_NEW_OBJECTS = 10_000


class _Thresholds:
    """Sets the collector's thresholds, and restores them."""

    def __init__(self) -> None:
        self._before: tuple[int, int, int] | None = None

    def raise_first(self) -> None:
        """Raise the threshold of the youngest generation.

        Raises:
            UnsuitableError: The collector is off, or its threshold is already as high.
        """
        before = gc.get_threshold()
        if not gc.isenabled() or not 0 < before[0] < _NEW_OBJECTS:
            state = "on" if gc.isenabled() else "off"
            raise UnsuitableError(f"found the collector {state}, with thresholds {before}")
        gc.set_threshold(_NEW_OBJECTS, *before[1:])
        self._before = before

    def put_back(self) -> str | None:
        """Restore the old thresholds; if others have been set in the meantime, say so."""
        before, self._before = self._before, None
        if before is None:
            return None
        ours, found = (_NEW_OBJECTS, *before[1:]), gc.get_threshold()
        if found == ours:
            gc.set_threshold(*before)
            return None
        return (
            "expected the collector's thresholds to be those of patch 'collector', "
            f"{ours}, found {found}; left unchanged"
        )


_THRESHOLDS = _Thresholds()
engage = _THRESHOLDS.raise_first
release = _THRESHOLDS.put_back

REPLACEMENTS: dict[str, object] = {}

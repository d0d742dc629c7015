"""Lets Python's cyclic garbage collector run less often.

By default it looks at the youngest objects after every 700 new ones (2,000 since Python 3.13), and
now and then at all objects. One run soon lets go of what it makes. Of a hundred at once each keeps
it until its model has answered, so the collector is called again and again and finds nothing.
"""

from __future__ import annotations

import gc

from .guarding import UnsuitableError

_NEW_OBJECTS = 10_000


class _Thresholds:
    """The collector's thresholds, as long as they are ours."""

    def __init__(self) -> None:
        self._before: tuple[int, int, int] | None = None

    def raise_first(self) -> None:
        """Raise that of the youngest objects.

        Raises:
            UnsuitableError: The collector is off, or the program has set it as high.
        """
        before = gc.get_threshold()
        if not gc.isenabled() or not 0 < before[0] < _NEW_OBJECTS:
            state = "on" if gc.isenabled() else "off"
            raise UnsuitableError(f"found the collector {state}, with the thresholds {before}")
        gc.set_threshold(_NEW_OBJECTS, *before[1:])
        self._before = before

    def put_back(self) -> str | None:
        """Put back those that were there, or say that others have been set meanwhile."""
        before, self._before = self._before, None
        if before is None:
            return None
        ours, found = (_NEW_OBJECTS, *before[1:]), gc.get_threshold()
        if found == ours:
            gc.set_threshold(*before)
            return None
        return (
            "expected the collector's thresholds to be those of the patch 'collector', "
            f"{ours}, found {found}; they were left"
        )


_THRESHOLDS = _Thresholds()
engage = _THRESHOLDS.raise_first
release = _THRESHOLDS.put_back

REPLACEMENTS: dict[str, object] = {}

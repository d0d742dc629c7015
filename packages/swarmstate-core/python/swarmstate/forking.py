"""What begins anew in a forked child.

A thread that the child does not have may hold a lock, and a connection that it was forked with is
still its parent's.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

__all__ = ["leave_to_parent", "renew_in_children"]

T = TypeVar("T")


def renew_in_children(made: T, renew: Callable[[T], None]) -> None:
    """Call `renew(made)` in each child that is forked while `made` lives.

    No other thread runs then: locks are to be made anew, and what a thread may have left
    half done, or would do, is to be forgotten.
    """
    _renewals[made] = renew


def leave_to_parent(*resources: object) -> None:
    """Keep what a forked child has of its parent, such as connections, and never use it again.

    What nobody holds is collected, and that may close it, for the parent as well.
    """
    _of_parents.extend(resources)


def _renew_all() -> None:
    for made, renew in list(_renewals.items()):
        renew(made)


_of_parents: list[object] = []
_renewals: WeakKeyDictionary[Any, Callable[[Any], None]] = WeakKeyDictionary()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)

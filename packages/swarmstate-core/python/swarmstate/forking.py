"""Renew in a forked child what it cannot share with its parent.

A lock may be held by a thread that the child does not have, and an inherited connection still
belongs to the parent.
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

    No other thread runs at that point. `renew` must replace locks, and drop whatever a thread may
    have left half done or was about to do.
    """
    _renewals[made] = renew


def leave_to_parent(*resources: object) -> None:
    """Keep resources that a forked child inherited, such as connections, but never use them.

    Without a reference they would be collected, which may close them for the parent, too.
    """
    _of_parents.extend(resources)


def _renew_all() -> None:
    for made, renew in list(_renewals.items()):
        renew(made)


_of_parents: list[object] = []
_renewals: WeakKeyDictionary[Any, Callable[[Any], None]] = WeakKeyDictionary()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)

"""What begins anew in a forked child: a thread that it does not have may hold a lock."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

__all__ = ["renew_in_children"]

T = TypeVar("T")


def renew_in_children(made: T, renew: Callable[[T], None]) -> None:
    """Call `renew(made)` in each child that is forked while `made` lives.

    No other thread runs then: locks are to be made anew, and what a thread may have left
    half done, or would do, is to be forgotten.
    """
    _renewals[made] = renew


def _renew_all() -> None:
    for made, renew in list(_renewals.items()):
        renew(made)


_renewals: WeakKeyDictionary[Any, Callable[[Any], None]] = WeakKeyDictionary()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)

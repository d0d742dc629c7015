"""Checks for arguments that are easy to get wrong; public in `swarmstate.base`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from operator import index
from typing import SupportsIndex

__all__ = ["check_count", "check_numbers", "check_seconds", "check_ttl", "several"]


def check_ttl(ttl: float | None) -> None:
    """Raise unless a default expiry is None, or a positive and finite number of seconds.

    Raises:
        TypeError: It is not a number.
        ValueError: It is not positive and finite.
    """
    if ttl is not None:
        check_seconds("ttl", ttl)


def check_seconds(name: str, found: float) -> None:
    """Raise unless an argument is a positive and finite number of seconds.

    Raises:
        TypeError: It is not a number.
        ValueError: It is not positive and finite.
    """
    if not isinstance(found, int | float):
        raise TypeError(
            f"expected {name} to be a number of seconds, found a {type(found).__name__}"
        )
    if not (found > 0 and math.isfinite(found)):
        raise ValueError(
            f"expected {name} to be a positive, finite number of seconds, found {found!r}"
        )


def check_numbers(**options: object) -> None:
    """Raise TypeError for an option that is not a number, such as a str from the environment."""
    for name, found in options.items():
        if not isinstance(found, int | float):
            raise TypeError(f"expected {name} to be a number, found {found!r:.80}")


def check_count(name: str, found: object) -> None:
    """Check that an argument is a count.

    Raises:
        TypeError: It is not an integer.
        ValueError: It is negative.
    """
    if not isinstance(found, SupportsIndex):
        raise TypeError(f"expected {name} to be an integer, found {found!r:.80}")
    if index(found) < 0:
        raise ValueError(f"expected {name} to be at least 0, found {found!r}")


def several(texts: Iterable[str], what: str) -> list[str]:
    """Return an iterable of texts as a list.

    Raises:
        TypeError: It is a single str, whose characters are surely not meant, or not iterable.
    """
    found: object = texts
    if not isinstance(found, Iterable):
        raise TypeError(f"expected {what} to be a list, found {found!r:.80}")
    if isinstance(texts, str):
        raise TypeError(f"expected {what} to be a list, found {texts!r}; did you mean [{texts!r}]?")
    return list(texts)

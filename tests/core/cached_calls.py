"""Cached functions that record their real calls."""

from __future__ import annotations

from typing import Any

from swarmstate.cached import cached


def calls_of(**options: Any) -> tuple[Any, list[Any]]:
    """Return a cached function and the list of arguments of its real calls."""
    calls: list[Any] = []

    @cached(maxsize=None, **options)
    def function(value: Any, other: Any = "default", /) -> int:
        calls.append(value)
        return len(calls)

    return function, calls

"""Matching items against the filter of a search.

The rules are those of LangGraph's `InMemoryStore`, with one exception: where it raises
an error because two values cannot be compared as numbers, strings are compared as
strings and anything else does not match, as in its `PostgresStore`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

_EQUALITY: Mapping[str, Callable[[Any, Any], Any]] = {
    "$eq": operator.eq,
    "$ne": operator.ne,
}
_ORDER: Mapping[str, Callable[[Any, Any], Any]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}

# A constant, because a union of types would be created anew for each item.
_LISTS = (list, tuple)
_NUMBERS = (int, float)


def check_filter(wanted: object) -> None:
    """Check the operators of a filter, or of a part of one.

    Raises:
        ValueError: An operator is unknown.
    """
    if isinstance(wanted, Mapping):
        names = [name for name in wanted if _is_operator(name)]
        for name in wanted if names else ():
            if name not in _EQUALITY and name not in _ORDER:
                known = ", ".join((*_EQUALITY, *_ORDER))
                raise ValueError(f"Unsupported operator: {name}; expected one of {known}")
        # The operand of an operator is a plain value, whatever it looks like.
        for part in () if names else wanted.values():
            check_filter(part)
    elif isinstance(wanted, list | tuple):
        for part in wanted:
            check_filter(part)


def matches(value: Mapping[str, Any], wanted: Mapping[str, Any] | None) -> bool:
    """Whether an item's value passes a filter that `check_filter` has accepted."""
    return all(_matches(value.get(name), part) for name, part in (wanted or {}).items())


def _matches(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        if any(_is_operator(name) for name in wanted):
            return all(_compare(name, found, part) for name, part in wanted.items())
        return isinstance(found, dict) and all(
            _matches(found.get(name), part) for name, part in wanted.items()
        )
    if isinstance(wanted, _LISTS):
        return (
            isinstance(found, _LISTS)
            and len(found) == len(wanted)
            and all(map(_matches, found, wanted))
        )
    return bool(found == wanted)


def _compare(name: str, found: Any, wanted: Any) -> bool:
    if name in _EQUALITY:
        return bool(_EQUALITY[name](found, wanted))
    compare = _ORDER[name]
    numbers = _number(found), _number(wanted)
    if None not in numbers:
        return bool(compare(*numbers))
    if isinstance(found, str) and isinstance(wanted, str):
        return bool(compare(found, wanted))
    return False


def _number(value: Any) -> float | int | None:
    """Return a value as a number, parsing strings; None if it is not one."""
    if isinstance(value, _NUMBERS):
        return value
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _is_operator(name: object) -> bool:
    return isinstance(name, str) and name.startswith("$")

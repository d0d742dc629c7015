"""The part of a value that compares the same way everywhere: plain data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

UNKNOWN: Final = ...
"""Stands, in a value or in a filter, for data that is too large or too secret to include.

It is Python's `...`. Every comparison with it holds, even `$ne`, and so does every
condition on a field below it. So a filter selects at least the records that it would
select if everything were known, and the caller must check the omitted parts of the
records found.
"""

_LONGEST_TEXT = 256
_MOST_ITEMS = 64
_DEEPEST = 4
# Larger ints may not equal the float that they are compared as.
_EXACT_INTS = 2**53
# Characters of texts that only Python parses as numbers, such as "1_000", or that are not UTF-8.
_UNUSUAL = re.compile(r"[^\x00-\x1b\x20-\x5e\x60-\x7e]")


def known_part(value: Any, depth: int = _DEEPEST) -> Any:
    """Return a copy of a value with `UNKNOWN` in place of data that is large or not plain.

    The copy keeps None, bools, ints of up to 2^53, floats, texts of up to 256
    characters, and lists and dicts of up to 64 of these, nested up to four deep. It
    omits texts that only some parsers take for a number, such as "1_000".
    """
    kind = type(value)
    if value is None or kind is bool or kind is float:
        return value
    if kind is int:
        return value if abs(value) <= _EXACT_INTS else UNKNOWN
    if kind is str:
        return value if len(value) <= _LONGEST_TEXT and is_usual(value) else UNKNOWN
    if depth == 0 or kind not in (dict, list) or len(value) > _MOST_ITEMS:
        return UNKNOWN
    if kind is list:
        return [known_part(item, depth - 1) for item in value]
    if not all(type(key) is str and is_usual(key) for key in value):
        return UNKNOWN
    return {key: known_part(item, depth - 1) for key, item in value.items()}


def known_filter(wanted: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return a filter that compares only plain data and selects at least as much.

    Applied to the known parts of values, it selects every value that the original filter
    selects, and possibly more; see `Where` for filters and `known_part`.
    """
    conditions = {
        name: _condition(part)
        for name, part in (wanted or {}).items()
        # Nested within another field, such a name would be an operator.
        if type(name) is str and not name.startswith("$") and is_usual(name)
    }
    return conditions or None


def _condition(wanted: Any) -> Any:
    if isinstance(wanted, list | tuple):
        return [_condition(part) for part in wanted]
    if not isinstance(wanted, dict):
        return known_part(wanted)
    names = list(wanted)
    if not all(type(name) is str and is_usual(name) for name in names):
        return UNKNOWN
    if any(name.startswith("$") for name in names):
        return {name: known_part(part) for name, part in wanted.items()}
    return {name: _condition(part) for name, part in wanted.items()}


def is_usual(text: str) -> bool:
    """Return whether a text is UTF-8, and numeric for everybody if it is for Python."""
    if not _UNUSUAL.search(text):
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    try:
        float(text)
    except ValueError:
        return True
    return False

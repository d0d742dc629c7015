"""What the index knows of items, so that a filter applies before they are ranked.

The record that holds the embeddings of an item holds a copy of its value, too, in
which `UNKNOWN` stands for whatever is large, or might be compared in another way by
the index than by `filters`. An index lets through what is unknown; so it lets through
at least what the filter does, and the items that are found are looked at again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.swarmstate.serde import SwarmStateSerializer

from swarmstate.vectors import UNKNOWN

_LONGEST_TEXT = 256
_MOST_ITEMS = 64
_DEEPEST = 4
# Ints beyond are not equal to the float that the index compares them as.
_EXACT_INTS = 2**53
# What may stand in a text that only Python reads as a number, such as "1_000", or that is no UTF-8.
_UNUSUAL = re.compile(r"[^\x00-\x1b\x20-\x5e\x60-\x7e]")


def is_public(serde: object) -> bool:
    """Tell whether a serializer writes values so that anybody can read them.

    What others hide, encrypted for example, must not lie in the index beside it.
    """
    return type(serde) in (SwarmStateSerializer, JsonPlusSerializer)


def known_part(value: Any, depth: int = _DEEPEST) -> Any:
    """Return a copy of a value with `UNKNOWN` for what the index is not to know."""
    kind = type(value)
    if value is None or kind is bool or kind is float:
        return value
    if kind is int:
        return value if abs(value) <= _EXACT_INTS else UNKNOWN
    if kind is str:
        return value if len(value) <= _LONGEST_TEXT and _is_usual(value) else UNKNOWN
    if depth == 0 or kind not in (dict, list) or len(value) > _MOST_ITEMS:
        return UNKNOWN
    if kind is list:
        return [known_part(item, depth - 1) for item in value]
    if not all(type(key) is str and _is_usual(key) for key in value):
        return UNKNOWN
    return {key: known_part(item, depth - 1) for key, item in value.items()}


def prefilter(wanted: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return a filter for the index that lets through at least what `filters.matches` does."""
    conditions = {
        name: _condition(part)
        for name, part in (wanted or {}).items()
        # As the name of a field the index would take it for an operator.
        if not name.startswith("$") and _is_usual(name)
    }
    return conditions or None


def _condition(wanted: Any) -> Any:
    if isinstance(wanted, list | tuple):
        return [_condition(part) for part in wanted]
    if not isinstance(wanted, dict):
        return known_part(wanted)
    names = list(wanted)
    if not all(type(name) is str and _is_usual(name) for name in names):
        return UNKNOWN
    if any(name.startswith("$") for name in names):
        return {name: known_part(part) for name, part in wanted.items()}
    return {name: _condition(part) for name, part in wanted.items()}


def _is_usual(text: str) -> bool:
    """Tell whether a text means the same to the index as to Python."""
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

"""Filtering items before they are decoded.

If a value's bytes were written by the codec alone, they show whether a field equals the value
in a filter, provided that both are plain.

The record with an item's embeddings also holds the known part of the item's value: `UNKNOWN`
stands for anything large, or anything that the index might compare differently from `filters`.
An index lets unknown values pass, so it never drops an item that the filter accepts; the items
found are then filtered again.
"""

from __future__ import annotations

from typing import Any

from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.swarmstate.serde import SwarmStateSerializer

from swarmstate.vectors import UNKNOWN, known_part


def known_of(serde: object, value: Any) -> Any:
    """Return the part of a value that the index may know, given its serializer.

    Whatever a serializer hides, for example by encryption, must not appear in the index.
    So something is known only if the serializer's values can be read by anybody.
    """
    is_public = type(serde) in (SwarmStateSerializer, JsonPlusSerializer)
    return known_part(value) if is_public else UNKNOWN


def visible_filter(serde: object, wanted: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the filter if it can be matched against the bytes that a serializer writes."""
    is_plain = type(serde) is SwarmStateSerializer and serde.plain_codec is not None
    return wanted if is_plain and type(wanted) is dict else None

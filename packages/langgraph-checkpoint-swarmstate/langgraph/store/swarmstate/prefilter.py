"""Filtering items before they are decoded.

Where the codec alone made the bytes of a value, they show whether a field equals what a filter
names, if both are plain.

The record that holds the embeddings of an item holds the known part of its value, too:
`UNKNOWN` stands for whatever is large, or might be compared in another way by the index
than by `filters`. An index lets through what is unknown; so it lets through at least
what the filter does, and the items that are found are looked at again.
"""

from __future__ import annotations

from typing import Any

from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.swarmstate.serde import SwarmStateSerializer

from swarmstate.vectors import UNKNOWN, known_part


def known_of(serde: object, value: Any) -> Any:
    """Return what the index may know of a value that a serializer writes.

    What serializers hide, encrypted for example, must not lie in the index beside it.
    So only of those whose values anybody can read is anything known.
    """
    is_public = type(serde) in (SwarmStateSerializer, JsonPlusSerializer)
    return known_part(value) if is_public else UNKNOWN


def visible_filter(serde: object, wanted: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the filter if it may be held against the bytes that a serializer writes."""
    is_plain = type(serde) is SwarmStateSerializer and serde.plain_codec is not None
    return wanted if is_plain and type(wanted) is dict else None

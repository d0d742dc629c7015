"""What the index knows of items, so that a filter applies before they are ranked.

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

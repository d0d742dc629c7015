"""Cache entries whose values a serializer of LangGraph's makes; see `swarmstate.entries`.

The content of each is `[type, bytes]`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.swarmstate.values import dump

from swarmstate import entries
from swarmstate.operations import Operation

if TYPE_CHECKING:
    from langgraph.checkpoint.serde.base import SerializerProtocol


def read(serde: SerializerProtocol, names: Sequence[str]) -> Operation[dict[str, Any]]:
    """Return the values of those entries that exist and can be read, by name."""

    def decode(content: Any) -> Any:
        type_, data = content
        return serde.loads_typed((type_, data))

    return entries.read(names, decode)


def write(
    serde: SerializerProtocol, values: Mapping[str, tuple[Any, float | None]]
) -> Operation[None]:
    """Store values, each with its time to live in seconds (None: for ever).

    Raises:
        EncodeError: A value cannot be serialized; nothing was stored.
    """
    return entries.write(
        {
            name: (dump(serde, value, f"cache entry {name!r}"), ttl)
            for name, (value, ttl) in values.items()
        }
    )

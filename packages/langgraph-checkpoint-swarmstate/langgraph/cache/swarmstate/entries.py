"""Cache entries whose values are encoded by a LangGraph serializer; see `swarmstate.entries`.

The content of each is `[type, bytes]`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.swarmstate.values import dump

from swarmstate import entries
from swarmstate.operations import Operation

if TYPE_CHECKING:
    from langgraph.checkpoint.serde.base import SerializerProtocol


def read(
    serde: SerializerProtocol, names: Sequence[str], restore: Callable[[Any], Any] | None = None
) -> Operation[dict[str, Any]]:
    """Return the values of the entries that exist and can be read, by name.

    Args:
        serde: The serializer.
        names: The names of the entries.
        restore: Converts what the serializer returns to the value, or raises if it is invalid.
    """

    def decode(content: Any) -> Any:
        type_, data = content
        value = serde.loads_typed((type_, data))
        return value if restore is None else restore(value)

    return entries.read(names, decode)


def write(
    serde: SerializerProtocol, values: Mapping[str, tuple[Any, float | None]]
) -> Operation[None]:
    """Store values, each with its time to live in seconds (None: forever).

    Raises:
        EncodeError: A value cannot be serialized; nothing was stored.
    """
    return entries.write(
        {
            name: (dump(serde, value, f"cache entry {name!r}"), ttl)
            for name, (value, ttl) in values.items()
        }
    )

"""Cache entries whose values are encoded by a LangGraph serializer; see `swarmstate.entries`.

The content of each is `[type, bytes]`. While the store is away, nothing is cached: whoever asks
can compute the value, and whoever computed it must not lose it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.swarmstate.values import dump

from swarmstate import entries
from swarmstate.errors import StoreUnavailableError
from swarmstate.operations import Operation

if TYPE_CHECKING:
    from langgraph.checkpoint.serde.base import SerializerProtocol

logger = logging.getLogger(__name__)


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

    try:
        return (yield from entries.read(names, decode))
    except StoreUnavailableError as error:
        logger.warning("the cache cannot be read: %s", error)
        return {}


def write(
    serde: SerializerProtocol, values: Mapping[str, tuple[Any, float | None]]
) -> Operation[None]:
    """Store values, each with its time to live in seconds (None: forever).

    Raises:
        EncodeError: A value cannot be serialized; nothing was stored.
    """
    contents = {
        name: (dump(serde, value, f"cache entry {name!r}"), ttl)
        for name, (value, ttl) in values.items()
    }
    try:
        yield from entries.write(contents)
    except StoreUnavailableError as error:
        logger.warning("%d results are not cached: %s", len(contents), error)

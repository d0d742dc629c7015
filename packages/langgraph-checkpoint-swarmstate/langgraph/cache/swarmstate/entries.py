"""Cache entries in a store.

Each entry is a namespace of the store, with the one record `value`: so stores
expire entries by themselves, each at its time. The record is the msgpack array
`[[type, bytes], check]` (`swarmstate.sharing.seal`); `type` and `bytes` are what the
cache's serializer made of the value.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.swarmstate.values import dump

from swarmstate import Batch, Query
from swarmstate.errors import EncryptionError, StoreFormatError
from swarmstate.operations import Namespaces, Operation, Read, Write
from swarmstate.sharing import seal, unseal

if TYPE_CHECKING:
    from langgraph.checkpoint.serde.base import SerializerProtocol

logger = logging.getLogger(__name__)

_KEY = "value"

# Of entries that were encrypted with another key, or not as the store expects it.
_UNREADABLE = EncryptionError, StoreFormatError

# Entries that are deleted in one round trip.
_PAGE = 500


def read(serde: SerializerProtocol, names: Sequence[str]) -> Operation[dict[str, Any]]:
    """Return the values of those entries that exist and can be read, by name."""
    if not names:
        return {}
    try:
        records = yield from _records(names)
    except _UNREADABLE:
        # A layer of the store does not take one of them.
        records = []
        for name in names:
            try:
                records += yield from _records([name])
            except _UNREADABLE as error:
                _log_unreadable(name, error)
                records.append(None)
    found = {}
    for name, record in zip(names, records, strict=True):
        if record is None:
            continue
        try:
            type_, data = unseal(record)
            found[name] = serde.loads_typed((type_, data))
        except Exception as error:
            _log_unreadable(name, error)
    return found


def _records(names: Sequence[str]) -> Operation[list[bytes | None]]:
    results = yield Read([Query(name, keys=[_KEY]) for name in names])
    return [result.values[0] for result in results]


def _log_unreadable(name: str, error: Exception) -> None:
    # It is computed anew and replaced: a cache loses nothing.
    logger.warning("cache entry %r cannot be read: %s", name, error)


def write(
    serde: SerializerProtocol, values: Mapping[str, tuple[Any, float | None]]
) -> Operation[None]:
    """Store values, each with its time to live in seconds (None: for ever).

    Raises:
        EncodeError: A value cannot be serialized; nothing was stored.
    """
    batches = [
        Batch(name, clear=True)
        if ttl is not None and ttl <= 0
        else Batch(
            name,
            put={_KEY: seal(dump(serde, value, f"cache entry {name!r}"))},
            ttl=math.inf if ttl is None else ttl,
        )
        for name, (value, ttl) in values.items()
    ]
    if batches:
        yield Write(batches)


def clear(prefix: str, *, deep: bool) -> Operation[None]:
    """Delete the entries whose names start with `prefix`.

    Args:
        prefix: The beginning, up to a slash.
        deep: Whether to delete also those with a slash after it.
    """
    names: list[str] = yield Namespaces(prefix)
    doomed = [name for name in names if deep or "/" not in name[len(prefix) :]]
    for page in _pages(doomed):
        yield Write([Batch(name, clear=True) for name in page])


def _pages(names: Sequence[str]) -> Iterable[Sequence[str]]:
    return (names[start : start + _PAGE] for start in range(0, len(names), _PAGE))

"""Cache entries in a store.

Each entry is a namespace of its own with the single record `value`, so the store expires
each entry at its own time. A cache holds only what can be computed again: an entry that
cannot be read counts as missing, and the next write replaces it. While the store is unavailable,
nothing is cached: whoever asks can compute the value, and must not lose what was computed.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, SupportsFloat

from swarmstate._plane import Batch, Query
from swarmstate.errors import StoreFormatError, StoreUnavailableError
from swarmstate.operations import Namespaces, Operation, Write, read_apart
from swarmstate.sharing import seal, unseal

__all__ = ["clear", "read", "write"]

logger = logging.getLogger(__name__)

_KEY = "value"

# How many entries are deleted in one round trip.
_PAGE = 500


def read(names: Sequence[str], decode: Callable[[Any], Any]) -> Operation[dict[str, Any]]:
    """Return the values of the entries that exist and can be read, by name.

    Args:
        names: The names of the entries.
        decode: Turns the written content of an entry into its value. If it raises
            anything, the error is logged and the entry counts as missing.
    """
    try:
        results = yield from read_apart([Query(name, keys=[_KEY]) for name in names])
    except StoreUnavailableError as error:
        logger.warning("cache entry %r cannot be read now: %s", names[0], error)
        return {}
    found = {}
    for name, result in zip(names, results, strict=True):
        if isinstance(result, Exception):
            _log_unreadable(name, result)
        elif (record := result.values[0]) is not None:
            try:
                found[name] = decode(unseal(record))
            except Exception as error:
                _log_unreadable(name, error)
    return found


def _log_unreadable(name: str, error: Exception) -> None:
    logger.warning("cache entry %r cannot be read: %s", name, error)


def write(contents: Mapping[str, tuple[Any, float | None]]) -> Operation[None]:
    """Write entries, each with its content and its time to live in seconds (None: forever).

    Contents are plain data, such as bytes.

    Raises:
        TypeError: A time to live is not a number.
    """
    for _, ttl in contents.values():
        if not (ttl is None or isinstance(ttl, SupportsFloat)):
            raise TypeError(f"expected ttl to be a number of seconds, found {ttl!r:.80}")
    batches = [
        Batch(name, clear=True)
        if ttl is not None and ttl <= 0
        else Batch(name, put={_KEY: seal(content)}, ttl=math.inf if ttl is None else ttl)
        for name, (content, ttl) in contents.items()
    ]
    if not batches:
        return
    try:
        yield from _replace(batches)
    except StoreUnavailableError as error:
        logger.warning("cache entry %r cannot be written now: %s", next(iter(contents)), error)


def _replace(batches: Sequence[Batch]) -> Operation[None]:
    try:
        yield Write(batches)
    except StoreFormatError:
        # The store has lost a part of one of these entries; replace all of them entirely.
        yield Write([batch._replace(clear=True) for batch in batches])


def clear(prefix: str, *, deep: bool = True) -> Operation[None]:
    """Delete the entries whose names start with `prefix`.

    Args:
        prefix: The beginning of the names, up to a slash.
        deep: Whether to delete also names with another slash after the prefix.
    """
    names: list[str] = yield Namespaces(prefix)
    doomed = [name for name in names if deep or "/" not in name[len(prefix) :]]
    for start in range(0, len(doomed), _PAGE):
        yield Write([Batch(name, clear=True) for name in doomed[start : start + _PAGE]])

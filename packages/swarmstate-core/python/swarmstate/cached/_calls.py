"""Options, keys and statistics, which all cached functions share."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, NamedTuple

from swarmstate._core import CallCache, CallKey
from swarmstate.cached._entries import StoredEntries

__all__ = ["MISSING", "CacheInfo", "Options", "arguments", "check_result", "info", "key_of"]

MISSING: Any = object()


class CacheInfo(NamedTuple):
    """Statistics of a cached function.

    Attributes:
        hits: Calls that were answered with a remembered result.
        misses: All other calls, including those that waited for a result that
            another call was computing.
        maxsize: The maximum number of remembered results; None is unlimited.
        currsize: The number of remembered results, including expired ones that
            have not been looked up since. None if they are in a store.
        evictions: Results that were dropped to make room for others.
    """

    hits: int
    misses: int
    maxsize: int | None
    currsize: int | None
    evictions: int


class Options(NamedTuple):
    """How results are remembered; see `swarmstate.cached.cached`."""

    maxsize: int | None
    ttl: float | None
    entries: StoredEntries | None
    key: Callable[..., Any] | None
    clock: Callable[[], float] | None


def arguments(function: Callable[..., Any], options: Options) -> dict[str, Any]:
    """Return the arguments for the cache of a function."""
    parameters: list[tuple[str | None, tuple[Any] | None]] = []
    positional = 0
    if options.key is None:
        for each in _parameters(function):
            if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
                continue
            default = None if each.default is each.empty else (each.default,)
            is_named = each.kind is not each.POSITIONAL_ONLY
            parameters.append((each.name if is_named else None, default))
            positional += each.kind is not each.KEYWORD_ONLY
    return {
        # Results that are kept in a store are not kept here as well.
        "maxsize": options.maxsize if options.entries is None else 0,
        "ttl": options.ttl,
        "clock": options.clock,
        "positional": positional,
        "parameters": parameters,
        "missing": MISSING,
    }


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return [*inspect.signature(function).parameters.values()]
    except ValueError:
        # Some functions written in C have no signature: their arguments are used as passed.
        return []


def check_result(result: object) -> None:
    """Check that a result can be given to more than one caller.

    Raises:
        TypeError: It can be used only once.
    """
    if isinstance(result, CoroutineType | GeneratorType | AsyncGeneratorType):
        if isinstance(result, CoroutineType):
            # Otherwise Python would warn that it was never awaited.
            result.close()
        raise TypeError(
            f"expected a result that can be cached, found {type(result).__name__!r}, which can "
            "be used only once: return a list of its items, or decorate the coroutine function "
            "that created it"
        )


def key_of(cache: CallCache, options: Options, args: Any, kwargs: Any) -> CallKey:
    if options.key is None:
        return cache.key(args, kwargs)
    return cache.key((options.key(*args, **kwargs),), None)


def info(cache: CallCache, options: Options) -> CacheInfo:
    hits, misses, evictions, size = cache.statistics()
    is_stored = options.entries is not None
    return CacheInfo(hits, misses, options.maxsize, None if is_stored else size, evictions)

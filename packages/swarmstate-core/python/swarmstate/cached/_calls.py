"""What all cached functions share: options, keys and statistics."""

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
        hits: Calls that were answered with a result of before.
        misses: Calls that were not, those included that waited for a result
            which another one was computing.
        maxsize: Results that are remembered at most; None is all.
        currsize: Results that are remembered now, also those that have expired
            and were not asked for since. None if they are in a store.
        evictions: Results that were forgotten to make room for others.
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
    """Return what the cache of a function is made with."""
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
        # Nothing is remembered here of what a store holds.
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
        # Some of those written in C do not tell: what they are given is taken as it is passed.
        return []


def check_result(result: object) -> None:
    """Check that a result can be given to more than one caller.

    Raises:
        TypeError: It can be used once.
    """
    if isinstance(result, CoroutineType | GeneratorType | AsyncGeneratorType):
        if isinstance(result, CoroutineType):
            # Nobody will await it, of which Python would complain.
            result.close()
        raise TypeError(
            f"expected a result that can be remembered, found {type(result).__name__!r}, which can "
            "be used only once: return a list of its items, or decorate the coroutine function "
            "that made it"
        )


def key_of(cache: CallCache, options: Options, args: Any, kwargs: Any) -> CallKey:
    if options.key is None:
        return cache.key(args, kwargs)
    return cache.key((options.key(*args, **kwargs),), None)


def info(cache: CallCache, options: Options) -> CacheInfo:
    hits, misses, evictions, size = cache.statistics()
    is_stored = options.entries is not None
    return CacheInfo(hits, misses, options.maxsize, None if is_stored else size, evictions)

"""Coroutine functions whose results are remembered."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from swarmstate._core import CallCache, CallKey
from swarmstate.cached._calls import (
    MISSING,
    CacheInfo,
    Options,
    arguments,
    check_result,
    info,
    key_of,
)
from swarmstate.cached._flights import AsyncFlights

__all__ = ["CachedCoroutine", "cached_coroutine"]

P = ParamSpec("P")
Q = ParamSpec("Q")
T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)


class CachedCoroutine(Protocol[P, R_co]):
    """A coroutine function that remembers its results, as `cached` returns it."""

    __wrapped__: Callable[..., Any]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R_co]:
        """Return the result for these arguments, when awaited."""

    # The same overloads as for functions.
    @overload
    def __get__(
        self: Callable[Concatenate[T, Q], Coroutine[Any, Any, R_co]],
        instance: None,
        owner: type[T],
        /,
    ) -> CachedCoroutine[Concatenate[T, Q], R_co]: ...
    @overload
    def __get__(
        self: Callable[Concatenate[T, Q], Coroutine[Any, Any, R_co]],
        instance: T,
        owner: type | None = None,
        /,
    ) -> CachedCoroutine[Q, R_co]: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None, /) -> Any: ...

    def cache_info(self) -> CacheInfo:
        """Return statistics since the function was created or its cache was cleared."""

    def cache_clear(self) -> None:
        """Forget all results and the statistics."""

    async def acache_clear(self) -> None:
        """Forget everything as `cache_clear` does, without blocking the event loop."""


def cached_coroutine(
    function: Callable[..., Coroutine[Any, Any, Any]], options: Options
) -> CachedCoroutine[..., Any]:
    """Return a coroutine function that remembers the results of another one."""
    cache = CallCache(**arguments(function, options))
    flights = AsyncFlights[tuple[bool, Any]]()
    entries = options.entries

    async def compute(key: CallKey, args: Any, kwargs: Any) -> tuple[bool, Any]:
        found = cache.peek(key) if entries is None else await entries.aget(key, MISSING)
        if found is not MISSING:
            return True, found
        value = await function(*args, **kwargs)
        if entries is None:
            check_result(value)
            cache.put(key, value)
        else:
            await entries.aput(key, value)
        return False, value

    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        key = key_of(cache, options, args, kwargs)
        if entries is None:
            found = cache.peek(key)
            cache.count(found is not MISSING)
            if found is not MISSING:
                return found
        is_hit = False
        try:
            is_hit, value = await flights.result(key, lambda: compute(key, args, kwargs))
        finally:
            if entries is not None:
                cache.count(is_hit)
        return value

    def cache_clear() -> None:
        if entries is not None:
            entries.clear()
        cache.clear()

    async def acache_clear() -> None:
        if entries is not None:
            await entries.aclear()
        cache.clear()

    made: Any = wrapper
    made.cache_info = lambda: info(cache, options)
    made.cache_clear = cache_clear
    made.acache_clear = acache_clear
    coroutine: CachedCoroutine[..., Any] = made
    return coroutine

"""Remembering what functions and coroutines return.

    from swarmstate.cached import cached

    @cached(maxsize=1000, ttl=60)
    def look_up(city: str) -> dict: ...

Results are remembered by the values of the arguments, however these were passed.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Coroutine
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    NamedTuple,
    ParamSpec,
    Protocol,
    TypeVar,
    overload,
)

from swarmstate._cache_entries import StoredEntries
from swarmstate._core import CallCache, CallKey
from swarmstate._flights import AsyncFlights, Flights
from swarmstate.base import BaseStore, check_store, check_ttl

if TYPE_CHECKING:
    from swarmstate.base import Allow

__all__ = ["CacheInfo", "CachedCoroutine", "CachedFunction", "cached"]

P = ParamSpec("P")
Q = ParamSpec("Q")
T = TypeVar("T")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

_MISSING: Any = object()
_DEFAULT_SIZE = 128


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


class CachedCoroutine(Protocol[P, R_co]):
    """A coroutine function whose results are remembered; what `cached` makes of one."""

    __wrapped__: Callable[..., Any]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R_co]:
        """Return the result for these arguments, when awaited."""

    # For methods. Type checkers ask it of class methods and static methods, too: these are Any.
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
        """Return statistics since the function was made or its cache was cleared."""

    def cache_clear(self) -> None:
        """Forget all results and the statistics."""

    async def acache_clear(self) -> None:
        """Forget as `cache_clear` does, without blocking the event loop."""


class _CachedMethod(Protocol[P, R_co]):
    """A cached function, bound to an instance."""

    __wrapped__: Callable[..., Any]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Return the result for the instance and these arguments."""

    def cache_info(self) -> CacheInfo:
        """Return statistics, for all instances."""

    def cache_clear(self) -> None:
        """Forget all results, of all instances, and the statistics."""


class _Options(NamedTuple):
    maxsize: int | None
    ttl: float | None
    entries: StoredEntries | None
    key: Callable[..., Any] | None
    clock: Callable[[], float] | None


class CachedFunction(CallCache, Generic[P, R]):
    """A function whose results are remembered; what `cached` makes of one.

    Attributes:
        __wrapped__: The function.
    """

    __wrapped__: Callable[P, R]
    _options: _Options
    _flights: Flights[Any]

    if TYPE_CHECKING:

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
            """Return the result for these arguments."""

    # As for coroutines.
    @overload
    def __get__(
        self: Callable[Concatenate[T, Q], R], instance: None, owner: type[T]
    ) -> CachedFunction[Concatenate[T, Q], R]: ...
    @overload
    def __get__(
        self: Callable[Concatenate[T, Q], R], instance: T, owner: type | None = None
    ) -> _CachedMethod[Q, R]: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None) -> Any: ...
    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Bind to an instance, as functions do."""
        return self if instance is None else types.MethodType(self, instance)

    def cache_info(self) -> CacheInfo:
        """Return statistics since the function was made or its cache was cleared."""
        return _info(self, self._options)

    def cache_clear(self) -> None:
        """Forget all results and the statistics. What is being computed is not forgotten."""
        if self._options.entries is not None:
            self._options.entries.clear()
        self.clear()

    def _miss(self, key: CallKey, args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> Any:
        return self._flights.result(key, lambda: self._compute(key, args, kwargs or {}))

    def _compute(self, key: CallKey, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # A flight that has just landed has left its result.
        found = self.peek(key)
        if found is _MISSING:
            found = self.__wrapped__(*args, **kwargs)
            self.put(key, found)
        return found


class _KeyedFunction(CachedFunction[P, R]):
    """A cached function with keys of its own making."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the result for these arguments."""
        key = _key_of(self, self._options, args, kwargs)
        found = self.peek(key)
        self.count(found is not _MISSING)
        return self._miss(key, args, kwargs) if found is _MISSING else found


class _StoredFunction(CachedFunction[P, R]):
    """A cached function whose results are in a store."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the result for these arguments."""
        entries = self._options.entries
        assert entries is not None
        key = _key_of(self, self._options, args, kwargs)

        # Within the flight already, so that the store is asked once, and what is
        # computed meanwhile is not missed.
        def compute() -> tuple[bool, Any]:
            found = entries.get(key, _MISSING)
            if found is not _MISSING:
                return True, found
            value = self.__wrapped__(*args, **kwargs)
            entries.put(key, value)
            return False, value

        is_hit = False
        try:
            is_hit, value = self._flights.result(key, compute)
        finally:
            self.count(is_hit)
        return value


# A coroutine function is a function, too; of the overloads the first one that fits counts.
@overload
def cached(  # type: ignore[overload-overlap]  # as said
    function: Callable[P, Coroutine[Any, Any, R]], /
) -> CachedCoroutine[P, R]: ...
@overload
def cached(function: Callable[P, R], /) -> CachedFunction[P, R]: ...
@overload
def cached(
    *,
    maxsize: int | None = ...,
    ttl: float | None = ...,
    store: BaseStore | None = ...,
    name: str | None = ...,
    key: Callable[..., Any] | None = ...,
    allow: Allow = ...,
    clock: Callable[[], float] | None = ...,
) -> _Decorator: ...
def cached(
    function: Callable[..., Any] | None = None,
    /,
    *,
    maxsize: int | None = _MISSING,
    ttl: float | None = None,
    store: BaseStore | None = None,
    name: str | None = None,
    key: Callable[..., Any] | None = None,
    allow: Allow = (),
    clock: Callable[[], float] | None = None,
) -> Any:
    """Remember what a function or a coroutine function returns.

    Calls are the same if their arguments are: equal strings, numbers, lists, dicts
    in whatever order, sets, dataclasses, pydantic models, arrays and all else that
    the codec takes, passed by position, by name or by default. Values of different
    types differ: 1, 1.0 and True are three calls, and so are (1,) and [1].

    Of calls that miss the same result at the same time one computes it and the
    others wait. An exception reaches all of them and is not remembered. Whoever
    cancels a call of a coroutine function stops nobody but himself; when nobody is
    left the computation is cancelled too. Safe for threads and event loops.

    In process, a call returns the very object that the first one returned. In a
    store, it returns a copy, and results outlive the process and are shared with
    others that use the store; that calls wait for one another holds within a process.

    Args:
        function: The function, if used as `@cached` without arguments.
        maxsize: Results to remember in process, 128 if not given; the least recently
            used is forgotten first. None is all, 0 none. Not for stores.
        ttl: Seconds after which a result is computed anew; None is never.
        store: Where to keep results; in process if not given.
        name: What tells the function from others in the store; its module and
            qualified name by default. Give another one when it changes what it returns.
        key: Is called with the arguments and returns what stands for them, such as
            `lambda self, text: text`. Needed for arguments the codec does not take.
        allow: Classes that results in a store may be of; see `swarmstate.codec.Codec`.
        clock: What tells the time in process, in seconds. Tests of expiry set it.

    Raises:
        EncodeError: (a TypeError) On a call, if the codec does not take an argument,
            or, in a store, the result.
        TypeError: `store` is no store.
        ValueError: An option makes no sense.
    """
    check_ttl(ttl)
    if store is None:
        if name is not None or allow != ():
            raise ValueError("name and allow are for results in a store; pass store=, too")
        maxsize = _DEFAULT_SIZE if maxsize is _MISSING else maxsize
        if maxsize is not None and maxsize < 0:
            raise ValueError(f"expected maxsize to be at least 0, or None, found {maxsize}")
    else:
        check_store(store)
        if maxsize is not _MISSING and maxsize is not None:
            raise ValueError(
                "a store has no maxsize: bound its results by ttl, and leave maxsize out"
            )
        maxsize = None

    def decorate(function: Callable[..., Any]) -> Any:
        entries = None
        if store is not None:
            full_name = name or f"{function.__module__}.{function.__qualname__}"
            entries = StoredEntries(store, full_name, ttl, allow)
        options = _Options(maxsize, ttl, entries, key, clock)
        if inspect.iscoroutinefunction(function):
            return _cached_coroutine(function, options)
        return _cached_function(function, options)

    return decorate if function is None else decorate(function)


class _Decorator(Protocol):
    @overload
    def __call__(  # type: ignore[overload-overlap]  # as for `cached`
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> CachedCoroutine[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> CachedFunction[P, R]: ...


def _cached_function(function: Callable[P, R], options: _Options) -> CachedFunction[P, R]:
    kind: type[CachedFunction[P, R]]
    if options.entries is not None:
        kind = _StoredFunction
    elif options.key is not None:
        kind = _KeyedFunction
    else:
        kind = CachedFunction
    made = kind(**_arguments(function, options))
    made._options = options
    made._flights = Flights()
    functools.update_wrapper(made, function)
    return made


def _cached_coroutine(
    function: Callable[..., Coroutine[Any, Any, Any]], options: _Options
) -> CachedCoroutine[..., Any]:
    cache = CallCache(**_arguments(function, options))
    flights = AsyncFlights[tuple[bool, Any]]()
    entries = options.entries

    async def compute(key: CallKey, args: Any, kwargs: Any) -> tuple[bool, Any]:
        found = cache.peek(key) if entries is None else await entries.aget(key, _MISSING)
        if found is not _MISSING:
            return True, found
        value = await function(*args, **kwargs)
        if entries is None:
            cache.put(key, value)
        else:
            await entries.aput(key, value)
        return False, value

    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        key = _key_of(cache, options, args, kwargs)
        if entries is None:
            found = cache.peek(key)
            cache.count(found is not _MISSING)
            if found is not _MISSING:
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
    made.cache_info = lambda: _info(cache, options)
    made.cache_clear = cache_clear
    made.acache_clear = acache_clear
    coroutine: CachedCoroutine[..., Any] = made
    return coroutine


def _arguments(function: Callable[..., Any], options: _Options) -> dict[str, Any]:
    """Return what the cache of a function is made with."""
    parameters: list[tuple[str | None, tuple[Any] | None]] = []
    positional = 0
    if options.key is None:
        given = inspect.signature(function).parameters.values()
        for each in given:
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
        "missing": _MISSING,
    }


def _key_of(cache: CallCache, options: _Options, args: Any, kwargs: Any) -> CallKey:
    if options.key is None:
        return cache.key(args, kwargs)
    return cache.key((options.key(*args, **kwargs),), None)


def _info(cache: CallCache, options: _Options) -> CacheInfo:
    hits, misses, evictions, size = cache.statistics()
    is_stored = options.entries is not None
    return CacheInfo(hits, misses, options.maxsize, None if is_stored else size, evictions)

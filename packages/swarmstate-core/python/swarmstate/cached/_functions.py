"""Functions whose results are remembered."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    Protocol,
    TypeVar,
    overload,
)

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
from swarmstate.cached._flights import Flights

__all__ = ["CachedFunction", "cached_function"]

P = ParamSpec("P")
Q = ParamSpec("Q")
T = TypeVar("T")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class _CachedMethod(Protocol[P, R_co]):
    """A cached function, bound to an instance."""

    __wrapped__: Callable[..., Any]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Return the result for the instance and these arguments."""

    def cache_info(self) -> CacheInfo:
        """Return the statistics of all instances."""

    def cache_clear(self) -> None:
        """Forget the results of all instances, and the statistics."""


class CachedFunction(CallCache, Generic[P, R]):
    """A function that remembers its results, as `cached` returns it.

    Attributes:
        __wrapped__: The original function.
    """

    __wrapped__: Callable[P, R]
    __qualname__: str
    _options: Options
    _flights: Flights[Any]

    if TYPE_CHECKING:

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
            """Return the result for these arguments."""

    # For methods. Type checkers apply it to class methods and static methods, too: these are Any.
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
        """Return statistics since the function was created or its cache was cleared."""
        return info(self, self._options)

    def cache_clear(self) -> None:
        """Forget all results, except those still being computed, and the statistics."""
        if self._options.entries is not None:
            self._options.entries.clear()
        self.clear()

    def __reduce__(self) -> str:
        """Let pickle and copy refer to it by its qualified name, as they do for functions."""
        return self.__qualname__

    def _miss(self, key: CallKey, args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> Any:
        return self._flights.result(key, lambda: self._compute(key, args, kwargs or {}))

    def _compute(self, key: CallKey, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # A flight that has just landed has left its result in the cache.
        found = self.peek(key)
        if found is MISSING:
            found = self.__wrapped__(*args, **kwargs)
            check_result(found)
            self.put(key, found)
        return found


class _KeyedFunction(CachedFunction[P, R]):
    """A cached function with a key function."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the result for these arguments."""
        key = key_of(self, self._options, args, kwargs)
        found = self.peek(key)
        self.count(found is not MISSING)
        return self._miss(key, args, kwargs) if found is MISSING else found


class _StoredFunction(CachedFunction[P, R]):
    """A cached function whose results are in a store."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the result for these arguments."""
        entries = self._options.entries
        assert entries is not None
        key = key_of(self, self._options, args, kwargs)

        # Look into the store within the flight, so that it is asked only once, and so that
        # results computed in the meantime are found.
        def compute() -> tuple[bool, Any]:
            found = entries.get(key, MISSING)
            if found is not MISSING:
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


def cached_function(function: Callable[P, R], options: Options) -> CachedFunction[P, R]:
    """Return a function that remembers the results of another one."""
    kind: type[CachedFunction[P, R]]
    if options.entries is not None:
        kind = _StoredFunction
    elif options.key is not None:
        kind = _KeyedFunction
    else:
        kind = CachedFunction
    made = kind(**arguments(function, options))
    made._options = options
    made._flights = Flights()
    functools.update_wrapper(made, function)
    return made

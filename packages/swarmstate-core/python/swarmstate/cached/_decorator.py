"""The decorator that remembers the results of functions and coroutines."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, overload

from swarmstate.base import BaseStore, check_store, check_ttl
from swarmstate.cached._calls import MISSING, Options
from swarmstate.cached._coroutines import CachedCoroutine, cached_coroutine
from swarmstate.cached._entries import StoredEntries
from swarmstate.cached._functions import CachedFunction, cached_function

if TYPE_CHECKING:
    from swarmstate.base import Allow

__all__ = ["cached"]

P = ParamSpec("P")
R = TypeVar("R")

_DEFAULT_SIZE = 128


# The overloads overlap, since a coroutine function is a function, too; the first match counts.
@overload
def cached(  # type: ignore[overload-overlap]  # see above
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
    maxsize: int | None = MISSING,
    ttl: float | None = None,
    store: BaseStore | None = None,
    name: str | None = None,
    key: Callable[..., Any] | None = None,
    allow: Allow = (),
    clock: Callable[[], float] | None = None,
) -> Any:
    """Remember the results of a function or a coroutine function.

    Calls are the same if their arguments are equal: strings, numbers, lists, dicts in
    any order, sets, dataclasses, pydantic models, arrays and everything else that the
    codec supports, passed by position, by name or by default. Values of different
    types differ: 1, 1.0 and True are three calls, and so are (1,) and [1].

    If several calls miss the same result at the same time, one computes it and the
    others wait. An exception reaches all of them and is not remembered. Cancelling a
    call of a coroutine function affects no other call; once no call is left, the
    computation is cancelled, too. Safe for threads and event loops.

    In process, a call returns the very object that the first one returned. With a
    store, it returns a copy; results outlive the process and are shared with others
    that use the store, but only calls in the same process wait for one another. While the
    store is unavailable, nothing is cached, and a warning is logged.

    Args:
        function: The function, when used as `@cached` without arguments.
        maxsize: How many results to remember in process, 128 by default; the least
            recently used is forgotten first. None is all, 0 none. Not for stores.
        ttl: Seconds after which a result is computed again; None is never.
        store: Where to keep results; in process if not given.
        name: The function's name in the store, unique among its users; the module and
            qualified name by default. Give a new one when the results change.
            Lambdas, callable objects and their methods need one.
        key: Called with the arguments, returns a value that stands for them, such as
            `lambda self, text: text`. Needed for arguments the codec does not support.
        allow: Classes that results in a store may have; see `swarmstate.codec.Codec`.
        clock: A function that returns the time in seconds, for results in process. Meant
            for tests of expiry.

    Raises:
        EncodeError: (a TypeError) On a call, if the codec does not support an argument,
            or, with a store, the result.
        TypeError: `store` is not a store, `maxsize` not a number, `name` not a str, or the
            decorated object not a function; on a call, if the result can be used only
            once, like a generator.
        ValueError: An option makes no sense, or a name is missing.
    """
    if function is not None and not callable(function):
        raise TypeError(
            f"expected a function, found {function!r}; pass options by name, such as maxsize=128"
        )
    check_ttl(ttl)
    if store is None:
        if name is not None or allow != ():
            raise ValueError("name and allow require a store; pass store=, too")
        maxsize = _DEFAULT_SIZE if maxsize is MISSING else maxsize
        size: object = maxsize
        if size is not None and not isinstance(size, int):
            found = type(size).__name__
            raise TypeError(f"expected maxsize to be a number of results, or None, found a {found}")
        if maxsize is not None and maxsize < 0:
            raise ValueError(f"expected maxsize to be at least 0, or None, found {maxsize}")
    else:
        check_store(store)
        named: object = name
        if named is not None and not isinstance(named, str):
            raise TypeError(f"expected name to be a str, found {named!r:.200}")
        if maxsize is not MISSING and maxsize is not None:
            raise ValueError("a store has no maxsize: limit its results with ttl, and omit maxsize")
        maxsize = None

    def decorate(function: Callable[..., Any]) -> Any:
        entries = None
        if store is not None:
            entries = StoredEntries(store, name or _name_of(function), ttl, allow)
        options = Options(maxsize, ttl, entries, key, clock)
        if _is_async(function):
            return cached_coroutine(function, options)
        return cached_function(function, options)

    return decorate if function is None else decorate(function)


def _name_of(function: Callable[..., Any]) -> str:
    """Return a name that identifies the function.

    Raises:
        ValueError: The function has no such name.
    """
    name = getattr(function, "__qualname__", None)
    if name is None or name.endswith("<lambda>") or inspect.ismethod(function):
        raise ValueError(
            f"expected a function with its own name, found {function!r:.200}: pass name= "
            "to distinguish its results from others in the store"
        )
    return f"{function.__module__}.{name}"


def _is_async(function: Callable[..., Any]) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    call = type(function).__call__
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


class _Decorator(Protocol):
    @overload
    def __call__(  # type: ignore[overload-overlap]  # as for `cached`
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> CachedCoroutine[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> CachedFunction[P, R]: ...

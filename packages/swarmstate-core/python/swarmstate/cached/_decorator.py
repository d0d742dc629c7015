"""The decorator that remembers what functions and coroutines return."""

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
    maxsize: int | None = MISSING,
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
            Lambdas, callable objects and their methods need one.
        key: Is called with the arguments and returns what stands for them, such as
            `lambda self, text: text`. Needed for arguments the codec does not take.
        allow: Classes that results in a store may be of; see `swarmstate.codec.Codec`.
        clock: What tells the time in process, in seconds. Tests of expiry set it.

    Raises:
        EncodeError: (a TypeError) On a call, if the codec does not take an argument,
            or, in a store, the result.
        TypeError: `store` is no store, `maxsize` no number, `name` no text, or what is decorated
            no function; on a call, if the result can be used only once, as generators can.
        ValueError: An option makes no sense, or a name is missing.
    """
    if function is not None and not callable(function):
        raise TypeError(
            f"expected a function, found {function!r}; options have names, such as maxsize=128"
        )
    check_ttl(ttl)
    if store is None:
        if name is not None or allow != ():
            raise ValueError("name and allow are for results in a store; pass store=, too")
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
            raise TypeError(f"expected name to be a text, found {named!r:.200}")
        if maxsize is not MISSING and maxsize is not None:
            raise ValueError(
                "a store has no maxsize: bound its results by ttl, and leave maxsize out"
            )
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
    """Return what tells a function from others.

    Raises:
        ValueError: Nothing does.
    """
    name = getattr(function, "__qualname__", None)
    if name is None or name.endswith("<lambda>") or inspect.ismethod(function):
        raise ValueError(
            f"expected a function with a name of its own, found {function!r:.200}: pass name=, "
            "which tells its results from those of others in the store"
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

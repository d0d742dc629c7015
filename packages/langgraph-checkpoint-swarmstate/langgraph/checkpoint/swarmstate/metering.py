"""Measuring a saver's operations from outside, so that an unmetered saver pays nothing.

`metered_class` returns a subclass whose methods wrap those of its base in a
`MeteredOperation`. A saver with `metrics=` becomes an instance of that subclass.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from swarmstate.layers import MeteredStore
from swarmstate.observability import GuardedSink, MeteredOperation

if TYPE_CHECKING:
    from .base import SaverBase

T = TypeVar("T")

# The operation that each method is reported as, and the argument that identifies its subject.
# Every method has an async twin with a leading "a".
CALLS = {
    "get_tuple": ("checkpoint.get", "config"),
    "put": ("checkpoint.put", "config"),
    "put_writes": ("checkpoint.put_writes", "config"),
    "delete_thread": ("checkpoint.delete_thread", "thread_id"),
    "delete_for_runs": ("checkpoint.delete_for_runs", None),
    "copy_thread": ("checkpoint.copy_thread", "source_thread_id"),
    "prune": ("checkpoint.prune", None),
    "get_delta_channel_history": ("checkpoint.delta_history", "config"),
    "stats": ("checkpoint.stats", "thread_id"),
    "threads": ("checkpoint.threads", None),
}
ITERATIONS = {
    "list": ("checkpoint.list", "config"),
    "history": ("checkpoint.history", "config"),
}


class Work(Protocol):
    """A call that is being measured; entered while it runs, for a listing several times."""

    def __enter__(self) -> object:
        """Start or resume."""

    def __exit__(self, *raised: Any) -> None:
        """Pause."""

    def end(self) -> None:
        """Finish."""


class Unmeasured:
    """The work of a call that is not measured."""

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, *raised: Any) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""


Begin = Callable[[Any, str, tuple[Any, ...], Mapping[str, Any]], tuple[Any, Work]]
"""Takes a saver, a method's name without the "a" of async twins, and its arguments.

Returns the saver to call, and the `Work` to call it in.
"""


def meter(saver: SaverBase, sink: GuardedSink) -> None:
    """Measure the operations of `saver` from now on, and its store's round trips."""
    if not isinstance(saver.store, MeteredStore):
        saver.store = MeteredStore(saver.store, sink.sink)
    saver._metrics = sink
    saver.__class__ = metered_class(type(saver))


def metered_class(below: type[T]) -> type[T]:
    """Return the one subclass of `below` whose methods are measured."""
    made: type[T] | None = _metered_classes.get(below)
    if made is None:
        made = _metered_classes.setdefault(below, _make_metered_class(below))
    return made


_metered_classes: dict[type, type[Any]] = {}


def _make_metered_class(below: type[T]) -> type[T]:
    def inherited(name: str) -> Callable[..., Any]:
        # Looked up on each call, because a profile may replace the method for a while.
        return lambda saver, *args, **kwargs: getattr(super(made, saver), name)(*args, **kwargs)

    # Errors and logs should name the original class's module.
    about = {"__doc__": below.__doc__, "__module__": below.__module__}
    made: type[T] = type(f"Metered{below.__name__}", (below,), about)
    for name in measured_names():
        setattr(made, name, measured(name, getattr(below, name), _begin, inherited(name)))
    return made


def _begin(
    saver: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Any, Work]:
    operation, argument = CALLS.get(name) or ITERATIONS[name]
    about = {} if argument is None else _about(args[0] if args else kwargs.get(argument))
    return saver, MeteredOperation(saver._metrics, saver.store, operation, about)


def measured_names() -> list[str]:
    """Return the names of all measured methods."""
    return [f"{prefix}{name}" for name in (*CALLS, *ITERATIONS) for prefix in ("", "a")]


def measured(
    name: str, like: Callable[..., Any], begin: Begin, call: Callable[..., Any]
) -> Callable[..., Any]:
    """Return a method that calls another one and measures it.

    Args:
        name: The method's name.
        like: The function whose signature and docstring to take.
        begin: Called at the start of each call.
        call: The method to measure, as a function of the saver and the arguments.
    """
    is_async = name not in CALLS and name not in ITERATIONS
    plain = name[1:] if is_async else name
    if plain in CALLS:
        measure = _measured_coroutine if is_async else _measured_call
    else:
        measure = _measured_async_iteration if is_async else _measured_iteration
    return wraps(like)(measure(plain, begin, call))


def _measured_call(name: str, begin: Begin, call: Callable[..., Any]) -> Callable[..., Any]:
    def method(saver: Any, *args: Any, **kwargs: Any) -> Any:
        target, work = begin(saver, name, args, kwargs)
        try:
            with work:
                return call(target, *args, **kwargs)
        finally:
            work.end()

    return method


def _measured_coroutine(name: str, begin: Begin, call: Callable[..., Any]) -> Callable[..., Any]:
    async def method(saver: Any, *args: Any, **kwargs: Any) -> Any:
        target, work = begin(saver, name, args, kwargs)
        try:
            with work:
                return await call(target, *args, **kwargs)
        finally:
            work.end()

    return method


def _measured_iteration(name: str, begin: Begin, call: Callable[..., Any]) -> Callable[..., Any]:
    def method(saver: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        target, work = begin(saver, name, args, kwargs)
        try:
            found = call(target, *args, **kwargs)
            while True:
                with work:
                    item = next(found, _END)
                if item is _END:
                    return
                yield item
        finally:
            work.end()

    return method


def _measured_async_iteration(
    name: str, begin: Begin, call: Callable[..., Any]
) -> Callable[..., Any]:
    async def method(saver: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        target, work = begin(saver, name, args, kwargs)
        try:
            found = call(target, *args, **kwargs)
            while True:
                with work:
                    item = await anext(found, _END)
                if item is _END:
                    return
                yield item
        finally:
            work.end()

    return method


_END = object()


def _about(subject: Any) -> dict[str, str]:
    """Return the attributes for a thread id or a config; none for an invalid config."""
    if isinstance(subject, Mapping):
        subject = subject.get("configurable")
    if not isinstance(subject, Mapping):
        return {} if subject is None else {"gen_ai.conversation.id": _text(subject)}
    about = {}
    if subject.get("thread_id") is not None:
        about["gen_ai.conversation.id"] = _text(subject["thread_id"])
    # In a listing, a missing namespace means all of them; elsewhere it means the root.
    if subject.get("checkpoint_ns") is not None:
        about["swarmstate.checkpoint.namespace"] = _text(subject["checkpoint_ns"])
    return about


def _text(name: object) -> str:
    """Return a name that exporters can send as UTF-8; other names are refused by stores anyway."""
    return str(name).encode(errors="backslashreplace").decode()

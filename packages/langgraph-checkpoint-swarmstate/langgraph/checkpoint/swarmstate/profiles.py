"""Profiling LangGraph runs: while a profile is active, runs, nodes and savers are instrumented.

LangChain's callbacks would also report runs and nodes, but any handler makes an agent's turn
take a tenth longer, whatever the handler does.
"""

from __future__ import annotations

import copy
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Generator,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from functools import wraps
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from swarmstate.layers import StoreLayer
from swarmstate.observability import Activity, Profile, Timeline, current_activity

from .metering import CALLS, ITERATIONS, Unmeasured, measured, measured_names
from .requiring import requiring_langgraph
from .saver import SwarmStateSaver

if TYPE_CHECKING:
    from swarmstate import Batch, Query, Result
    from swarmstate.observability import Kind

    from .metering import Work

__all__ = ["profiling"]

# What the operations of savers are called, by their methods, and what their time counts as.
_OPERATIONS: dict[str, tuple[Kind, str]] = {
    name: ("encode" if name in ("put", "put_writes") else "decode", operation)
    for name, (operation, _) in (CALLS | ITERATIONS).items()
}
# What LangGraph runs as a node where it takes a run's input.
_START = "__start__"


@contextmanager
def profiling(*, everywhere: bool = False) -> Iterator[Profile]:
    """Profile runs; public as `swarmstate.profile`."""
    profiler = _Profiler()
    with _hooks.held():
        token = _here.set(profiler)
        if everywhere:
            _everywhere.append(profiler)
        try:
            yield profiler.profile
        finally:
            if everywhere:
                _everywhere.remove(profiler)
            profiler.has_ended = True
            # Leaving in another context, as fixtures do, has nothing to reset there.
            with suppress(ValueError):
                _here.reset(token)


class _Profiler:
    """An active profile, and the instrumented twins of the savers that its runs use."""

    def __init__(self) -> None:
        self.profile = Profile()
        self.has_ended = False
        self._twins: dict[int, tuple[SwarmStateSaver, SwarmStateSaver]] = {}

    def twin(self, saver: SwarmStateSaver) -> SwarmStateSaver:
        """Return an instrumented copy of `saver` that works on the same store."""
        _, twin = self._twins.get(id(saver), (saver, saver))
        store = twin.store
        if (
            twin.serde is not saver.serde
            or not isinstance(store, _MarkedStore)
            or store.store is not saver.store
        ):
            twin = copy.copy(saver)
            twin.store = _MarkedStore(saver.store)
            # Keep the saver alive, so that no other object can get its id.
            self._twins[id(saver)] = saver, twin
        return twin


_here: ContextVar[_Profiler | None] = ContextVar("swarmstate_profiler", default=None)
_everywhere: list[_Profiler] = []


class _Run(Timeline):
    """A run that is being profiled.

    Attributes:
        profiler: The profile that it belongs to.
        has_ended: Whether it is over, even if tasks that it started are still running.
    """

    def __init__(self, profiler: _Profiler) -> None:
        self.profiler = profiler
        self.has_ended = False

    def end(self) -> None:
        """Be part of the profile."""
        self.has_ended = True
        self.profiler.profile.add(self)


def _current() -> Activity | None:
    """Return the current activity, if it belongs to a run that has not ended."""
    activity = current_activity.get()
    if activity is None:
        return None
    run = activity.timeline
    return None if isinstance(run, _Run) and run.has_ended else activity


class _MarkedStore(StoreLayer):
    """Records each round trip to the store below."""

    def read(self, queries: Sequence[Query]) -> list[Result]:
        """Read from the store below."""
        with _round_trip():
            return self.store.read(queries)

    async def aread(self, queries: Sequence[Query]) -> list[Result]:
        """Read from the store below."""
        with _round_trip():
            return await self.store.aread(queries)

    def write(self, batches: Sequence[Batch]) -> None:
        """Write to the store below."""
        with _round_trip():
            self.store.write(batches)

    async def awrite(self, batches: Sequence[Batch]) -> None:
        """Write to the store below."""
        with _round_trip():
            await self.store.awrite(batches)

    def namespaces(
        self, prefix: str = "", *, after: str | None = None, limit: int | None = None
    ) -> list[str]:
        """List namespaces of the store below."""
        with _round_trip():
            return self.store.namespaces(prefix, after=after, limit=limit)

    async def anamespaces(
        self, prefix: str = "", *, after: str | None = None, limit: int | None = None
    ) -> list[str]:
        """List namespaces of the store below."""
        with _round_trip():
            return await self.store.anamespaces(prefix, after=after, limit=limit)

    def copy(self, source: str, target: str) -> None:
        """Copy within the store below."""
        with _round_trip():
            self.store.copy(source, target)

    async def acopy(self, source: str, target: str) -> None:
        """Copy within the store below."""
        with _round_trip():
            await self.store.acopy(source, target)


def _round_trip() -> AbstractContextManager[None]:
    """Return a round trip as part of the current activity."""
    activity = _current()
    return _UNMARKED if activity is None else activity.part("store I/O", "store I/O")


_UNMARKED = nullcontext()


def _begin_operation(
    saver: SwarmStateSaver, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[SwarmStateSaver, Work]:
    activity = _current()
    run = None if activity is None else activity.timeline
    if activity is None or not isinstance(run, _Run):
        return saver, _UNMEASURED
    kind, operation = _OPERATIONS[name]
    return run.profiler.twin(saver), activity.part(kind, operation)


_UNMEASURED = Unmeasured()


def _begin_run() -> _Run | None:
    """Return a run that begins here if a profile is active; None inside another run."""
    profiler = _here.get()
    if profiler is None or profiler.has_ended:
        profiler = _everywhere[-1] if _everywhere else None
    if profiler is None or _current() is not None:
        return None
    return _Run(profiler)


# The functions that are replaced. Each takes the original one and returns another.


def _invoke(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def invoke(graph: Any, *args: Any, **kwargs: Any) -> Any:
        run = _begin_run()
        if run is None:
            return original(graph, *args, **kwargs)
        try:
            with run.whole():
                return original(graph, *args, **kwargs)
        finally:
            run.end()

    return invoke


def _ainvoke(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def ainvoke(graph: Any, *args: Any, **kwargs: Any) -> Any:
        run = _begin_run()
        if run is None:
            return await original(graph, *args, **kwargs)
        try:
            with run.whole():
                return await original(graph, *args, **kwargs)
        finally:
            run.end()

    return ainvoke


def _stream(original: Callable[..., Generator[Any]]) -> Callable[..., Iterator[Any]]:
    def each(run: _Run, chunks: Generator[Any]) -> Iterator[Any]:
        whole = run.whole()
        try:
            while True:
                # Web servers fetch each chunk on whichever thread is free.
                run.drive_here()
                with whole:
                    chunk = next(chunks, _END)
                if chunk is _END:
                    return
                yield chunk
        finally:
            # A caller that leaves a stream early has its run ended before it goes on.
            chunks.close()
            run.end()

    @wraps(original)
    def stream(graph: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        run = _begin_run()
        chunks = original(graph, *args, **kwargs)
        return chunks if run is None else each(run, chunks)

    return stream


def _astream(original: Callable[..., AsyncGenerator[Any]]) -> Callable[..., AsyncIterator[Any]]:
    async def each(run: _Run, chunks: AsyncGenerator[Any]) -> AsyncIterator[Any]:
        whole = run.whole()
        try:
            while True:
                with whole:
                    chunk = await anext(chunks, _END)
                if chunk is _END:
                    return
                yield chunk
        finally:
            await chunks.aclose()
            run.end()

    @wraps(original)
    def astream(graph: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        run = _begin_run()
        chunks = original(graph, *args, **kwargs)
        return chunks if run is None else each(run, chunks)

    return astream


def _run_node(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def run_with_retry(task: Any, *args: Any, **kwargs: Any) -> Any:
        activity = _current()
        if activity is None or task.name == _START:
            return original(task, *args, **kwargs)
        with activity.part("node", f"node {task.name}"):
            return original(task, *args, **kwargs)

    return run_with_retry


def _arun_node(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def arun_with_retry(task: Any, *args: Any, **kwargs: Any) -> Any:
        activity = _current()
        if activity is None or task.name == _START:
            return await original(task, *args, **kwargs)
        with activity.part("node", f"node {task.name}"):
            return await original(task, *args, **kwargs)

    return arun_with_retry


_END = object()


class _Hook(NamedTuple):
    """A function that is replaced while a profile is active."""

    owner: Any
    name: str
    original: Any
    replacement: Any


def _hooks_of_langgraph() -> Iterator[_Hook]:
    """Return the hooks that report when runs and nodes begin and end.

    Raises:
        ModuleNotFoundError: LangGraph is not installed.
        RuntimeError: The installed LangGraph does not have these functions.
    """
    with requiring_langgraph():
        from langgraph.pregel import Pregel, _runner
    for owner, name, replace in (
        (Pregel, "invoke", _invoke),
        (Pregel, "ainvoke", _ainvoke),
        (Pregel, "stream", _stream),
        (Pregel, "astream", _astream),
        (_runner, "run_with_retry", _run_node),
        (_runner, "arun_with_retry", _arun_node),
    ):
        original = vars(owner).get(name)
        if original is None:
            raise RuntimeError(
                f"expected {owner.__name__}.{name} in the installed LangGraph, found none; "
                "profiles support langgraph 1.2"
            )
        yield _Hook(owner, name, original, replace(original))


def _hooks_of_savers() -> Iterator[_Hook]:
    """Return the hooks that report when savers work."""
    for name in measured_names():
        original = vars(SwarmStateSaver)[name]
        replacement = measured(name, original, _begin_operation, original)
        yield _Hook(SwarmStateSaver, name, original, replacement)


class _Hooks:
    """Functions that stay replaced while any profile is active."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._users = 0
        self._set: list[_Hook] = []

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep them replaced while the block runs."""
        with self._lock:
            if not self._users:
                self._set = [*_hooks_of_langgraph(), *_hooks_of_savers()]
                for hook in self._set:
                    setattr(hook.owner, hook.name, hook.replacement)
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    for hook in self._set:
                        # Leave a replacement that someone else has made in the meantime.
                        if getattr(hook.owner, hook.name) is hook.replacement:
                            setattr(hook.owner, hook.name, hook.original)


_hooks = _Hooks()

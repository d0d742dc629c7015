"""What the chapters of the contract share: creating stores, calling them, passing time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from swarmstate.base import BaseStore, Query, Range

__all__ = ["TTL", "Harness", "ManualClock", "Plane"]

# A time to live that expires soon on a real clock.
TTL = 0.25


class ManualClock:
    """A clock that stands still until it is advanced."""

    def __init__(self) -> None:
        self.seconds = float(round(time.time()))

    def __call__(self) -> float:
        """Return the time in seconds since the Unix epoch."""
        return self.seconds

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.seconds += seconds


class Plane:
    """One store whose sync or async methods are called under the same names."""

    def __init__(self, store: BaseStore, loop: asyncio.AbstractEventLoop | None) -> None:
        self.store = store
        self._loop = loop

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if self._loop is None:
            method: Callable[..., Any] = getattr(self.store, name)
            return method
        loop = self._loop
        method = getattr(self.store, f"a{name}")
        return lambda *args, **kwargs: loop.run_until_complete(method(*args, **kwargs))

    def length(self) -> int:
        """Return the number of records."""
        if self._loop is None:
            return len(self.store)
        return self._loop.run_until_complete(self.store.alength())

    def records(self, namespace: str) -> dict[str, bytes]:
        """Return all records of a namespace."""
        [result] = self.read([Query(namespace, ranges=[Range()])])
        return dict(result.ranges[0])


class Harness:
    """Base class of the chapters; documented in `StoreContract`."""

    persistent: ClassVar[bool] = False
    shared: ClassVar[bool] = False
    manual_clock: ClassVar[bool] = False

    clock: ManualClock

    def make_store(self, path: Path) -> BaseStore:
        """Return an open store.

        Args:
            path: An existing directory for this test alone. A store that keeps its
                records elsewhere derives an equally unique name from it.
        """
        raise NotImplementedError(f"{type(self).__name__} must override make_store()")

    @pytest.fixture(autouse=True)
    def _new_clock(self) -> None:
        self.clock = ManualClock()

    @pytest.fixture
    def store(self, _new_clock: None, tmp_path: Path) -> Iterator[BaseStore]:
        """An open, empty store."""
        store = self.make_store(tmp_path)
        yield store
        store.close()

    @pytest.fixture(params=["sync", "async"])
    def plane(self, store: BaseStore, request: pytest.FixtureRequest) -> Iterator[Plane]:
        """The same store; tests that use this run with the sync and with the async methods."""
        if request.param == "sync":
            yield Plane(store, None)
            return
        loop = asyncio.new_event_loop()
        try:
            yield Plane(store, loop)
            loop.run_until_complete(store.aclose())
        finally:
            loop.close()

    def let_expire(self, plane: Plane, namespace: str) -> None:
        """Wait until `namespace`, which was given `TTL`, has expired."""
        if self.manual_clock:
            self.clock.advance(TTL)
            return
        deadline = time.monotonic() + 30
        while namespace in plane.namespaces():
            assert time.monotonic() < deadline, f"{namespace!r} did not expire"
            time.sleep(0.005)

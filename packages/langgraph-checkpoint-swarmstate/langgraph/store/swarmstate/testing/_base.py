"""Helpers that all parts of the contract share."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Literal, TypeAlias
from zlib import crc32

import pytest
from langgraph.store.base import Item
from langgraph.store.swarmstate import SwarmStateStore
from langgraph.store.swarmstate.testing.reference import plain

from swarmstate import BaseStore

Mode: TypeAlias = Literal["sync", "async"]


class Memory:
    """A `SwarmStateStore` with a clock that tests set, called in one mode.

    Attributes:
        now: The time, in seconds since the Unix epoch.
        store: The store.
    """

    def __init__(self, store: BaseStore, mode: Mode, **options: Any) -> None:
        self.now = 0.0
        self.store = SwarmStateStore(store, clock=lambda: self.now, **options)
        self._loop = asyncio.new_event_loop() if mode == "async" else None

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method, or its async twin."""
        if self._loop is None:
            return getattr(self.store, name)(*args, **kwargs)
        return self._loop.run_until_complete(getattr(self.store, f"a{name}")(*args, **kwargs))

    def close(self) -> None:
        """Close the underlying store in the event loop that used it, and then the loop."""
        if self._loop is None:
            self.store.store.close()
            return
        self._loop.run_until_complete(self.store.store.aclose())
        self._loop.close()


class ContractBase:
    """Opens stores for the tests of the contract.

    Attributes:
        examples: How many sequences to generate for each test.
    """

    examples: ClassVar[int] = 50

    def open_store(self, folder: Path) -> BaseStore:
        """Return an empty store, which may keep its files in `folder`."""
        raise NotImplementedError(f"{type(self).__name__} must define open_store(folder)")

    @contextmanager
    def memory(self, mode: Mode, **options: Any) -> Iterator[Memory]:
        """Open an empty `SwarmStateStore`."""
        with TemporaryDirectory() as folder:
            memory = Memory(self.open_store(Path(folder)), mode, **options)
            try:
                yield memory
            finally:
                memory.close()

    @pytest.fixture(params=["sync", "async"])
    def mode(self, request: pytest.FixtureRequest) -> Mode:
        """The kind of methods to call."""
        mode: Mode = request.param
        return mode

    @pytest.fixture
    def ours(self, mode: Mode) -> Iterator[Memory]:
        """An empty `SwarmStateStore`."""
        with self.memory(mode) as memory:
            yield memory


def embed(texts: Sequence[str]) -> list[list[float]]:
    """Return vectors of 16 dimensions; texts that share words are near each other."""
    return [
        [
            1e-3 * (len(text) % 7)
            + sum(crc32(word.encode()) % 16 == n for word in text.split())
            + crc32(text.encode()) % 997 * 1e-6 * n
            for n in range(16)
        ]
        for text in texts
    ]


def plain_result(result: Any) -> Any:
    """Return a result in the form of the reference."""
    if isinstance(result, list):
        return [plain_result(item) for item in result]
    return plain(result) if isinstance(result, Item) else result

"""Opening a store, running operations on it and closing it: what all adapters do."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

from swarmstate import BaseStore, DiskStore, Store
from swarmstate import open as open_store

from .requests import Operation, arun, run

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

T = TypeVar("T")


class StoreHolder:
    """Works on a store, and closes it if it opened it.

    A context manager, sync and async, that closes itself.

    Attributes:
        store: The store that is worked on.
    """

    store: BaseStore
    _owns_store: bool

    def _hold(self, store: BaseStore | str | os.PathLike[str] | None) -> None:
        """Take a store, or open the one that a path, a URL, ":memory:" or None names."""
        self._owns_store = not isinstance(store, BaseStore)
        self.store = store if isinstance(store, BaseStore) else _open(store)

    def close(self) -> None:
        """Close the store if it was opened here."""
        if self._owns_store:
            self.store.close()

    async def aclose(self) -> None:
        """Close the store if it was opened here."""
        if self._owns_store:
            await self.store.aclose()

    def __enter__(self) -> Self:
        """Return the object itself."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    async def __aenter__(self) -> Self:
        """Return the object itself."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        await self.aclose()

    def _run(self, operation: Operation[T]) -> T:
        return run(operation, self.store)

    async def _arun(self, operation: Operation[T]) -> T:
        return await arun(operation, self.store)


def _open(store: str | os.PathLike[str] | None) -> BaseStore:
    if store is None or store == ":memory:":
        return Store()
    if isinstance(store, str) and "://" in store:
        return open_store(store)
    return DiskStore(store)

"""Opening a store, running operations on it and closing it: what all adapters do."""

from __future__ import annotations

import os
from collections.abc import Awaitable
from typing import TypeVar

from swarmstate import BaseStore, DiskStore, Store
from swarmstate import open as open_store
from swarmstate.closing import Closing
from swarmstate.operations import Operation, adrive, drive

T = TypeVar("T")


class StoreHolder(Closing):
    """Works on a store, and closes it if it opened it; printed, it says which store.

    Attributes:
        store: The store that is worked on.
    """

    store: BaseStore
    _owns_store: bool

    def _hold(self, store: BaseStore | str | os.PathLike[str] | None) -> None:
        """Take a store, or open the one that a path, a URL, ":memory:" or None names."""
        self._owns_store = not isinstance(store, BaseStore)
        self.store = store if isinstance(store, BaseStore) else _open(store)

    def __repr__(self) -> str:
        """Return the class and the store."""
        return f"{type(self).__name__}({self.store!r})"

    def close(self) -> None:
        """Close the store if it was opened here."""
        if self._owns_store:
            self.store.close()

    async def aclose(self) -> None:
        """Close the store if it was opened here."""
        if self._owns_store:
            await self.store.aclose()

    def _run(self, operation: Operation[T]) -> T:
        return drive(self.store, operation)

    def _arun(self, operation: Operation[T]) -> Awaitable[T]:
        return adrive(self.store, operation)


def _open(store: str | os.PathLike[str] | None) -> BaseStore:
    if store is None or store == ":memory:":
        return Store()
    if isinstance(store, str) and "://" in store:
        return open_store(store)
    if not isinstance(store, str | bytes | os.PathLike):
        raise TypeError(
            f'expected a store, a path such as "agents.db" or a URL, found {_named(store)}'
        )
    return DiskStore(store)


def _named(thing: object) -> str:
    """Return what an error calls something that is no store."""
    if isinstance(thing, StoreHolder):
        return f"a {type(thing).__name__}; pass its attribute `store` to share its store"
    return f"the class {thing.__name__}" if isinstance(thing, type) else type(thing).__name__

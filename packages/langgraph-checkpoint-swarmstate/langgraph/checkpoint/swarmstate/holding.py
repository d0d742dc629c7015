"""Opening a store, running operations on it, and closing it, for all adapters."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Generator
from typing import Any, TypeVar

from swarmstate import BaseStore, DiskStore, Store
from swarmstate import open as open_store
from swarmstate.closing import Closing
from swarmstate.errors import UnknownSchemeError
from swarmstate.operations import Operation, adrive, drive

T = TypeVar("T")

# Besides URLs, LangGraph's own savers accept libpq connection strings for PostgreSQL. They must
# not be mistaken for file names.
_PAIR = r"\s*=\s*(?:'[^']*'|[^\s']\S*)"
_CONNECTION_STRING = re.compile(
    rf"\s*(?:dbname{_PAIR}|(?:host|hostaddr|password|port|service|sslmode|user){_PAIR}\s+\w+{_PAIR})"
    rf"(?:\s+\w+{_PAIR})*\s*"
)


class StoreHolder(Closing):
    """Base of everything that works on a store, and closes the store if it opened it.

    Attributes:
        store: The store.
    """

    store: BaseStore
    _owns_store: bool

    def _hold(self, store: BaseStore | str | os.PathLike[str] | None) -> None:
        """Take a store, or open the one named by a path, a URL, ":memory:" or None."""
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


class Done(Awaitable[None]):
    """An awaitable that is already done, and may also be ignored."""

    def __await__(self) -> Generator[Any, Any, None]:
        return
        yield


def _open(store: str | os.PathLike[str] | None) -> BaseStore:
    if store is None or store == ":memory:":
        return Store()
    if not isinstance(store, str | bytes | os.PathLike):
        raise TypeError(f"expected a store, a path, a URL or None, found {_named(store)}")
    if not isinstance(store, str):
        return DiskStore(store)
    if "://" in store:
        return open_store(store)
    if _CONNECTION_STRING.fullmatch(store):
        # Do not show it in the message: it may contain a password.
        raise UnknownSchemeError(
            "expected a path or a URL, but this looks like a libpq connection string: write "
            "postgresql://user:password@host:5432/dbname, or 'disk://…' if it is a file"
        )
    return DiskStore(store)


def _named(thing: object) -> str:
    """Return what an error calls something that is not a store, and what to pass instead."""
    if isinstance(thing, StoreHolder):
        return f"a {type(thing).__name__}; pass its `store` attribute to share its store"
    if isinstance(thing, type):
        return f"the class {thing.__name__}"
    return (
        f"{type(thing).__module__}.{type(thing).__qualname__}; connections and pools are not "
        "accepted: pass the server's URL, or a store such as PostgresStore(url) or "
        "RedisStore(client=client)"
    )

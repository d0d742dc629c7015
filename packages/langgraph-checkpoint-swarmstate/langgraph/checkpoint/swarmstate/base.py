"""What a saver is made of: its store, its serializer, and how both are used."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any, TypeVar

from langgraph.checkpoint.base import BaseCheckpointSaver

from swarmstate import BaseStore, DiskStore, Sharing, Store
from swarmstate import open as open_store

from .reading import Reader
from .requests import Operation, arun, run
from .serde import SwarmStateSerializer
from .values import Values, values_of

if TYPE_CHECKING:
    from types import TracebackType

    from langgraph.checkpoint.serde.base import SerializerProtocol
    from typing_extensions import Self

T = TypeVar("T")

# What a saver may spend on remembering the values of threads that are in use.
_REMEMBERED_BYTES = 64 * 1024 * 1024


class SaverBase(BaseCheckpointSaver[Any]):
    """A saver without its methods: opened, closed and able to run operations.

    Args:
        store: See `SwarmStateSaver`.
        serde: See `SwarmStateSaver`.
        ttl: See `SwarmStateSaver`.
        refresh_on_read: See `SwarmStateSaver`.
    """

    store: BaseStore

    def __init__(
        self,
        store: BaseStore | str | os.PathLike[str] | None = None,
        *,
        serde: SerializerProtocol | None = None,
        ttl: float | None = None,
        refresh_on_read: bool = False,
    ) -> None:
        super().__init__(serde=serde or SwarmStateSerializer())
        if ttl is not None and not (ttl > 0 and math.isfinite(ttl)):
            raise ValueError(f"expected ttl to be a positive number of seconds, found {ttl!r}")
        self._owns_store = not isinstance(store, BaseStore)
        self.store = store if isinstance(store, BaseStore) else _open(store)
        self.ttl = ttl
        self.refresh_on_read = refresh_on_read
        self._sharing = Sharing(budget=_REMEMBERED_BYTES)
        # `serde` may be assigned at any time; these are the values of the one that was used last.
        self._values_of_serde = self.serde, values_of(self.serde, self._sharing)

    @classmethod
    def from_conn_string(cls, conn_string: str, **options: Any) -> Self:
        """Return a saver on a path, a URL or ":memory:".

        The result is a saver, and also a context manager, sync and async, that
        closes it: the form that the savers of LangGraph are opened in.
        """
        return cls(conn_string, **options)

    def setup(self) -> None:
        """Do nothing: stores set themselves up. Kept for code written for other savers."""

    def close(self) -> None:
        """Close the store if this saver opened it."""
        if self._owns_store:
            self.store.close()

    async def aclose(self) -> None:
        """Close the store if this saver opened it."""
        if self._owns_store:
            await self.store.aclose()

    def __enter__(self) -> Self:
        """Return the saver."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the saver."""
        self.close()

    async def __aenter__(self) -> Self:
        """Return the saver."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the saver."""
        await self.aclose()

    def _run(self, operation: Operation[T]) -> T:
        return run(operation, self.store)

    async def _arun(self, operation: Operation[T]) -> T:
        return await arun(operation, self.store)

    def _values(self) -> Values:
        serde, values = self._values_of_serde
        if serde is not self.serde:
            values = values_of(self.serde, self._sharing)
            self._values_of_serde = self.serde, values
        return values

    def _reader(self) -> Reader:
        refresh = self.ttl if self.refresh_on_read else None
        return Reader(self._values(), self.serde, self.get_next_version, refresh)


def _open(store: str | os.PathLike[str] | None) -> BaseStore:
    if store is None or store == ":memory:":
        return Store()
    if isinstance(store, str) and "://" in store:
        return open_store(store)
    return DiskStore(store)

"""The seam between stores and everything above them.

A store holds records: `(namespace, key) -> bytes`. Keys of a namespace are
ordered by their UTF-8 bytes. A namespace is the unit of atomicity, of routing,
of expiry, of deletion and of copying.

`Query` and `Batch` are the whole byte plane: adapters use nothing else.
A back-end subclasses `BaseStore`, which provides the value plane for free.
"""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from swarmstate import _values
from swarmstate._checks import check_count, check_numbers, check_seconds, check_ttl, several
from swarmstate._core import check_batches, check_name, check_queries
from swarmstate._plane import Batch, Expect, Query, Range, Result, prefix_end
from swarmstate.closing import Closing
from swarmstate.codec import Codec

if TYPE_CHECKING:
    from pathlib import Path

    from swarmstate._core import Snapshot
    from swarmstate.merge import Mergeable
    from swarmstate.serving import VectorSearch

    M = TypeVar("M", bound=Mergeable)
    # Classes, `(module, name)` pairs, or True for all.
    Allow = bool | Iterable[type | tuple[str, str]]

__all__ = [
    "BaseStore",
    "Batch",
    "Expect",
    "Query",
    "Range",
    "Result",
    "check_batches",
    "check_count",
    "check_listing",
    "check_name",
    "check_numbers",
    "check_queries",
    "check_seconds",
    "check_store",
    "check_ttl",
    "prefix_end",
    "several",
]


def check_listing(prefix: str, after: str | None, limit: int | None) -> None:
    """Check the arguments of `namespaces`.

    Raises:
        InvalidNameError: `prefix` or `after` cannot be part of a name.
        TypeError: One of them is not a str, or `limit` is not an int.
        ValueError: `limit` is negative.
    """
    # Empty ones leave nothing out.
    if prefix != "":
        check_name(prefix, "prefix")
    if after is not None and after != "":
        check_name(after, "after")
    # That of a range must keep the same rules.
    check_queries([Query("_", ranges=[Range("", limit=limit)])])


def check_store(store: object) -> None:
    """Raise TypeError unless this is a store."""
    if not isinstance(store, BaseStore):
        found = type(store).__name__
        raise TypeError(f'expected a store, such as DiskStore("x.db"), found {found}')


class BaseStore(Closing):
    """A store of records. Back-ends implement only the abstract methods.

    A back-end checks its arguments with `check_queries`, `check_batches`,
    `check_listing` and `check_name`, so that all stores raise the same errors. It
    passes `allow` on to `super().__init__()`.

    Namespaces and keys are nonempty `str` without NUL or lone surrogates;
    others raise `InvalidNameError`.

    You can call every method from any thread, and the async ones from any event
    loop without blocking it. You can also call sync methods while a loop runs
    in the calling thread. After `close()`, every method raises `StoreClosedError`.

    A namespace exists while it holds at least one record. An expired namespace
    is invisible from the moment it expires.

    Values are any Python objects that the codec supports. Returned values are
    independent of stored ones: changing one never changes the other. The
    async twins, named with a leading `a`, do the same as their sync methods.

    A store is a context manager, sync and async, that closes itself. It is true
    even when empty.

    Args:
        allow: Classes that may be constructed when values are read, besides
            those the codec knows; see `swarmstate.codec.Codec`.

    Attributes:
        system: The storage system, by its OpenTelemetry name (`db.system.name`),
            such as "sqlite". A back-end sets it on its class.
    """

    system: str = "swarmstate"

    def __init__(self, *, allow: Allow = ()) -> None:
        """Set up what the value plane needs; a back-end calls this first."""
        self._codec = Codec(allow=allow)
        self._snapshot_ids = itertools.count(1)

    @property
    def derived_folder(self) -> Path | None:
        """The folder for files that are derived from records and may be lost; None if none.

        Its files are as readable as the store's contents. So it is None for a
        store on a server, and for a layer that hides what is stored.
        """
        return None

    @property
    def vector_search(self) -> VectorSearch | None:
        """Searches embeddings where the records are; None if each process does that itself.

        It returns records just as this store's `read` does. So it is None for
        a layer that changes values.
        """
        return None

    @abstractmethod
    def read(self, queries: Sequence[Query]) -> list[Result]:
        """Answer `queries` in order and in one round trip, with one `Result` each.

        Each is answered before the next one sets an expiry.
        """

    @abstractmethod
    def write(self, batches: Sequence[Batch]) -> None:
        """Apply `batches` in order and in one round trip, each atomically.

        Names, values, limits and times are checked first: if any is invalid,
        nothing is applied.

        Raises:
            ConflictError: An expectation did not hold. That batch and those
                after it were not applied; those before it were.
        """

    @abstractmethod
    async def aread(self, queries: Sequence[Query]) -> list[Result]:
        """Answer `queries` as `read` does."""

    @abstractmethod
    async def awrite(self, batches: Sequence[Batch]) -> None:
        """Apply `batches` as `write` does."""

    @abstractmethod
    def namespaces(
        self, prefix: str = "", *, after: str | None = None, limit: int | None = None
    ) -> list[str]:
        """Return the namespaces that start with `prefix`, in UTF-8 byte order.

        Args:
            prefix: Their common prefix.
            after: Only namespaces greater than this one, for paging.
            limit: The maximum number of namespaces.
        """

    @abstractmethod
    async def anamespaces(
        self, prefix: str = "", *, after: str | None = None, limit: int | None = None
    ) -> list[str]:
        """Return namespaces as `namespaces` does."""

    @abstractmethod
    def copy(self, source: str, target: str) -> None:
        """Make `target` hold exactly the records of `source`, atomically.

        The contents of `target` are replaced, and it takes the expiry of `source`.
        Copying a namespace onto itself changes nothing; an absent source
        leaves `target` empty.
        """

    @abstractmethod
    async def acopy(self, source: str, target: str) -> None:
        """Copy a namespace as `copy` does."""

    def set(self, namespace: str, key: str, value: Any, *, ttl: float | None = None) -> None:
        """Store `value`.

        Args:
            namespace: The namespace; its first record creates it.
            key: The key; its old value is replaced.
            value: The value.
            ttl: The whole namespace expires this many seconds from now
                (`math.inf`: never). None leaves its expiry unchanged.

        Raises:
            EncodeError: The codec does not support the value; nothing is stored.
        """
        self.set_many(namespace, {key: value}, ttl=ttl)

    async def aset(self, namespace: str, key: str, value: Any, *, ttl: float | None = None) -> None:
        """Store a value as `set` does."""
        await self.aset_many(namespace, {key: value}, ttl=ttl)

    def set_many(
        self, namespace: str, items: Mapping[str, Any], *, ttl: float | None = None
    ) -> None:
        """Store several values atomically; otherwise as `set`."""
        _values.drive(self, _values.set_many(self._codec, namespace, items, ttl))

    async def aset_many(
        self, namespace: str, items: Mapping[str, Any], *, ttl: float | None = None
    ) -> None:
        """Store several values as `set_many` does."""
        await _values.adrive(self, _values.set_many(self._codec, namespace, items, ttl))

    def get(self, namespace: str, key: str, default: Any = None) -> Any:
        """Return a value, or `default` if there is none.

        Raises:
            DecodeError: The stored bytes are not an encoded value.
            TypeNotAllowedError: The value's class is not in `allow`.
        """
        return _values.drive(self, _values.get(self._codec, namespace, key, default))

    async def aget(self, namespace: str, key: str, default: Any = None) -> Any:
        """Return a value as `get` does."""
        return await _values.adrive(self, _values.get(self._codec, namespace, key, default))

    def get_many(self, namespace: str, keys: Iterable[str]) -> dict[str, Any]:
        """Return the values of those `keys` that exist, from one moment."""
        return _values.drive(self, _values.get_many(self._codec, namespace, keys))

    async def aget_many(self, namespace: str, keys: Iterable[str]) -> dict[str, Any]:
        """Return values as `get_many` does."""
        return await _values.adrive(self, _values.get_many(self._codec, namespace, keys))

    def merge(self, namespace: str, key: str, value: M, *, ttl: float | None = None) -> M:
        """Merge `value` into the stored value atomically, and return the result.

        Nothing that others merge or set at the same time is lost. If nothing is stored yet,
        `value` is stored.

        Args:
            namespace: The namespace.
            key: The key.
            value: A value of `swarmstate.merge`, or any object with a `merge` method. The
                stored value must be readable for this; see `allow` for your own classes.
            ttl: As for `set`.

        Raises:
            TypeError: The stored value is of another kind, or `value` has no such method.
        """
        return _values.drive(self, _values.merge(self._codec, namespace, key, value, ttl))

    async def amerge(self, namespace: str, key: str, value: M, *, ttl: float | None = None) -> M:
        """Merge as `merge` does."""
        return await _values.adrive(self, _values.merge(self._codec, namespace, key, value, ttl))

    def contains(self, namespace: str, key: str) -> bool:
        """Tell whether a record exists."""
        return _values.drive(self, _values.contains(namespace, key))

    async def acontains(self, namespace: str, key: str) -> bool:
        """Tell whether a record exists."""
        return await _values.adrive(self, _values.contains(namespace, key))

    def delete(self, namespace: str, key: str) -> bool:
        """Delete a record; return whether it was found."""
        return _values.drive(self, _values.delete(namespace, key))

    async def adelete(self, namespace: str, key: str) -> bool:
        """Delete a record as `delete` does."""
        return await _values.adrive(self, _values.delete(namespace, key))

    def keys(self, namespace: str, prefix: str = "") -> list[str]:
        """Return the keys that start with `prefix`, in UTF-8 byte order."""
        return _values.drive(self, _values.keys(namespace, prefix))

    async def akeys(self, namespace: str, prefix: str = "") -> list[str]:
        """Return keys as `keys` does."""
        return await _values.adrive(self, _values.keys(namespace, prefix))

    def items(self, namespace: str, prefix: str = "") -> list[tuple[str, Any]]:
        """Return `(key, value)` of the keys that start with `prefix`, in their order."""
        return _values.drive(self, _values.items(self._codec, namespace, prefix))

    async def aitems(self, namespace: str, prefix: str = "") -> list[tuple[str, Any]]:
        """Return items as `items` does."""
        return await _values.adrive(self, _values.items(self._codec, namespace, prefix))

    def clear(self, namespace: str | None = None) -> None:
        """Delete a namespace; without one, every namespace."""
        _values.drive(self, _values.clear(namespace))

    async def aclear(self, namespace: str | None = None) -> None:
        """Delete as `clear` does."""
        await _values.adrive(self, _values.clear(namespace))

    def __len__(self) -> int:
        """Return how many records there are in all namespaces."""
        return _values.drive(self, _values.length())

    async def alength(self) -> int:
        """Return how many records there are, as `len(store)` does."""
        return await _values.adrive(self, _values.length())

    def __bool__(self) -> bool:
        """Return True: an empty store is still a store."""
        return True

    def snapshot(self) -> Snapshot:
        """Return all records as an immutable `Snapshot`.

        Each namespace is captured at a single moment. Expiry is not included.
        """
        return _values.drive(self, _values.snapshot(next(self._snapshot_ids)))

    async def asnapshot(self) -> Snapshot:
        """Return all records as `snapshot` does."""
        return await _values.adrive(self, _values.snapshot(next(self._snapshot_ids)))

    def restore(self, snapshot: Snapshot) -> None:
        """Make every namespace hold exactly what it held in `snapshot`.

        Namespaces that are not in it are deleted; restored ones do not expire.
        Each namespace is replaced atomically. The snapshot may be from another store.
        """
        _values.drive(self, _values.restore(snapshot))

    async def arestore(self, snapshot: Snapshot) -> None:
        """Restore as `restore` does."""
        await _values.adrive(self, _values.restore(snapshot))

"""The interface between stores and everything above them.

A store holds records: `(namespace, key) -> bytes`. The keys of a namespace are
ordered by their UTF-8 bytes. A namespace is the unit of atomicity, routing,
expiry, deletion and copying.

`Query` and `Batch` make up the byte plane: everything an adapter can ask of a
store. Back-ends subclass `BaseStore`, which adds the value plane on top.
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
        InvalidNameError: `prefix` or `after` cannot be part of any name.
        TypeError: `prefix` or `after` is not a str, or `limit` is not an int.
        ValueError: `limit` is negative.
    """
    # An empty string is not a valid name, but here it just excludes nothing.
    if prefix != "":
        check_name(prefix, "prefix")
    if after is not None and after != "":
        check_name(after, "after")
    # The same rules apply to the limit of a range.
    check_queries([Query("_", ranges=[Range("", limit=limit)])])


def check_store(store: object) -> None:
    """Raise TypeError unless `store` is a store."""
    if not isinstance(store, BaseStore):
        found = type(store).__name__
        raise TypeError(f'expected a store, such as DiskStore("x.db"), found {found}')


class BaseStore(Closing):
    """A store of records. Back-ends implement only the abstract methods.

    A back-end checks its arguments with `check_queries`, `check_batches`,
    `check_listing` and `check_name`, so that all stores raise the same errors. It
    passes `allow` on to `super().__init__()`.

    Namespaces and keys are non-empty `str` without NUL and without lone
    surrogates; anything else raises `InvalidNameError`.

    Every method may be called from any thread; the async ones from any event
    loop, without blocking it. Sync methods may also be called while a loop runs
    in the calling thread. After `close()`, every method raises `StoreClosedError`.

    A namespace exists while it holds at least one record. An expired namespace
    is invisible from the moment it expires.

    Values are any Python objects that the codec supports. A returned value is
    independent of the stored one: changing one never changes the other. The
    async twins, whose names start with `a`, do what their sync methods do.

    A store is a sync and async context manager that closes itself. An empty
    store is true, too.

    Args:
        allow: Classes that may be constructed when values are read, besides
            those the codec knows; see `swarmstate.codec.Codec`.

    Attributes:
        system: OpenTelemetry's name (`db.system.name`) for what holds the records,
            such as "sqlite". Back-ends set it on the class.
    """

    system: str = "swarmstate"

    def __init__(self, *, allow: Allow = ()) -> None:
        """Set up the value plane; a back-end calls this first."""
        self._codec = Codec(allow=allow)
        self._snapshot_ids = itertools.count(1)

    @property
    def derived_folder(self) -> Path | None:
        """The folder for disposable files derived from records; None if there is none.

        These files reveal as much as the store does. So it is None for a store on a
        server, and for a layer that hides what is stored.
        """
        return None

    @property
    def vector_search(self) -> VectorSearch | None:
        """The store's own search over embeddings; None if each process searches for itself.

        It sees and returns records as this store's `read` does. So it is None for a
        layer that changes values.
        """
        return None

    @abstractmethod
    def read(self, queries: Sequence[Query]) -> list[Result]:
        """Answer `queries` in order and in one round trip, with one `Result` each.

        Each query is answered before the next one sets an expiry.
        """

    @abstractmethod
    def write(self, batches: Sequence[Batch]) -> None:
        """Apply `batches` in order and in one round trip, each atomically.

        Names, values, limits and times are checked first: if any is invalid,
        nothing is applied.

        Raises:
            ConflictError: An expectation did not hold. The batches before it were
                applied; that batch and those after it were not.
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
            prefix: The prefix of the names.
            after: Return only names greater than this one; for paging.
            limit: Return at most this many.
        """

    @abstractmethod
    async def anamespaces(
        self, prefix: str = "", *, after: str | None = None, limit: int | None = None
    ) -> list[str]:
        """Return namespaces as `namespaces` does."""

    @abstractmethod
    def copy(self, source: str, target: str) -> None:
        """Make `target` hold exactly the records of `source`, atomically.

        The records of `target` are replaced, and it takes the expiry of `source`.
        Copying a namespace onto itself changes nothing. If `source` does not exist,
        `target` is left empty.
        """

    @abstractmethod
    async def acopy(self, source: str, target: str) -> None:
        """Copy a namespace as `copy` does."""

    def set(self, namespace: str, key: str, value: Any, *, ttl: float | None = None) -> None:
        """Store `value`.

        Args:
            namespace: The namespace; its first record creates it.
            key: The key; its previous value is replaced.
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
        """Store several values atomically; otherwise like `set`."""
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
            TypeNotAllowedError: The value has a class that is not allowed.
        """
        return _values.drive(self, _values.get(self._codec, namespace, key, default))

    async def aget(self, namespace: str, key: str, default: Any = None) -> Any:
        """Return a value as `get` does."""
        return await _values.adrive(self, _values.get(self._codec, namespace, key, default))

    def get_many(self, namespace: str, keys: Iterable[str]) -> dict[str, Any]:
        """Return the values of those `keys` that exist, all read at the same moment."""
        return _values.drive(self, _values.get_many(self._codec, namespace, keys))

    async def aget_many(self, namespace: str, keys: Iterable[str]) -> dict[str, Any]:
        """Return values as `get_many` does."""
        return await _values.adrive(self, _values.get_many(self._codec, namespace, keys))

    def merge(self, namespace: str, key: str, value: M, *, ttl: float | None = None) -> M:
        """Merge `value` into the stored one, atomically, and return the result.

        Concurrent merges and sets by others are not lost. If nothing is stored yet, `value`
        is stored.

        Args:
            namespace: The namespace.
            key: The key.
            value: A value from `swarmstate.merge`, or any other that has a `merge` method. The
                stored value must be readable to be merged; see `allow` for your own classes.
            ttl: As for `set`.

        Raises:
            TypeError: The stored value is of another kind, or `value` has no `merge` method.
        """
        return _values.drive(self, _values.merge(self._codec, namespace, key, value, ttl))

    async def amerge(self, namespace: str, key: str, value: M, *, ttl: float | None = None) -> M:
        """Merge as `merge` does."""
        return await _values.adrive(self, _values.merge(self._codec, namespace, key, value, ttl))

    def contains(self, namespace: str, key: str) -> bool:
        """Return whether a record exists."""
        return _values.drive(self, _values.contains(namespace, key))

    async def acontains(self, namespace: str, key: str) -> bool:
        """Return whether a record exists."""
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
        """Return `(key, value)` pairs of the keys that start with `prefix`, in key order."""
        return _values.drive(self, _values.items(self._codec, namespace, prefix))

    async def aitems(self, namespace: str, prefix: str = "") -> list[tuple[str, Any]]:
        """Return items as `items` does."""
        return await _values.adrive(self, _values.items(self._codec, namespace, prefix))

    def clear(self, namespace: str | None = None) -> None:
        """Delete a namespace, or every namespace if none is given."""
        _values.drive(self, _values.clear(namespace))

    async def aclear(self, namespace: str | None = None) -> None:
        """Delete as `clear` does."""
        await _values.adrive(self, _values.clear(namespace))

    def __len__(self) -> int:
        """Return the number of records in all namespaces."""
        return _values.drive(self, _values.length())

    async def alength(self) -> int:
        """Return the number of records, as `len(store)` does."""
        return await _values.adrive(self, _values.length())

    def __bool__(self) -> bool:
        """Return True, even if the store is empty."""
        return True

    def snapshot(self) -> Snapshot:
        """Return all records as an immutable `Snapshot`.

        Each namespace is read at a single moment. Expiry is not included.
        """
        return _values.drive(self, _values.snapshot(next(self._snapshot_ids)))

    async def asnapshot(self) -> Snapshot:
        """Return all records as `snapshot` does."""
        return await _values.adrive(self, _values.snapshot(next(self._snapshot_ids)))

    def restore(self, snapshot: Snapshot) -> None:
        """Make every namespace hold exactly what it held in `snapshot`.

        Namespaces that are not in the snapshot are deleted, and restored ones do not
        expire. Each namespace is replaced atomically. The snapshot may come from
        another store.
        """
        _values.drive(self, _values.restore(snapshot))

    async def arestore(self, snapshot: Snapshot) -> None:
        """Restore as `restore` does."""
        await _values.adrive(self, _values.restore(snapshot))

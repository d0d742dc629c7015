"""The seam between stores and everything above them.

A store holds records: `(namespace, key) -> bytes`. Keys of a namespace are
ordered by their UTF-8 bytes. A namespace is the unit of atomicity, of routing,
of expiry, of deletion and of copying.

`Query` and `Batch` are the whole byte plane: what an adapter asks of a store.
`BaseStore` is what a back-end subclasses; it gives the value plane for free.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple

__all__ = ["BaseStore", "Batch", "Expect", "Query", "Range", "Result", "prefix_end"]


def prefix_end(prefix: str) -> str | None:
    """Return the least string above every string that starts with `prefix`.

    `None` means that no such bound exists (an empty prefix, or one made of
    U+10FFFF alone). Code-point order equals UTF-8 byte order, and the surrogate
    block, which names cannot hold, is stepped over.
    """
    for index in range(len(prefix) - 1, -1, -1):
        code = ord(prefix[index])
        if code < 0x10FFFF:
            following = 0xE000 if code == 0xD7FF else code + 1
            return prefix[:index] + chr(following)
    return None


class Range(NamedTuple):
    """The keys `start <= key < stop` of a namespace, in order.

    Attributes:
        start: First key, inclusive; "" is the beginning.
        stop: End, exclusive; None is the end of the namespace.
        reverse: Greatest key first.
        limit: At most this many records (>= 0); None is all of them.
        keys_only: Leave the values out: each comes back as `b""`.
    """

    start: str = ""
    stop: str | None = None
    reverse: bool = False
    limit: int | None = None
    keys_only: bool = False

    @classmethod
    def of_prefix(
        cls,
        prefix: str,
        *,
        reverse: bool = False,
        limit: int | None = None,
        keys_only: bool = False,
    ) -> Range:
        """Return the range of all keys that start with `prefix`."""
        return cls(prefix, prefix_end(prefix), reverse, limit, keys_only)


class Query(NamedTuple):
    """What to read from one namespace; answered from one consistent view of it.

    Attributes:
        namespace: The namespace.
        keys: Keys to look up.
        ranges: Key ranges to read.
        ttl: If given and the namespace exists, it expires this many seconds
            from now (`math.inf`: never).
    """

    namespace: str
    keys: Sequence[str] = ()
    ranges: Sequence[Range] = ()
    ttl: float | None = None


class Result(NamedTuple):
    """The answer to one `Query`.

    Attributes:
        values: One entry per key asked for, None where it is absent.
        ranges: One list of `(key, value)` per range asked for.
    """

    values: list[bytes | None]
    ranges: list[list[tuple[str, bytes]]]


class Expect(NamedTuple):
    """An expectation: the greatest key that starts with `prefix` is `last_key`.

    `last_key=None` expects that no key starts with `prefix`.
    """

    prefix: str
    last_key: str | None


class Batch(NamedTuple):
    """Changes to one namespace, applied whole or not at all.

    The parts are applied in the order of the attributes below, whatever order
    they were given in: deletions first, so that a put always wins.

    Attributes:
        namespace: The namespace.
        put: Records to write, replacing what is there.
        put_if_absent: Records to write where the key does not exist yet.
        delete: Keys to delete; absent ones are ignored.
        delete_ranges: `(start, stop)` key ranges to delete, bounds as in `Range`.
        clear: Delete the whole namespace, its expiry included, before all else.
        ttl: The namespace expires this many seconds from now (`math.inf`:
            never). None leaves its expiry as it is.
        expect: Checked first, against the state before the batch.
    """

    namespace: str
    put: Mapping[str, bytes] = {}
    put_if_absent: Mapping[str, bytes] = {}
    delete: Sequence[str] = ()
    delete_ranges: Sequence[tuple[str, str | None]] = ()
    clear: bool = False
    ttl: float | None = None
    expect: Expect | None = None


class BaseStore(ABC):
    """A store of records. Back-ends implement the abstract methods only.

    Every method may be called from any thread; the async ones from any event
    loop, without blocking it. Sync methods may also be called while a loop runs
    in the calling thread. After `close()` every method raises `StoreClosedError`.

    A namespace exists while it holds at least one record. An expired namespace
    is invisible from the moment it expires.
    """

    @abstractmethod
    def read(self, queries: Sequence[Query]) -> list[Result]:
        """Answer `queries` in one round trip, one `Result` each, in their order."""

    @abstractmethod
    def write(self, batches: Sequence[Batch]) -> None:
        """Apply `batches` in their order and in one round trip, each atomically.

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
            prefix: What they start with.
            after: Only those greater than this one; for paging.
            limit: At most this many.
        """

    @abstractmethod
    async def anamespaces(
        self, prefix: str = "", *, after: str | None = None, limit: int | None = None
    ) -> list[str]:
        """Return namespaces as `namespaces` does."""

    @abstractmethod
    def copy(self, source: str, target: str) -> None:
        """Make `target` hold exactly the records of `source`, atomically.

        What `target` held is replaced; its expiry becomes that of `source`.
        Copying a namespace onto itself changes nothing, an absent source
        leaves `target` empty.
        """

    @abstractmethod
    async def acopy(self, source: str, target: str) -> None:
        """Copy a namespace as `copy` does."""

    @abstractmethod
    def close(self) -> None:
        """Release all resources; closing twice is fine."""

    @abstractmethod
    async def aclose(self) -> None:
        """Release all resources, as `close` does."""

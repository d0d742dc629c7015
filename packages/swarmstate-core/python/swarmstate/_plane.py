"""The requests to a store and its answers; public as `swarmstate.base`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

__all__ = ["Batch", "Expect", "Query", "Range", "Result", "prefix_end"]


def prefix_end(prefix: str) -> str | None:
    """Return the least string above every string that starts with `prefix`.

    `None` means that no such bound exists (an empty prefix, or one made of
    U+10FFFF alone). Code-point order equals UTF-8 byte order, and the surrogate
    block, which names cannot hold, is stepped over.
    """
    if prefix and (last := ord(prefix[-1])) < 0xD7FF:
        return prefix[:-1] + chr(last + 1)
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
        limit: The maximum number of records (>= 0); None means all of them.
        keys_only: Leave out the values: each comes back as `b""`.
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
        ask_ttl: Also return how long the namespace has to live.
    """

    namespace: str
    keys: Sequence[str] = ()
    ranges: Sequence[Range] = ()
    ttl: float | None = None
    ask_ttl: bool = False


class Result(NamedTuple):
    """The answer to one `Query`.

    Attributes:
        values: One entry per requested key, None if it is absent.
        ranges: One list of `(key, value)` per requested range.
        ttl: Seconds until the namespace expires (`math.inf`: never), after the
            query's own `ttl` was applied; None if not requested, or if
            the namespace does not exist.
    """

    values: list[bytes | None]
    ranges: list[list[tuple[str, bytes]]]
    ttl: float | None = None


class Expect(NamedTuple):
    """An expectation: the greatest key that starts with `prefix` is `last_key`.

    `last_key=None` expects that no key starts with `prefix`.
    """

    prefix: str
    last_key: str | None


class Batch(NamedTuple):
    """Changes to one namespace, applied atomically.

    First `expect` and `expect_values` are checked, against the state before the
    batch. Then come `clear`, `delete_ranges`, `delete`, `put_if_absent`, `put` and
    `ttl`, in this order: a put always wins over a deletion.

    Attributes:
        namespace: The namespace.
        put: Records to write, replacing existing ones.
        put_if_absent: Records to write if the key does not exist yet.
        delete: Keys to delete; absent ones are ignored.
        delete_ranges: `(start, stop)` key ranges to delete, bounds as in `Range`.
        clear: Delete the whole namespace, including its expiry.
        ttl: The namespace expires this many seconds from now (`math.inf`:
            never). None leaves its expiry unchanged.
        expect: What the greatest key under a prefix must be.
        expect_values: What keys must hold: each exactly this value, or (None) none.
    """

    namespace: str
    put: Mapping[str, bytes] = {}
    put_if_absent: Mapping[str, bytes] = {}
    delete: Sequence[str] = ()
    delete_ranges: Sequence[tuple[str, str | None]] = ()
    clear: bool = False
    ttl: float | None = None
    expect: Expect | None = None
    expect_values: Mapping[str, bytes | None] = {}

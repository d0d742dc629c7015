"""The queries and batches of the byte plane, and results; public as `swarmstate.base`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

__all__ = ["Batch", "Expect", "Query", "Range", "Result", "prefix_end"]


def prefix_end(prefix: str) -> str | None:
    """Return the least string above every string that starts with `prefix`.

    Return None if there is no such bound: for an empty prefix, or one made only
    of U+10FFFF. Code-point order equals UTF-8 byte order. Surrogates are skipped,
    since names cannot hold them.
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
        reverse: Return the greatest key first.
        limit: Return at most this many records (>= 0); None is all of them.
        keys_only: Omit the values: each comes back as `b""`.
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
    """A read of one namespace, answered from a single consistent view of it.

    Attributes:
        namespace: The namespace.
        keys: Keys to look up.
        ranges: Key ranges to read.
        ttl: If given and the namespace exists, it expires this many seconds
            from now (`math.inf`: never).
        ask_ttl: Also return the namespace's remaining time to live.
    """

    namespace: str
    keys: Sequence[str] = ()
    ranges: Sequence[Range] = ()
    ttl: float | None = None
    ask_ttl: bool = False


class Result(NamedTuple):
    """The answer to one `Query`.

    Attributes:
        values: One entry per requested key, None where it does not exist.
        ranges: One list of `(key, value)` per requested range.
        ttl: Seconds until the namespace expires (`math.inf`: never), with the
            query's own `ttl` already applied; None if the query did not ask for
            it, or if the namespace does not exist.
    """

    values: list[bytes | None]
    ranges: list[list[tuple[str, bytes]]]
    ttl: float | None = None


class Expect(NamedTuple):
    """An expectation that the greatest key starting with `prefix` is `last_key`.

    With `last_key=None`, no key may start with `prefix`.
    """

    prefix: str
    last_key: str | None


class Batch(NamedTuple):
    """Changes to one namespace, applied in full or not at all.

    `expect` and `expect_values` are checked first, against the state before the
    batch. Then `clear`, `delete_ranges`, `delete`, `put_if_absent`, `put` and
    `ttl` are applied in this order, so a put always wins over a deletion.

    Attributes:
        namespace: The namespace.
        put: Records to write, replacing existing ones.
        put_if_absent: Records to write where the key does not exist yet.
        delete: Keys to delete; absent ones are ignored.
        delete_ranges: `(start, stop)` key ranges to delete, with bounds as in `Range`.
        clear: Delete the whole namespace, including its expiry.
        ttl: The namespace expires this many seconds from now (`math.inf`:
            never). None leaves its expiry unchanged.
        expect: The required greatest key under a prefix.
        expect_values: The exact value each key must hold; None if it must not exist.
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

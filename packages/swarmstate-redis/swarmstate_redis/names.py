"""The Redis keys of a store, and their cluster slots."""

from __future__ import annotations

from binascii import crc_hqx
from functools import lru_cache
from typing import NamedTuple

SLOTS = 16_384


class Keys(NamedTuple):
    """The Redis keys of a namespace, all in one cluster slot.

    Attributes:
        data: A hash: keys and values of the records.
        ordered: A sorted set of the same keys, in order.
        recent: A string: the tokens of recently applied batches with an expectation.
    """

    data: bytes
    ordered: bytes
    recent: bytes


class Names:
    """The Redis keys of a store.

    Args:
        prefix: The prefix of all keys; without braces, which have a meaning in
            Redis Cluster.

    Attributes:
        namespaces: The sorted set of all namespaces, and an empty name.
        witness: A string that exists if that sorted set ever did.
    """

    def __init__(self, prefix: str) -> None:
        if not isinstance(prefix, str):
            raise TypeError(f"prefix must be str, not {type(prefix).__name__}")
        if not prefix or "{" in prefix or "}" in prefix:
            raise ValueError(f"expected a non-empty prefix without braces, found {prefix!r}")
        if any("\ud800" <= character <= "\udfff" for character in prefix):
            raise ValueError(f"expected a prefix without lone surrogates, found {prefix!r}")
        self.prefix = prefix
        self.namespaces = f"{{{prefix}}}:namespaces".encode()
        self.witness = f"{{{prefix}}}:indexed".encode()
        # Bounded, but large enough for the threads that are in use at once.
        self.of = lru_cache(maxsize=4_096)(self._of)

    def _of(self, namespace: str) -> Keys:
        # Not formatted: a member of an enum that is a str may be formatted as its own name.
        data = b"%b:%b" % (self.prefix.encode(), namespace.encode())
        tag = hash_tag(data)
        if tag is None and b"}" not in data:
            # The whole key decides the slot, and so it does as a tag.
            return Keys(data, b"{%b}:keys" % data, b"{%b}:recent" % data)
        if tag is None:
            tag = tag_of_slot(slot_of(data))
        return Keys(data, b"{%b}:keys:%b" % (tag, data), b"{%b}:recent:%b" % (tag, data))


def hash_tag(key: bytes) -> bytes | None:
    """Return the part of a key that alone decides its slot; None if the whole key does.

    The tag is the text between the first `{` and the first `}` after it, unless empty
    (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/).
    """
    start = key.find(b"{")
    end = key.find(b"}", start + 1)
    return key[start + 1 : end] if start >= 0 and end > start + 1 else None


def slot_of(key: bytes) -> int:
    """Return the cluster slot of a key."""
    tag = hash_tag(key)
    return crc_hqx(key if tag is None else tag, 0) % SLOTS


@lru_cache(maxsize=1_024)
def tag_of_slot(slot: int) -> bytes:
    """Return the smallest number, in decimal digits, that hashes to a slot."""
    number = 0
    while crc_hqx(b"%d" % number, 0) % SLOTS != slot:
        number += 1
    return b"%d" % number

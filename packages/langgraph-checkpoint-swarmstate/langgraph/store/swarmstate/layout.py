"""The layout of items in a store: namespaces and keys.

A namespace of LangGraph, a tuple of labels, is one namespace of the store:
`langgraph-store:` and the labels joined by periods, which LangGraph does not allow
in labels. For each item it holds

    created/{key}          when it was first put
    expiry/{key}/{time}    when it expires, if it does
    item/{key}             its latest value, and when that was put

so a put need not read anything first: `created/` is put if it is absent.
In `expiry/` the key is escaped; the time is in milliseconds since the Unix epoch, with
`_TIME_DIGITS` digits. An item has at most one such record. Because the time is part of the
key, a batch can expect it: an item is renewed or removed only if nobody else did so first.
"""

from __future__ import annotations

from collections.abc import Iterable

from langgraph.checkpoint.swarmstate.layout import escape, unescape

from swarmstate import Range
from swarmstate.errors import ItemError

STORES = "langgraph-store:"

CREATED = "created/"
EXPIRY = "expiry/"
ITEMS = "item/"

# The three areas are adjacent, with nothing else between them.
EVERYTHING = Range(CREATED, Range.of_prefix(ITEMS).stop)

_TIME_DIGITS = 15
# The first time, in milliseconds, that does not fit into a key.
LAST_TIME = 10**_TIME_DIGITS

Labels = tuple[str, ...]


def check_labels(labels: object) -> None:
    """Raise TypeError for a single string, whose characters would be the labels."""
    if isinstance(labels, str):
        raise TypeError(
            f"expected a namespace to be a tuple of strings, found {labels!r}; "
            f"did you mean ({labels!r},)?"
        )


def check_key(key: object) -> None:
    """Raise TypeError for a key that is not a string; only LangGraph's methods convert it."""
    if not isinstance(key, str):
        raise TypeError(f"expected the key of an item to be a string, found {key!r:.80}")


def namespace_of(labels: Labels) -> str:
    """Return the namespace that holds the items of `labels`."""
    return f"{STORES}{'.'.join(labels)}"


def labels_of(namespace: str) -> Labels:
    """Undo `namespace_of`."""
    path = namespace[len(STORES) :]
    return tuple(path.split(".")) if path else ()


def in_order(first: Labels, namespaces: Iterable[str]) -> list[Labels]:
    """Return `first` and the labels of namespaces, sorted and without duplicates.

    Names arrive almost in that order. Sorting benefits from this, and a set would lose it.
    """
    return sorted(dict.fromkeys((first, *map(labels_of, namespaces))))


def below(labels: Labels) -> str:
    """Return the name prefix of the namespaces below `labels`."""
    return f"{namespace_of(labels)}." if labels else STORES


def created_key(key: str) -> str:
    """Return the key of the time when an item was first put."""
    return f"{CREATED}{key}"


def item_key(key: str) -> str:
    """Return the key of an item."""
    return f"{ITEMS}{key}"


def expiry_prefix(key: str) -> str:
    """Return the prefix of the key of an item's expiry."""
    return f"{EXPIRY}{escape(key)}/"


def expiry_key(key: str, expires: int) -> str:
    """Return the key of an item's expiry; the time is in milliseconds, below `LAST_TIME`."""
    return f"{expiry_prefix(key)}{expires:0{_TIME_DIGITS}}"


def parse_expiry(namespace: str, name: str) -> tuple[str, int]:
    """Return the `(key, expires)` that an expiry's key holds.

    Raises:
        ItemError: The key is damaged.
    """
    try:
        _, key, expires = name.split("/")
        return unescape(key), int(expires)
    except ValueError:
        raise ItemError(
            f"namespace {namespace!r} of the store has an expiry record with a damaged key "
            f"{name!r}; delete that record, or restore a backup"
        ) from None

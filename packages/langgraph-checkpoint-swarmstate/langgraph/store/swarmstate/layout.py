"""Where items are: namespaces and keys.

A namespace of LangGraph, a tuple of labels, is one namespace of the store:
`langgraph-store:` and the labels, joined by periods, which LangGraph keeps out
of labels. It holds, for each item,

    created/{key}          when it was first put
    expiry/{key}/{time}    that it expires at this time, if it does
    item/{key}             what was put last, and when

so that a put needs no look at what is there: `created/` is put if it is absent.
In `expiry/` the key is escaped; the time is milliseconds since the Unix epoch, in
`_TIME_DIGITS` digits. There is at most one such record for an item, and being part
of a key its time can be what a batch expects: whoever renews or removes an item
does so only if nobody else did.
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

# The three areas lie side by side, and nothing else between them.
EVERYTHING = Range(CREATED, Range.of_prefix(ITEMS).stop)

_TIME_DIGITS = 15
# The first time, in milliseconds, that a key has no room for.
LAST_TIME = 10**_TIME_DIGITS

Labels = tuple[str, ...]


def check_labels(labels: object) -> None:
    """Raise TypeError for a single text, whose characters would be the labels."""
    if isinstance(labels, str):
        raise TypeError(
            f"expected a namespace to be a tuple of texts, found {labels!r}; "
            f"did you mean ({labels!r},)?"
        )


def namespace_of(labels: Labels) -> str:
    """Return the namespace that holds the items of `labels`."""
    return f"{STORES}{'.'.join(labels)}"


def labels_of(namespace: str) -> Labels:
    """Undo `namespace_of`."""
    path = namespace[len(STORES) :]
    return tuple(path.split(".")) if path else ()


def in_order(first: Labels, namespaces: Iterable[str]) -> list[Labels]:
    """Return `first` and the labels of namespaces, each once, in their order.

    Names come almost in that order already, which a set would lose and sorting has use for.
    """
    return sorted(dict.fromkeys((first, *map(labels_of, namespaces))))


def below(labels: Labels) -> str:
    """Return what the namespaces start with that have `labels` and more."""
    return f"{namespace_of(labels)}." if labels else STORES


def created_key(key: str) -> str:
    """Return where it stands when an item was first put."""
    return f"{CREATED}{key}"


def item_key(key: str) -> str:
    """Return where an item stands."""
    return f"{ITEMS}{key}"


def expiry_prefix(key: str) -> str:
    """Return what the key of an item's expiry starts with."""
    return f"{EXPIRY}{escape(key)}/"


def expiry_key(key: str, expires: int) -> str:
    """Return the key that says when an item expires: milliseconds, below `LAST_TIME`."""
    return f"{expiry_prefix(key)}{expires:0{_TIME_DIGITS}}"


def parse_expiry(namespace: str, name: str) -> tuple[str, int]:
    """Return `(key, expires)` of an expiry's key.

    Raises:
        ItemError: The key is damaged.
    """
    try:
        _, key, expires = name.split("/")
        return unescape(key), int(expires)
    except ValueError:
        raise ItemError(
            f"namespace {namespace!r} of the store has the record of an expiry whose key {name!r} "
            "is damaged; delete that record, or restore a back-up"
        ) from None

"""Finding items below a namespace."""

from __future__ import annotations

import heapq
from collections.abc import Container, Iterable
from typing import TYPE_CHECKING, Any

from langgraph.store.base import SearchItem, SearchOp

from swarmstate import Query, Range
from swarmstate.operations import Namespaces, Operation

from .filters import check_filter, matches
from .layout import (
    EVERYTHING,
    Labels,
    below,
    check_labels,
    created_key,
    expiry_prefix,
    item_key,
    labels_of,
    namespace_of,
)
from .records import StoredItem

if TYPE_CHECKING:
    from langgraph.checkpoint.serde.base import SerializerProtocol


def check_search(op: SearchOp) -> None:
    """Check what LangGraph does not.

    Raises:
        ValueError: A number is negative, or the filter has an unknown operator.
        TypeError: The namespace is a single text.
    """
    check_labels(op.namespace_prefix)
    for name, number in (("limit", op.limit), ("offset", op.offset)):
        if number < 0:
            raise ValueError(f"expected {name} to be at least 0, found {number}")
    for wanted in (op.filter or {}).values():
        check_filter(wanted)


def scope_of(prefix: Labels) -> Operation[list[Labels]]:
    """Return the namespaces at and below a prefix, label by label; some may hold nothing."""
    names: list[str] = yield Namespaces(below(prefix))
    return sorted({prefix, *map(labels_of, names)})


def query_for(labels: Labels) -> Query:
    """Return the query for all items of a namespace."""
    return Query(namespace_of(labels), ranges=[EVERYTHING])


def item_query(labels: Labels, key: str) -> Query:
    """Return the query for one item."""
    return Query(
        namespace_of(labels),
        keys=[item_key(key), created_key(key)],
        ranges=[Range.of_prefix(expiry_prefix(key))],
    )


class Found:
    """What a search found: items, with their values if the filter needed them."""

    def __init__(self, op: SearchOp, serde: SerializerProtocol) -> None:
        self.op = op
        self.serde = serde
        self.items: list[tuple[StoredItem, dict[str, Any] | None]] = []

    def add(self, items: Iterable[StoredItem]) -> None:
        """Take those items that pass the filter."""
        if not self.op.filter:
            self.items += ((item, None) for item in items)
            return
        for item in items:
            value = item.value(self.serde)
            if matches(value, self.op.filter):
                self.items.append((item, value))

    def newest(
        self, count: int, without: Container[tuple[Labels, str]] = ()
    ) -> list[tuple[StoredItem, SearchItem]]:
        """Return so many items, the last one put first, but for those at certain places."""
        items = (each for each in self.items if (each[0].labels, each[0].key) not in without)
        newest = heapq.nsmallest(count, items, key=lambda found: found[0].order())
        return [(item, item.search_item(self.serde, value, None)) for item, value in newest]

"""Finding items below a namespace."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING

from langgraph.store.base import SearchItem, SearchOp

from swarmstate import Query, Range, Result
from swarmstate.base import check_count
from swarmstate.operations import Namespaces, Operation

from .filters import check_filter, matches
from .layout import (
    EVERYTHING,
    Labels,
    below,
    check_labels,
    created_key,
    expiry_prefix,
    in_order,
    item_key,
    namespace_of,
)
from .prefilter import visible_filter
from .records import StoredItem, newest_of

if TYPE_CHECKING:
    from langgraph.checkpoint.serde.base import SerializerProtocol


_ALL = (EVERYTHING,)


def check_search(op: SearchOp) -> None:
    """Check the arguments that LangGraph does not check.

    Raises:
        ValueError: A number is negative, or the filter has an unknown operator.
        TypeError: The namespace is a single string, a number is not one, or the filter is
            not a dict.
    """
    check_labels(op.namespace_prefix)
    check_count("limit", op.limit)
    check_count("offset", op.offset)
    if op.filter and not isinstance(op.filter, Mapping):
        raise TypeError(f"expected filter to be a dict of fields, found {op.filter!r:.80}")
    for wanted in (op.filter or {}).values():
        check_filter(wanted)


def scope_of(prefix: Labels) -> Operation[list[Labels]]:
    """Return the namespaces at and below a prefix, label by label; some may be empty."""
    names: list[str] = yield Namespaces(below(prefix))
    return in_order(prefix, names)


def query_for(labels: Labels) -> Query:
    """Return the query for all items of a namespace."""
    return Query(namespace_of(labels), ranges=_ALL)


def item_query(labels: Labels, key: str) -> Query:
    """Return the query for one item."""
    return Query(
        namespace_of(labels),
        keys=[item_key(key), created_key(key)],
        ranges=[Range.of_prefix(expiry_prefix(key))],
    )


class Found:
    """The items that a search finds, in order.

    Args:
        op: The search.
        serde: Decodes values.
        spanned: The namespaces below its prefix in order, each with the records read from it.
        now: The time, in seconds; expired items are not found.

    Raises:
        ItemError: A record of an item is damaged.
    """

    def __init__(
        self,
        op: SearchOp,
        serde: SerializerProtocol,
        spanned: Sequence[tuple[Labels, Result]],
        now: float,
    ) -> None:
        self.op = op
        self.serde = serde
        # A filter may skip any number of items, so the limit cannot apply before it.
        count = None if op.filter else op.offset + op.limit
        self._items = newest_of(spanned, now, count, visible_filter(serde, op.filter))

    def newest(
        self, count: int, without: Container[tuple[Labels, str]] = ()
    ) -> list[tuple[StoredItem, SearchItem]]:
        """Return up to this many items, most recent put first, except those at some places.

        Together with those places, at most `offset + limit`. May be called only once.

        Raises:
            ItemError: One of them is damaged.
        """
        found: list[tuple[StoredItem, SearchItem]] = []
        if count < 1:
            return found
        for item in self._items:
            if (item.labels, item.key) in without:
                continue
            value = item.value(self.serde) if self.op.filter else None
            if value is None or matches(value, self.op.filter):
                found.append((item, item.search_item(self.serde, value, None)))
                if len(found) == count:
                    break
        return found

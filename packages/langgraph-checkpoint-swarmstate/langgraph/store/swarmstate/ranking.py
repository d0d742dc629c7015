"""Semantic search: items ranked by their embeddings, nearest first."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from langgraph.store.base import SearchItem

from swarmstate.errors import StoreReadOnlyError
from swarmstate.operations import Operation, Read
from swarmstate.vectors import Match, known_filter

from .embedding import Forget, Index, Rank, is_left_over, named_by
from .filters import matches
from .records import StoredItem, item_of
from .searching import Found, item_query

if TYPE_CHECKING:
    from langgraph.checkpoint.serde.base import SerializerProtocol
    from langgraph.store.base import SearchOp

    from .layout import Labels

# Extra matches to look at first, beyond those requested.
_SPARE = 8
# If too few of these remain, because they have expired or a part that the index does not know
# fails the filter, the next step looks at this many times as many.
_GROWTH = 4
# How often to rank the embeddings if items are being put again at the same time.
_ATTEMPTS = 8


class Ranking:
    """The items of a search that have embeddings, nearest first."""

    def __init__(self, op: SearchOp, index: Index, serde: SerializerProtocol) -> None:
        self.op = op
        self.index = index
        self.serde = serde
        self.items: dict[tuple[Labels, str], tuple[StoredItem, dict[str, Any] | None, float]] = {}
        self._left_over: set[str] = set()
        # The tokens of items that have other embeddings than those that were ranked.
        self._changed: dict[tuple[Labels, str], str] = {}

    @property
    def is_full(self) -> bool:
        """Whether there are enough items."""
        return len(self.items) >= self.op.offset + self.op.limit

    def rank(self, vector: list[float], now: float) -> Operation[None]:
        """Find as many items as the search asks for, if there are that many."""
        for _ in range(_ATTEMPTS):
            before, self._changed = self._changed, {}
            self.items.clear()
            yield from self._rank(vector, now)
            # An item put again after the ranking can be ranked by now. One put again before it
            # is farther away, and only the embeddings of its older value are left over.
            missed = {place: self._changed[place] for place in self._changed.keys() - self.items}
            if missed.items() <= before.items():
                break
        if self._left_over:
            # A reader of a read-only store leaves them to others.
            with suppress(StoreReadOnlyError):
                yield Forget(self.index.collection, sorted(self._left_over))

    def _rank(self, vector: list[float], now: float) -> Operation[None]:
        offset, limit = 0, self.op.offset + self.op.limit + _SPARE
        passing = known_filter(self.op.filter)
        while not self.is_full:
            scope = tuple(self.op.namespace_prefix)
            found: list[Match] = yield Rank(
                self.index.collection, vector, scope, passing, offset, limit
            )
            if found:
                yield from self._add(found, now)
            if len(found) < limit:
                break
            offset += limit
            limit *= _GROWTH

    def _add(self, found: list[Match], now: float) -> Operation[None]:
        named = [named_by(match.record) for match in found]
        places = [(labels, key) for labels, key, _ in named]
        results = yield Read([item_query(*place) for place in places])
        for place, (_, _, token), match, result in zip(places, named, found, results, strict=True):
            item = item_of(*place, result)
            if item is None or item.token != token:
                if is_left_over(token, now):
                    self._left_over.add(match.record.id)
                elif item is not None and item.token is not None:
                    self._changed[place] = item.token
                continue
            value = item.value(self.serde) if self.op.filter else None
            if not item.is_expired(now) and (value is None or matches(value, self.op.filter)):
                self.items.setdefault(place, (item, value, match.score))

    def page(self, others: Found) -> list[tuple[StoredItem, SearchItem]]:
        """Return the requested page: ranked items first, then the others, newest first."""
        ranked = [
            (item, item.search_item(self.serde, value, score))
            for item, value, score in self.items.values()
        ]
        stop = self.op.offset + self.op.limit
        if not self.is_full:
            ranked += others.newest(stop - len(ranked), self.items)
        return ranked[self.op.offset : stop]

"""LangGraph's `InMemoryStore`, with the intended differences of `SwarmStateStore`.

- Without a query, a search returns the most recently put items first, and those of
  one batch by namespace and key. `InMemoryStore` orders items by when they, and
  their namespaces, were first put.
- Namespaces that are empty, or were only read, are not listed.
- Items without embeddings come after those with embeddings, the most recently put
  first, and each only once across the pages of a search.
- Putting an item again keeps its `created_at` and removes its old embeddings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langgraph.store.base import Item, ListNamespacesOp, Op, PutOp, SearchItem, SearchOp
from langgraph.store.memory import InMemoryStore

__all__ = ["Reference", "plain"]

_ALL = 1_000_000


class Reference:
    """Answers batches as `SwarmStateStore` must answer them.

    Args:
        index: The `IndexConfig` of the compared stores.
    """

    def __init__(self, **options: Any) -> None:
        self.store = InMemoryStore(**options)
        # The batches in which items were first and last put.
        self.created: dict[tuple[tuple[str, ...], str], int] = {}
        self.updated: dict[tuple[tuple[str, ...], str], int] = {}
        self.batches = 0

    def batch(self, ops: Sequence[Op]) -> list[Any]:
        """Return the results of `ops`, in the form of `plain`."""
        self._forget_empty()
        results = [self._read(op) for op in ops]
        self.batches += 1
        last = {(op.namespace, op.key): op for op in ops if isinstance(op, PutOp)}
        for place, op in last.items():
            self.store.batch([PutOp(*place, None)])
            self.created.setdefault(place, self.batches)
            self.updated[place] = self.batches
            if op.value is None:
                del self.created[place], self.updated[place]
            else:
                self.store.batch([op])
        return results

    def _read(self, op: Op) -> Any:
        if isinstance(op, PutOp):
            return None
        if isinstance(op, SearchOp):
            [found] = self.store.batch([op._replace(limit=_ALL, offset=0)])
            assert isinstance(found, list)
            ordered = sorted(found, key=self._order)
            return [self._plain(item) for item in ordered][op.offset : op.offset + op.limit]
        [result] = self.store.batch([op])
        self._forget_empty()
        if isinstance(op, ListNamespacesOp) or result is None:
            return result
        return self._plain(result)

    def _order(self, item: Any) -> tuple[Any, ...]:
        place = item.namespace, item.key
        if item.score is None:
            return 1, -self.updated[place], place
        # Items with a score come first, the best one at the top.
        return 0, -round(item.score, 9), ".".join(item.namespace) + "\x01" + item.key

    def _plain(self, item: Any) -> tuple[Any, ...]:
        place = item.namespace, item.key
        return (*plain(item)[:-1], (self.created[place], self.updated[place]))

    def _forget_empty(self) -> None:
        data = self.store._data
        for namespace in [name for name, items in data.items() if not items]:
            del data[namespace]


def plain(item: Item) -> tuple[Any, ...]:
    """Return an item as a comparable tuple; times are seconds since the Unix epoch."""
    score = (
        round(item.score, 4) if isinstance(item, SearchItem) and item.score is not None else None
    )
    times = item.created_at.timestamp(), item.updated_at.timestamp()
    return item.namespace, item.key, item.value, score, times

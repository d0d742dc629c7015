"""Semantic searches while other writers put the items they look for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from langgraph.store.base import IndexConfig, SearchItem
from langgraph.store.swarmstate import SwarmStateStore
from swarmstate import Store
from swarmstate.errors import StoreError

from tests.langgraph.helpers.counting import CountingStore

if TYPE_CHECKING:
    from collections.abc import Sequence


def count_letters(texts: Sequence[str]) -> list[list[float]]:
    return [[float(text.count(letter)) for letter in "tea"] for text in texts]


INDEX: IndexConfig = {"dims": 3, "embed": count_letters, "fields": ["text"]}
ITEMS = "langgraph-store:a"


class Watched(CountingStore):
    """Calls `before_read` and `around_write` with the namespaces concerned."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.before_read: Callable[[set[str]], None] = lambda names: None
        self.around_write: Callable[[set[str]], None] = lambda names: None

    def read(self, queries: Any) -> Any:
        queries = list(queries)
        self.before_read({query.namespace for query in queries})
        return super().read(queries)

    def write(self, batches: Any) -> None:
        batches = list(batches)
        names = {batch.namespace for batch in batches}
        self.around_write(names)
        super().write(batches)
        self.around_write(names)


def nearest(memory: SwarmStateStore) -> SearchItem:
    """Return the single result of a search that others match less well."""
    [found] = memory.search(("a",), query="tea", limit=1)
    return found


def test_an_item_that_is_put_again_is_found_at_every_moment() -> None:
    inner = Store()
    watched = Watched(inner)
    writer, reader = SwarmStateStore(watched, index=INDEX), SwarmStateStore(inner, index=INDEX)
    for key, text in (("best", "tea"), ("other", "eel"), ("more", "tattoo")):
        writer.put(("a",), key, {"text": text, "n": 0})
    seen = []

    def look(names: set[str]) -> None:
        found = nearest(reader)
        seen.append((found.key, found.value["n"], found.score == pytest.approx(1)))

    watched.around_write = look
    writer.put(("a",), "best", {"text": "tea", "n": 1})
    assert {key for key, _, _ in seen} == {"best"}
    assert all(is_near for _, _, is_near in seen)
    numbers = [n for _, n, _ in seen]
    assert numbers == sorted(numbers)
    assert {0, 1} == set(numbers)


def test_an_item_that_is_put_again_while_it_is_ranked_is_found() -> None:
    inner = Store()
    watched = Watched(inner)
    writer, reader = SwarmStateStore(inner, index=INDEX), SwarmStateStore(watched, index=INDEX)
    for key, text in (("best", "tea"), ("other", "eel"), ("more", "tattoo")):
        writer.put(("a",), key, {"text": text, "n": 0})
    puts = iter((1, 2, 3))

    def put_again(names: set[str]) -> None:
        if ITEMS in names and (number := next(puts, None)):
            writer.put(("a",), "best", {"text": "tea", "n": number})

    watched.before_read = put_again
    found = nearest(reader)
    assert (found.key, found.value["n"]) == ("best", 3)
    assert found.score == pytest.approx(1)


def test_an_item_that_could_not_be_put_again_is_found_as_it_was() -> None:
    inner = Store()
    watched = Watched(inner)
    writer = SwarmStateStore(watched, index=INDEX)
    for key, text in (("best", "tea"), ("other", "eel")):
        writer.put(("a",), key, {"text": text})

    def fail(names: set[str]) -> None:
        if "langgraph-vectors" in names:
            failed.append(names)
        elif failed:
            raise StoreError("the server is gone")

    failed: list[set[str]] = []
    watched.around_write = fail
    with pytest.raises(StoreError):
        writer.put(("a",), "best", {"text": "eel"})
    watched.around_write = lambda names: None
    found = nearest(writer)
    assert (found.key, found.value["text"]) == ("best", "tea")
    assert found.score == pytest.approx(1)
    writer.put(("a",), "best", {"text": "eat"})
    assert nearest(writer).value["text"] == "eat"

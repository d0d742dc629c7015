"""Semantic search: items found by their meaning."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from langgraph.store.base import IndexConfig, Op
from langgraph.store.swarmstate import SwarmStateStore
from langgraph.store.swarmstate.testing._base import (
    ContractBase,
    Memory,
    Mode,
    embed,
    plain_result,
)
from langgraph.store.swarmstate.testing.reference import Reference
from langgraph.store.swarmstate.testing.strategies import semantic_batches

from swarmstate import Batch
from swarmstate.errors import DimensionError, EmbeddingError
from swarmstate.vectors import Collection


class MeaningContract(ContractBase):
    """Searches with a query, and the life of embeddings."""

    def test_generated_searches_by_meaning_do_what_they_do_in_memory(self, mode: Mode) -> None:
        """Covers scores, order, filters, pages, fields and replaced items."""

        @settings(max_examples=self.examples)
        @given(semantic_batches())
        def compare(sequence: list[list[Op]]) -> None:
            index: IndexConfig = {"dims": 16, "embed": embed, "fields": ["title", "body[*]"]}
            reference = Reference(index=index)
            with self.memory(mode, index=index) as memory:
                for ops in sequence:
                    memory.now += 1
                    found = [plain_result(result) for result in memory.call("batch", ops)]
                    assert found == reference.batch(ops)

        compare()

    def test_a_search_by_meaning_finds_nothing_of_others(self, mode: Mode) -> None:
        """Even if other items are nearer, and the searched namespace has too few."""
        with self.memory(mode, index={"dims": 16, "embed": embed}) as ours:
            for number in range(30):
                ours.call("put", ("jane", "x"), f"{number}", {"text": "tea"})
                ours.call("put", ("john-doe",), f"{number}", {"text": "tea"})
            ours.call("put", ("john", "x"), "k", {"text": "a cat"})
            [found] = ours.call("search", ("john",), query="tea")
            assert (found.namespace, found.score is None) == (("john", "x"), False)
            assert ours.call("search", ("nobody",), query="tea") == []
            found = ours.call("search", ("jane",), query="tea", limit=100)
            assert sorted(item.key for item in found) == sorted(map(str, range(30)))
            assert None not in {item.score for item in found}

    def test_no_embedding_outlives_its_item(self, ours: Memory) -> None:
        """Embeddings go when the item is replaced, deleted or swept."""
        memory = SwarmStateStore(
            ours.store.store, index={"dims": 16, "embed": embed}, clock=lambda: ours.now
        )
        collection = Collection(ours.store.store, "langgraph-vectors")
        for n in range(3):
            memory.put(("a",), f"k/{n}", {"text": "tea"}, ttl=1 if n == 2 else None)
        memory.put(("a",), "k/1", {"text": "milk"})
        assert collection.count() == 3
        memory.put(("a",), "k/1", {"text": "milk"}, index=False)
        memory.delete(("a",), "k/0")
        assert [record.scope for record in collection.select()] == [("a",)]
        ours.now = 60.0
        assert memory.sweep_ttl() == 1
        assert collection.count() == 0
        # A search removes embeddings that a crash or a race left behind, but only once no put
        # can still be in progress.
        memory.put(("a",), "k", {"text": "tea"})
        ours.store.store.clear("langgraph-store:a")
        memory.put(("a",), "l", {"text": "tea"})
        assert [item.key for item in memory.search(("a",), query="tea")] == ["l"]
        assert collection.count() == 2
        ours.now = 7200.0
        assert [item.key for item in memory.search(("a",), query="tea")] == ["l"]
        assert collection.count() == 1

    def test_the_embeddings_of_an_older_value_do_not_count(self, ours: Memory) -> None:
        """The value was replaced through a store that does not embed."""
        memory = SwarmStateStore(
            ours.store.store, index={"dims": 16, "embed": embed}, clock=lambda: ours.now
        )
        for key in ("old", "new"):
            memory.put(("a",), key, {"text": "tea"})
        ours.call("put", ("a",), "old", {"text": "something else"})
        ours.now = 7200.0
        found = memory.search(("a",), query="tea")
        assert [(item.key, item.score is None) for item in found] == [("new", False), ("old", True)]
        assert Collection(ours.store.store, "langgraph-vectors").count() == 1

    def test_expired_items_are_not_found_by_what_they_mean(self, ours: Memory) -> None:
        """Neither with nor without a score; pages are filled with the next items."""
        index: IndexConfig = {"dims": 16, "embed": embed, "fields": ["text"]}
        memory = SwarmStateStore(ours.store.store, index=index, clock=lambda: ours.now)
        for n in range(20):
            memory.put(("a",), f"brief {n}", {"text": "tea"}, ttl=1)
        memory.put(("a",), "stays", {"text": "a cup of tea"})
        ours.now = 60.0
        for limit in (1, 10):
            [found] = memory.search(("a",), query="tea", limit=limit)
            assert found.key == "stays"
            assert found.score is not None

    def test_each_item_has_its_own_fields(self, ours: Memory) -> None:
        """The `index` of a put overrides that of the store, and the best field counts."""
        memory = SwarmStateStore(
            ours.store.store, index={"dims": 16, "embed": embed, "fields": ["one", "two"]}
        )
        value = {"one": "rain", "two": "tea", "three": "milk"}
        memory.put(("a",), "default", value)
        memory.put(("a",), "own", value, index=["three"])
        memory.put(("a",), "none", value, index=False)
        for query, first in (("tea", "default"), ("rain", "default"), ("milk", "own")):
            found = memory.search(("a",), query=query)
            assert found[0].key == first
            assert found[0].score == pytest.approx(1)
            assert (found[-1].key, found[-1].score) == ("none", None)

    def test_embeddings_that_do_not_fit_are_refused(self, ours: Memory) -> None:
        """A refused put stores nothing."""
        memory = SwarmStateStore(ours.store.store, index={"dims": 3, "embed": embed})
        with pytest.raises(ValueError, match="expected embeddings of 3 dimensions"):
            memory.put(("a",), "k", {"text": "tea"})
        memory = SwarmStateStore(ours.store.store, index={"embed": lambda texts: []})
        with pytest.raises(ValueError, match="expected one embedding for each text, found 0 for 1"):
            memory.put(("a",), "k", {"text": "tea"})
        assert memory.search(("a",)) == []

    def test_a_put_whose_embedding_cannot_be_stored_changes_nothing(self, ours: Memory) -> None:
        """Neither the item nor its embeddings change."""

        def not_a_number(texts: list[str]) -> list[list[float]]:
            return [[float("nan")] * 16 for _ in texts]

        def shorter(texts: list[str]) -> list[list[float]]:
            return [vector[:3] for vector in embed(texts)]

        index: IndexConfig = {"dims": 16, "embed": embed, "fields": ["text"]}
        memory = SwarmStateStore(ours.store.store, index=index)
        memory.put(("a",), "k", {"text": "tea"})
        for function, error in ((not_a_number, EmbeddingError), (shorter, DimensionError)):
            unsaid: IndexConfig = {"embed": function}  # type: ignore[typeddict-item]  # no `dims`
            other = SwarmStateStore(ours.store.store, index=unsaid)
            with pytest.raises(error):
                other.put(("a",), "k", {"text": "milk"})
            with pytest.raises(error):
                other.search(("a",), query="milk")
        [found] = memory.search(("a",), query="tea")
        assert found.value == {"text": "tea"}
        assert found.score == pytest.approx(1)

    def test_a_damaged_item_can_be_replaced_deleted_and_swept(self, mode: Mode) -> None:
        """Even though its value no longer shows which embeddings belong to it."""
        with self.memory(mode, index={"dims": 16, "embed": embed}) as ours:
            for key in ("replaced", "deleted", "swept"):
                ours.call("put", ("a",), key, {"text": "tea"}, ttl=1)
                damage = Batch("langgraph-store:a", put={f"item/{key}": b"\xc1"})
                ours.store.store.write([damage])
            ours.call("put", ("a",), "replaced", {"text": "milk"})
            ours.call("delete", ("a",), "deleted")
            ours.now = 7200.0
            assert ours.call("sweep_ttl") == 1
            [found] = ours.call("search", ("a",), query="milk")
            assert found.value == {"text": "milk"}
            assert Collection(ours.store.store, "langgraph-vectors").count() == 1

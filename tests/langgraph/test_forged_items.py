"""Memory records with invalid content raise errors that name the item, and do no other harm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langgraph.store.base import IndexConfig
from langgraph.store.swarmstate import SwarmStateStore
from swarmstate import Batch, Query, Range, Store, dumps, loads
from swarmstate.errors import ItemError, SwarmStateError
from swarmstate.sharing import seal

from tests.langgraph.helpers.forging import forgeries, sealed_forgeries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

A, B = ("a",), ("b",)
NOW = 1_800_000_000.0


def count_letters(texts: Sequence[str]) -> list[list[float]]:
    return [[float(text.count(letter)) for letter in "tea"] for text in texts]


INDEX: IndexConfig = {"dims": 3, "embed": count_letters, "fields": ["text"]}


def memory_of(store: Store, index: IndexConfig | None = None) -> SwarmStateStore:
    return SwarmStateStore(store, index=index, clock=lambda: NOW)


def fill(memory: SwarmStateStore) -> None:
    for labels in (A, B):
        for key in ("k", "other"):
            memory.put(labels, key, {"text": "tea", "n": 1}, ttl=5)


def records(store: Store, namespace: str, prefix: str) -> dict[str, bytes]:
    [answer] = store.read([Query(namespace, ranges=[Range.of_prefix(prefix)])])
    return dict(answer.ranges[0])


CALLS: dict[str, Callable[[SwarmStateStore], Any]] = {
    "get": lambda memory: memory.get(A, "k"),
    "get without renewing": lambda memory: memory.get(A, "k", refresh_ttl=False),
    "search": lambda memory: memory.search(A),
    "search from the root": lambda memory: memory.search(()),
    "search with a filter": lambda memory: memory.search(A, filter={"n": {"$gt": 0}}),
    "search for a page": lambda memory: memory.search(A, limit=1, offset=1),
    "search by meaning": lambda memory: memory.search(A, query="tea"),
    "list": lambda memory: memory.list_namespaces(),
    "sweep": lambda memory: memory.sweep_ttl(),
}


def tried(store: Store, index: IndexConfig | None) -> Iterator[str]:
    """Make all calls and yield the error messages; other items must be unaffected."""
    for call in CALLS.values():
        with memory_of(store, index) as memory:
            try:
                call(memory)
            except ItemError as error:
                yield str(error)
    memory = memory_of(store, index)
    assert memory.get(A, "other") is not None
    assert len(memory.search(B)) == 2
    memory.delete(A, "k")
    memory.put(A, "k", {"text": "eat"})
    assert [item.key for item in memory.search(A, query="eat")] == ["k", "other"]
    memory.delete(A, "k")
    assert [item.key for item in memory.search(A)] == ["other"]


@pytest.mark.parametrize("index", [None, INDEX], ids=["plain", "indexed"])
@pytest.mark.parametrize("kind", ["created/k", "expiry/k/", "item/k"])
def test_a_forged_record_is_named_and_other_items_are_readable(
    kind: str, index: IndexConfig | None
) -> None:
    with Store() as store:
        fill(memory_of(store, index))
        before = store.snapshot()
        messages: list[str] = []
        [(name, record)] = records(store, "langgraph-store:a", kind).items()
        for forged in sealed_forgeries(record):
            store.restore(before)
            store.write([Batch("langgraph-store:a", put={name: forged})])
            messages += tried(store, index)
        assert len(messages) > 20
        assert not [each for each in messages if "item 'k' of namespace ('a',)" not in each]


def test_a_time_beyond_all_calendars_is_damage() -> None:
    with Store() as store:
        fill(memory_of(store))
        for name in ("created/k", "item/k"):
            [record] = records(store, "langgraph-store:a", name).values()
            content = loads(record)[0]
            for time in (2**63, 2**64 - 1, -(2**63)):
                forged = time if name == "created/k" else [time, *content[1:]]
                store.write([Batch("langgraph-store:a", put={name: seal(forged)})])
                messages = [*tried(store, None)]
                fill(memory_of(store))
                assert messages
                assert not [each for each in messages if "item 'k'" not in each]
            store.clear()
            fill(memory_of(store))


def test_a_forged_record_of_embeddings_is_named() -> None:
    with Store() as store:
        fill(memory_of(store, INDEX))
        before = store.snapshot()
        found = records(store, "langgraph-vectors", "item/a\x01k")
        [(name, record)] = found.items()
        messages = []
        for forged in forgeries(loads(record)):
            store.restore(before)
            store.write([Batch("langgraph-vectors", put={name: dumps(forged)})])
            memory = memory_of(store, INDEX)
            try:
                memory.search(A, query="tea")
            except SwarmStateError as error:
                messages.append(str(error))
            assert len(memory.search(A)) == 2
        assert messages
        token = name.rpartition("\x01")[2]
        assert not [each for each in messages if token not in each]


@pytest.mark.parametrize("mend", ["put", "delete"])
def test_an_item_whose_embeddings_are_damaged_can_be_replaced(mend: str) -> None:
    with Store() as store:
        fill(memory_of(store, INDEX))
        [name] = records(store, "langgraph-vectors", "item/a\x01k")
        store.write([Batch("langgraph-vectors", put={name: b"\xc1"})])
        memory = memory_of(store, INDEX)
        with pytest.raises(ItemError, match=r"\"a.*k.*put that item again, or delete it"):
            memory.search(B, query="tea")
        if mend == "put":
            memory.put(A, "k", {"text": "eat"})
        else:
            memory.delete(A, "k")
        for reader in (memory, memory_of(store, INDEX)):
            assert len(reader.search((), query="tea")) == (4 if mend == "put" else 3)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x81\xa1n",  # truncated
        dumps({"n": 1}) + b"\xc0",
        b"\x82\xa1n\x01\xa1m\xc1",  # a byte that msgpack does not have
        b"\x82\xa1n\x01\xa1m\xa1\xff",  # invalid UTF-8
        b"\x82\xa1n\x01\xa1\xff\x01",
        b"\x82\xa1n\x01\xa1m" + b"\x91" * 2000 + b"\xc0",
        b"\x82\xa1n\x01\xa1m\x81\xd4\x7f\x00\x01",  # an unknown ext
        dumps([1]),
        dumps("n"),
    ],
)
def test_a_value_that_cannot_be_read_is_named_whatever_is_looked_for(value: bytes) -> None:
    store = Store()
    memory = memory_of(store)
    fill(memory)
    store.write([Batch("langgraph-store:a", put={"item/k": seal((0, "msgpack", value, None))})])
    wanted: Any
    for wanted in (1, 2, "x", None, {"$eq": 0.5}, {"$gt": 0}):
        with pytest.raises(ItemError, match=r"item 'k' of namespace \('a',\)"):
            memory.search((), filter={"n": wanted})


def test_of_a_name_that_comes_twice_the_last_counts() -> None:
    store = Store()
    memory = memory_of(store)
    fill(memory)
    twice = b"\x82\xa1n\x01\xa1n\xa1x"
    store.write([Batch("langgraph-store:a", put={"item/k": seal((0, "msgpack", twice, None))})])
    assert [item.key for item in memory.search(A, filter={"n": "x"})] == ["k"]
    assert [item.key for item in memory.search(A, filter={"n": 1})] == ["other"]

"""Where a sharded store puts namespaces."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest
from swarmstate import Batch, Query, Store
from swarmstate.base import BaseStore
from swarmstate.errors import StoreClosedError, StoreUnavailableError
from swarmstate.layers import Operation, ShardedStore, StoreLayer

NAMES = [f"langgraph:{index}" for index in range(3_000)]


def stores(names: str) -> dict[str, BaseStore]:
    return {name: Store() for name in names}


def test_places_are_as_documented() -> None:
    """Other programs find them by the rule in formats.md, so they must never change."""
    store = ShardedStore(stores("abc"))
    places = [store.shard_of(name) for name in ["ada", "grace", "user/1", "é"]]
    assert places == ["c", "a", "c", "c"]


def test_namespaces_are_spread_evenly_whatever_the_order() -> None:
    places = Counter(map(ShardedStore(stores("abc")).shard_of, NAMES))
    assert all(900 < count < 1_100 for count in places.values()), places
    other = ShardedStore(stores("cab"))
    assert Counter(map(other.shard_of, NAMES)) == places


def test_another_store_takes_over_its_share_and_moves_nothing_else() -> None:
    before, after = ShardedStore(stores("abc")), ShardedStore(stores("abcd"))
    moved = [name for name in NAMES if before.shard_of(name) != after.shard_of(name)]
    assert all(after.shard_of(name) == "d" for name in moved)
    assert 650 < len(moved) < 850


def test_each_record_is_in_its_store() -> None:
    shards = stores("abc")
    store = ShardedStore(shards)
    for name in NAMES[:60]:
        store.set(name, "k", name)
    for shard, below in shards.items():
        assert below.namespaces() == sorted(n for n in NAMES[:60] if store.shard_of(n) == shard)
    assert store.namespaces() == sorted(NAMES[:60])
    assert store.namespaces("langgraph:1", after="langgraph:10", limit=3) == [
        "langgraph:11",
        "langgraph:12",
        "langgraph:13",
    ]
    answers = store.read([Query(name, keys=["k"]) for name in NAMES[:60]])
    assert [store._codec.loads(answer.values[0] or b"") for answer in answers] == NAMES[:60]


def test_copies_cross_stores_with_their_expiry() -> None:
    store = ShardedStore(stores("abc"))
    places = {store.shard_of(name): name for name in NAMES}
    source, target = places["a"], places["b"]
    store.set(source, "k", 1, ttl=60)
    store.set(target, "old", 1)
    store.copy(source, target)
    assert store.items(target) == [("k", 1)]
    [result] = store.read([Query(target, ask_ttl=True)])
    assert result.ttl is not None
    assert 50 < result.ttl <= 60


class Failing(StoreLayer):
    def writing(self, batches: Sequence[Batch]) -> Operation[None]:
        if batches:
            raise StoreUnavailableError("this store is down")
        yield from super().writing(batches)

    def close(self) -> None:
        self.store.close()
        raise StoreUnavailableError("this store is down")

    async def aclose(self) -> None:
        self.close()


def test_nothing_overtakes_what_fails() -> None:
    shards: dict[str, BaseStore] = {"a": Store(), "b": Failing(Store()), "c": Store()}
    store = ShardedStore(shards)
    places = {store.shard_of(name): name for name in NAMES}
    batches = [Batch(places[shard], put={"k": b"1"}) for shard in "abc"]
    with pytest.raises(StoreUnavailableError):
        store.write(batches)
    with pytest.raises(StoreUnavailableError):
        asyncio.run(store.awrite(batches))
    assert store.namespaces() == [places["a"]]


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_all_stores_are_closed_though_one_fails_to(mode: str) -> None:
    below = stores("abc")
    store = ShardedStore({**below, "b": Failing(below["b"])})
    with pytest.raises(StoreUnavailableError):
        store.close() if mode == "sync" else asyncio.run(store.aclose())
    for each in below.values():
        with pytest.raises(StoreClosedError):
            each.namespaces()


def test_there_must_be_a_store() -> None:
    with pytest.raises(ValueError, match="at least one"):
        ShardedStore({})

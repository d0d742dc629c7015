"""Long-term memory compared with both of LangGraph's stores: agreements and differences."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import swarmstate
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from langgraph.store.base import (
    GetOp,
    IndexConfig,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    SearchOp,
)
from langgraph.store.memory import InMemoryStore
from langgraph.store.postgres.base import PostgresIndexConfig
from langgraph.store.swarmstate import SwarmStateStore
from langgraph.store.swarmstate.testing._base import embed
from langgraph.store.swarmstate.testing.reference import Reference, plain
from langgraph.store.swarmstate.testing.strategies import semantic_batches
from psycopg import DatabaseError

from tests.langgraph.helpers.postgres_reference import PostgresReference
from tests.servers.postgres import PostgresServer
from tests.servers.stores import Stores

FIELDS = ["title", "body[*]"]
INDEX = IndexConfig(dims=16, embed=embed, fields=FIELDS)
EXACT = PostgresIndexConfig(
    dims=16, embed=embed, fields=FIELDS, ann_index_config={"kind": "flat"}, distance_type="cosine"
)

labels = st.sampled_from(["acme", "acme-corp", "a/b%", "john_doe", "é🎉", "*", "a\\"])
namespaces = st.lists(labels, min_size=1, max_size=3).map(tuple)
prefixes = st.lists(labels, max_size=3).map(tuple)
keys = st.sampled_from(["k", "k/1", "%2F", "", "ключ"])
numbers = st.sampled_from([0, 1, 2.5, -3, "4", 10**6, 10**18])
# Excludes what LangGraph's two stores treat differently: booleans beside 0 and 1, and null.
words = st.sampled_from(["", "a", "B", "é", "red", "1", "\x1f\n"])
trees = st.recursive(
    words | st.sampled_from([2, -2.5]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=2),
    max_leaves=5,
)
lists = st.lists(words | st.sampled_from([2, -2.5]), max_size=3)
values = st.fixed_dictionaries({"n": numbers, "word": words}, optional={"t": trees, "l": lists})
equal = st.fixed_dictionaries(
    {},
    optional={
        "n": numbers | st.dictionaries(st.sampled_from(["$eq", "$ne"]), numbers, min_size=1),
        "word": words | st.dictionaries(st.sampled_from(["$eq", "$ne"]), words, min_size=1),
        "t": st.dictionaries(st.just("$eq"), trees, min_size=1),
        "l": lists,
        "no": words,
    },
)
# `InMemoryStore` compares only numbers.
ordered = st.fixed_dictionaries(
    {},
    optional={
        "word": st.dictionaries(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), words, min_size=1)
    },
)
conditions = st.builds(MatchCondition, st.sampled_from(["prefix", "suffix"]), prefixes.filter(bool))
limits, offsets = st.integers(0, 12), st.integers(0, 3)
listings = st.builds(
    ListNamespacesOp,
    st.lists(conditions, max_size=2).map(tuple),
    st.none() | st.integers(1, 3),
    limits,
    offsets,
)


def searches(filters: st.SearchStrategy[Any]) -> st.SearchStrategy[SearchOp]:
    return st.builds(
        SearchOp, prefixes, st.none() | filters, limits, offsets, st.none(), st.booleans()
    )


def batches(
    *reads: st.SearchStrategy[Any], ttl: st.SearchStrategy[Any]
) -> st.SearchStrategy[list[Op]]:
    puts = st.builds(PutOp, namespaces, keys, st.none() | values, st.none(), ttl)
    gets = st.builds(GetOp, namespaces, keys, st.booleans())
    return st.lists(st.one_of(puts, puts, gets, listings, *reads), min_size=1, max_size=4)


class Ours:
    """A `SwarmStateStore` whose clock counts batches, or is set."""

    def __init__(self, store: swarmstate.BaseStore, index: IndexConfig | None = None) -> None:
        self.now = 0.0
        self.store = SwarmStateStore(store, index=index, clock=lambda: self.now)
        self.clear()

    def clear(self) -> None:
        self.now = 0.0
        self.store.store.clear()
        # The time at which each batch put its items.
        self.batches: dict[float, int] = {}

    def batch(self, ops: list[Op]) -> list[Any]:
        self.batches.setdefault(self.now, len(self.batches) + 1)
        return [self._plain(result) for result in self.store.batch(ops)]

    def _plain(self, result: Any) -> Any:
        if isinstance(result, list):
            return [self._plain(each) for each in result]
        if result is None or isinstance(result, tuple):
            return result
        *rest, times = plain(result)
        return (*rest, tuple(self.batches[time] for time in times))


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> Iterator[PostgresReference]:
    reference = PostgresReference(postgres_server.new_database())
    yield reference
    reference.close()


def settings_for(kind: str) -> settings:
    # All examples share the stores, which are cleared before each.
    return settings(
        max_examples=60 if kind == "memory" else 12,
        # Each example takes a while, and shrinking a failure would need many.
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )


def test_batches_do_what_both_of_langgraphs_stores_do(
    stores: Stores, postgres: PostgresReference
) -> None:
    ours = Ours(stores.open())

    @settings_for(stores.kind)
    @given(st.lists(batches(searches(equal), ttl=st.none()), min_size=1, max_size=10))
    def compare(sequence: list[list[Op]]) -> None:
        ours.clear()
        postgres.clear()
        in_memory = Reference()
        for ops in sequence:
            ours.now += 1
            found = ours.batch(ops)
            assert found == in_memory.batch(ops)
            assert found == postgres.batch(ops)

    compare()


steps = st.tuples(
    st.sampled_from([0.5, 1, 2.5, 10]),
    st.booleans(),
    batches(searches(equal), searches(ordered), ttl=st.none() | st.sampled_from([1, 2, 5, 60])),
)


def test_items_expire_and_are_renewed_as_in_postgres_store(
    stores: Stores, postgres: PostgresReference
) -> None:
    ours = Ours(stores.open())

    @settings_for(stores.kind)
    @given(st.lists(steps, min_size=1, max_size=10))
    def compare(sequence: list[tuple[float, bool, list[Op]]]) -> None:
        ours.clear()
        postgres.clear()
        for minutes, sweeps, ops in sequence:
            ours.now += minutes * 60
            postgres.set_time(ours.now)
            if sweeps:
                assert ours.store.sweep_ttl() == postgres.sweep(ours.now)
            assert ours.batch(ops) == postgres.batch(ops)

    compare()


def test_searches_by_meaning_do_what_both_of_langgraphs_stores_do(
    stores: Stores, postgres_server: PostgresServer
) -> None:
    postgres = PostgresReference(postgres_server.new_database(), EXACT)
    ours = Ours(stores.open(), INDEX)

    @settings_for(stores.kind)
    @given(semantic_batches())
    def compare(sequence: list[list[Op]]) -> None:
        ours.clear()
        postgres.clear()
        in_memory = Reference(index=INDEX)
        for ops in map(without_orders, sequence):
            ours.now += 1
            searches = [op for op in ops if isinstance(op, SearchOp) and op.query]
            # `PostgresStore` does not find items without embeddings; ours and the in-memory one
            # list them last.
            whole = [op._replace(limit=1000, offset=0) for op in searches]
            found = ours.batch([*ops, *whole])
            assert found[: len(ops)] == in_memory.batch(ops)
            embedded = [[i for i in items if i[3] is not None] for items in found[len(ops) :]]
            expected = postgres.batch([*ops, *whole])
            assert embedded == expected[len(ops) :]

    try:
        compare()
    finally:
        postgres.close()


def without_orders(ops: list[Op]) -> list[Op]:
    """Return the operations with only filters that LangGraph's stores agree on."""
    orders = {"$gt", "$gte", "$lt", "$lte"}
    return [
        op._replace(filter=None)
        if isinstance(op, SearchOp)
        and op.filter
        and isinstance(op.filter["n"], dict)
        and orders & op.filter["n"].keys()
        else op
        for op in ops
    ]


VALUE = {
    "one": 1,
    "yes": True,
    "nothing": None,
    "ten": "10",
    "word": "m",
    "part": {"x": 1, "y": 2},
    "list": [1, {"x": 2, "y": 3}],
}


def keys_that_pass(**wanted: Any) -> Callable[[Any], Any]:
    return lambda store: sorted(item.key for item in store.search((), filter=wanted))


def value_after(value: dict[str, Any]) -> Callable[[Any], Any]:
    def put(store: Any) -> Any:
        store.put(("other",), "k", value)
        return store.get(("other",), "k").value

    return put


def is_younger_when_put_again(store: Any) -> bool:
    before = store.get(("a", "b"), "k").created_at
    store.put(("a", "b"), "k", {})
    return bool(store.get(("a", "b"), "k").created_at > before)


def listed_after_reading(store: Any) -> Any:
    store.get(("ghost",), "k")
    store.delete(("a-b",), "l")
    return store.list_namespaces()


def renewed_for(store: Any) -> float:
    """Return how many seconds an item with a TTL of half a minute lives after it is read."""
    store.put(("a",), "short", {}, ttl=0.5)
    store.get(("a",), "short")
    if isinstance(store, SwarmStateStore):
        [name] = store.store.keys("langgraph-store:a", "expiry/")
        return round(int(name[-15:]) / 1000)
    [row] = store.conn.execute("SELECT expires_at FROM store WHERE key = 'short'")
    seconds: float = row["expires_at"].timestamp()
    return seconds


def middle(store: Any) -> Any:
    return store.batch([ListNamespacesOp((MatchCondition("middle", ("a",)),))])  # type: ignore[arg-type]  # invalid on purpose


BOTH, FIRST, NONE = ["k", "l"], ["k"], list[str]()
BY_LABELS, BY_TEXT = [("a", "b"), ("a-b",)], [("a-b",), ("a", "b")]

# The call, and the answers of InMemoryStore, PostgresStore and SwarmStateStore.
DIFFERENCES: dict[str, tuple[Callable[[Any], Any], Any, Any, Any]] = {
    "newest first": (lambda s: [i.key for i in s.search(())], BOTH, ["l", "k"], ["l", "k"]),
    "put again": (is_younger_when_put_again, True, False, False),
    "empty namespaces": (
        listed_after_reading,
        [("a", "b"), ("a-b",), ("ghost",)],
        [("a", "b")],
        [("a", "b")],
    ),
    "order of namespaces": (lambda s: s.list_namespaces(), BY_LABELS, BY_TEXT, BY_LABELS),
    "no depth": (lambda s: s.list_namespaces(max_depth=0), [()], AttributeError, [()]),
    "unknown condition": (middle, ValueError, [BY_TEXT], ValueError),
    "negative limit": (
        lambda s: [i.key for i in s.search((), limit=-1)],
        FIRST,
        DatabaseError,
        ValueError,
    ),
    "numbers in order": (keys_that_pass(ten={"$gt": 9}), TypeError, NONE, FIRST),
    "texts in order": (keys_that_pass(word={"$gt": "a"}), ValueError, FIRST, FIRST),
    "text and number": (keys_that_pass(word={"$gt": 1}), ValueError, FIRST, NONE),
    "truth and number": (keys_that_pass(yes=1), FIRST, NONE, FIRST),
    "null and missing": (keys_that_pass(nothing=None), BOTH, FIRST, BOTH),
    "unequal and missing": (keys_that_pass(one={"$ne": 2}), BOTH, FIRST, BOTH),
    "part of a dict": (keys_that_pass(part={"x": 1}), FIRST, ValueError, FIRST),
    "operators within": (keys_that_pass(part={"y": {"$gt": 1}}), FIRST, ValueError, FIRST),
    "empty condition": (keys_that_pass(one={}), NONE, BOTH, NONE),
    "parts in a list": (keys_that_pass(list=[1, {"x": 2}]), FIRST, NONE, FIRST),
    "beyond JSON": (value_after({"s": {1, 2}}), {"s": {1, 2}}, TypeError, {"s": {1, 2}}),
    "keys of numbers": (value_after({"m": {1: 2}}), {"m": {1: 2}}, {"m": {"1": 2}}, {"m": {1: 2}}),
    "NUL": (value_after({"s": "\x00"}), {"s": "\x00"}, DatabaseError, {"s": "\x00"}),
    "expiry": (lambda s: s.put(("a",), "k", {}, ttl=1), NotImplementedError, None, None),
    "renewed for 0.5 minutes": (renewed_for, NotImplementedError, 0.0, 30.0),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_where_langgraphs_stores_differ(name: str, postgres: PostgresReference) -> None:
    ask, *expected = DIFFERENCES[name]
    for store, answer in zip(
        (InMemoryStore(), postgres.store, SwarmStateStore(clock=itertools.count(0, 1e-6).__next__)),
        expected,
        strict=True,
    ):
        store.put(("a", "b"), "k", VALUE)
        store.put(("a-b",), "l", {})
        if isinstance(answer, type):
            with pytest.raises(answer):
                ask(store)
        else:
            assert ask(store) == answer, type(store)


@pytest.mark.parametrize("text", ["tea", "unheard of"])
def test_where_they_differ_in_what_is_embedded(text: str, postgres_server: PostgresServer) -> None:
    postgres = PostgresReference(postgres_server.new_database(), EXACT)
    in_memory, ours = InMemoryStore(index=INDEX), SwarmStateStore(index=INDEX)
    for store in (in_memory, postgres.store, ours):
        store.put(("a",), "replaced", {"title": text})
        store.put(("a",), "never", {"title": text}, index=False)
        store.put(("a",), "replaced", {"title": "something else"}, index=False)
    found = [
        [(item.key, item.score is None) for item in store.search(("a",), query=text)]
        for store in (in_memory, postgres.store, ours)
    ]
    assert found == [
        # Found by its previous meaning.
        [("replaced", False), ("never", True)],
        [("replaced", False)],
        [("replaced", True), ("never", True)],
    ]
    with pytest.raises(ValueError, match="Number of embeddings"):
        in_memory.put(("a",), "twice", {"title": "tea", "body": ["tea"]})
    for other in (postgres.store, ours):
        other.put(("a",), "twice", {"title": "tea", "body": ["tea"]})
        assert other.get(("a",), "twice") is not None
    postgres.close()


def test_a_sweeper_without_configuration(postgres: PostgresReference) -> None:
    postgres.store.ttl_config = None
    assert postgres.store.start_ttl_sweeper().done()
    ours = SwarmStateStore()
    ended = ours.start_ttl_sweeper()
    assert not ended.done()
    assert ours.stop_ttl_sweeper()
    assert ended.done()

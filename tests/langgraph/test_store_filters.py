"""Filters of semantic searches: exact, and applied before items are ranked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import swarmstate
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.swarmstate import SwarmStateSerializer
from langgraph.store.base import IndexConfig
from langgraph.store.swarmstate import SwarmStateStore
from langgraph.store.swarmstate.filters import matches
from swarmstate.base import Query, Range, Result
from swarmstate.vectors import Collection, Record, known_filter, known_part

ITEMS = 400


def embed(texts: Sequence[str]) -> list[list[float]]:
    return [[1.0, float(text.split()[-1])] for text in texts]


INDEX = IndexConfig(dims=2, embed=embed, fields=["text"])

# Texts that only Python parses as numbers, texts that neither does, and invalid UTF-8.
texts = st.sampled_from(
    ["", "a", "b", "10", " 10 ", "1_0", "\x1c10", "\u0661\u0660", "é", "nan", "\ud800"]
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 12)
    | st.sampled_from([2**53, 2**53 + 1, -(2**63), 2**70, 10.0, 0.5, float("inf")])
    | texts
    | st.sampled_from(["x" * 300, b"10", (1, 2)])
)
trees = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=2).map(tuple)
        | st.dictionaries(st.sampled_from(["a", "b", "\ud800"]) | st.integers(0, 1), inner)
    ),
    max_leaves=6,
)
operators = st.dictionaries(
    st.sampled_from(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]), trees, min_size=1, max_size=2
)
conditions = st.recursive(
    trees | operators,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), inner),
    max_leaves=4,
)
values = st.fixed_dictionaries({"f": trees}, optional={"$g": trees, "h": scalars})
filters = st.dictionaries(st.sampled_from(["f", "h", "$g", "no"]), conditions, max_size=2)


def selected(value: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Return whether the index lets a value through."""
    collection = Collection(swarmstate.Store(), "c")
    collection.upsert([Record("id", {"value": known_part(value)})])
    passing = known_filter(wanted)
    return collection.count(filter={"value": passing} if passing else None) == 1


@settings(max_examples=500)
@given(value=values, wanted=filters)
def test_the_index_lets_through_whatever_a_filter_does(
    value: dict[str, Any], wanted: dict[str, Any]
) -> None:
    assert selected(value, wanted) or not matches(value, wanted)


@settings(max_examples=500)
@given(values=st.lists(values, max_size=3), wanted=filters)
def test_a_search_finds_what_a_filter_lets_through(
    values: list[dict[str, Any]], wanted: dict[str, Any]
) -> None:
    memory = SwarmStateStore()
    for number, value in enumerate(values):
        memory.put(("a",), str(number), value)
    stored = {item.key: item.value for item in memory.search(("a",))}
    found = {item.key: item.value for item in memory.search(("a",), filter=wanted)}
    assert found == {key: value for key, value in stored.items() if matches(value, wanted)}


plain = st.integers(-3, 5) | st.sampled_from(["a", "b", "10", None])


@settings(max_examples=300)
@given(
    value=st.fixed_dictionaries({"f": plain}),
    wanted=st.sampled_from(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]).flatmap(
        lambda operator: st.fixed_dictionaries(
            {"f": plain | st.fixed_dictionaries({operator: plain})}
        )
    ),
)
def test_of_plain_values_the_index_lets_through_nothing_else(
    value: dict[str, Any], wanted: dict[str, Any]
) -> None:
    assert selected(value, wanted) == matches(value, wanted)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"n": 1, "k": "a"}, ["a1"]),
        ({"n": {"$gte": 1, "$lt": 2}}, ["a1", "b1"]),
        ({"n": {"$ne": 1}, "k": {"$ne": "a"}}, ["b2"]),
        ({"in": {"n": 1, "k": "a"}}, ["a1"]),
        ({"in": {"n": {"$eq": 1}, "k": "a"}}, ["a1"]),
        ({"in": {"no": None, "n": 2}}, ["a2", "b2"]),
        ({"both": ["a", 2]}, ["a2"]),
        ({"both": ["a", {"$lte": 1}]}, ["a1"]),
        ({"k": {"n": None}}, []),
        ({"n": [1]}, []),
    ],
)
def test_a_filter_asks_for_all_that_it_names(wanted: dict[str, Any], found: list[str]) -> None:
    store = SwarmStateStore()
    for k in "ab":
        for n in (1, 2):
            value = {"k": k, "n": n, "in": {"k": k, "n": n}, "both": [k, n]}
            store.put(("a",), f"{k}{n}", value)
    assert sorted(item.key for item in store.search(("a",), filter=wanted)) == found


@pytest.mark.parametrize("wanted", [{"n": {"in": {"$in": [1]}}}, {"n": [1, {"$in": [1]}]}])
def test_an_unknown_operator_is_refused_wherever_it_stands(wanted: dict[str, Any]) -> None:
    with pytest.raises(
        ValueError, match=r"Unsupported operator: \$in; expected one of \$eq, .*\$lte"
    ):
        SwarmStateStore().search(("a",), filter=wanted)


class CountingQueries(swarmstate.Store):
    """Counts the items that are examined individually."""

    def __init__(self) -> None:
        super().__init__()
        self.looked_at = 0

    def read(self, queries: Sequence[Query]) -> list[Result]:
        self.looked_at += sum(len(query.keys) == 2 for query in queries)
        return super().read(queries)


@pytest.mark.parametrize(
    "wanted",
    [
        {"n": {"$gte": ITEMS - 3}},
        {"n": {"$gt": ITEMS - 4, "$ne": "x"}},
        {"deep": {"er": {"$lt": 4}}},
        {"kind": "last"},
        {"tags": ["last"]},
    ],
)
def test_a_filter_is_applied_before_items_are_ranked(wanted: dict[str, Any]) -> None:
    records = CountingQueries()
    store = SwarmStateStore(records, index=INDEX)
    for n in range(ITEMS):
        last = "last" if n >= ITEMS - 3 else "other"
        value = {"text": f"{n}", "n": n, "deep": {"er": ITEMS - n}, "kind": last, "tags": [last]}
        store.put(("memories",), f"{n}", value)
    # The items that pass are the farthest from the query.
    for prefix in ((), ("memories",)):
        records.looked_at = 0
        found = store.search(prefix, query="0", filter=wanted)
        assert [item.value["n"] for item in found[:3]] == [ITEMS - 3, ITEMS - 2, ITEMS - 1]
        assert len(found) == 3
        assert records.looked_at == 3


class Xor:
    """A cipher that is good enough for a test."""

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        return "xor", bytes(byte ^ 0x55 for byte in plaintext)

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        return bytes(byte ^ 0x55 for byte in ciphertext)


def test_values_that_are_encrypted_stay_so_and_are_filtered() -> None:
    records = swarmstate.Store()
    store = SwarmStateStore(records, index=INDEX, serde=EncryptedSerializer(Xor()))
    for n in range(50):
        store.put(("memories",), f"{n}", {"text": f"{n}", "secret": "rosebud" * (n % 2)})
    found = store.search(("memories",), query="0", filter={"secret": "rosebud"}, limit=5)
    assert [item.key for item in found] == ["1", "3", "5", "7", "9"]
    namespaces = records.namespaces()
    for result in records.read([Query(name, ranges=[Range()]) for name in namespaces]):
        assert not any(b"rosebud" in value for _, value in result.ranges[0])


class Shouting(SwarmStateSerializer):
    """Reads texts in upper case."""

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        return {name: text.upper() for name, text in super().loads_typed(data).items()}


def test_a_filter_asks_what_the_serializer_reads() -> None:
    store = SwarmStateStore(serde=Shouting())
    store.put(("a",), "k", {"text": "tea"})
    assert [item.value for item in store.search(("a",), filter={"text": "TEA"})] == [
        {"text": "TEA"}
    ]
    assert store.search(("a",), filter={"text": "tea"}) == []

"""A collection: what is stored, selected, refused and forgotten, on every store."""

from __future__ import annotations

import asyncio
import random
from array import array
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from swarmstate import BaseStore, DiskStore, Store
from swarmstate.errors import (
    DimensionError,
    EmbeddingError,
    EncodeError,
    InvalidFilterError,
    InvalidNameError,
    StoreFormatError,
)
from swarmstate.layers import StoreLayer
from swarmstate.vectors import Collection, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from swarmstate import Batch
    from swarmstate.operations import Operation


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BaseStore]:
    if request.param == "memory":
        opened: BaseStore = Store()
    else:
        opened = DiskStore(tmp_path / "store.db", durability="normal")
    with opened as store:
        yield store


def ids(records: list[Record]) -> list[str]:
    return [record.id for record in records]


def test_a_record_comes_back_as_it_was_stored(store: BaseStore) -> None:
    collection = Collection(store, "memories")
    value = {"text": "hello", "nested": {"list": [1, 2.5, None, b"x"]}}
    scope = ("crew", "a/b", "", "nul\0", "ü")
    collection.upsert([Record("id/1", value, [[1, 2.5, -3]], scope, ["z", "a", "z"])])
    expected = Record("id/1", value, (array("f", [1, 2.5, -3]),), scope, ("a", "z"))
    assert collection.get(["id/1", "other"]) == [expected, None]
    assert collection.select(embeddings=True) == [expected]
    [match] = collection.search([1, 0, 0], embeddings=True)
    assert match.record == expected
    [match] = collection.search([1, 0, 0])
    assert match.record == expected._replace(embeddings=())


@pytest.mark.parametrize(
    "embedding",
    [
        [1.5, -2.0],
        (1.5, -2.0),
        array("f", [1.5, -2.0]),
        array("d", [1.5, -2.0]),
        np.array([1.5, -2.0]),
        np.array([1.5, -2.0], dtype=np.float32),
        np.array([1.5, -2.0], dtype=np.float16),
        np.array([1.5, 9, -2.0, 9], dtype=np.float32)[::2],
        np.array([1.5, -2.0], dtype="<f4").tobytes(),
        memoryview(np.array([1.5, -2.0], dtype="<f4").tobytes()),
        [np.float32(1.5), -2],
    ],
    ids=lambda each: f"{type(each).__name__}-{getattr(each, 'dtype', '')}",
)
def test_embeddings_may_be_given_in_any_usual_form(embedding: Any) -> None:
    collection = Collection(Store(), "memories", metric="l2")
    collection.upsert([Record("a", {}, [embedding])])
    [record] = collection.get(["a"])
    assert record is not None
    assert record.embeddings == (array("f", [1.5, -2.0]),)
    assert collection.search(embedding)[0].score == 0


@pytest.mark.parametrize(
    ("embedding", "message"),
    [
        ([], "has 0 dimensions"),
        ([1.0] * 65_537, "has 65537 dimensions"),
        ([1.0, float("nan")], "NaN at position 1"),
        ([float("inf")], "inf at position 0"),
        ([1e39], "inf at position 0 as float32"),
        (["1"], "contains str instead of a number"),
        ("text", "is of type str"),
        (7, "is of type int"),
        (b"12345", "5 bytes"),
        (np.zeros((2, 2)), "more than one axis"),
    ],
)
def test_what_is_no_embedding_is_refused_and_nothing_is_stored(
    embedding: Any, message: str
) -> None:
    store = Store()
    collection = Collection(store, "memories")
    with pytest.raises(EmbeddingError, match=f'embedding 0 of record "b" .*{message}'):
        collection.upsert([Record("a", {}, [[1.0]]), Record("b", {}, [embedding])])
    assert len(store) == 0
    with pytest.raises(EmbeddingError, match=f"to search for .*{message}"):
        collection.search(embedding)


def test_other_bad_input_is_refused_and_nothing_is_stored(store: BaseStore) -> None:
    collection = Collection(store, "memories")
    bad: list[tuple[Any, type[Exception]]] = [
        (("a", {}), TypeError),
        (Record("", {}), InvalidNameError),
        (Record("a\0", {}), InvalidNameError),
        (Record("a", "text"), TypeError),  # type: ignore[arg-type]  # invalid on purpose
        (Record("a", {"x": object()}), EncodeError),
        (Record("a", {}, scope="crew"), TypeError),
        (Record("a", {}, scope=["\ud800"]), ValueError),
        (Record("a", {}, categories=[1]), TypeError),  # type: ignore[list-item]  # invalid on purpose
    ]
    for record, error in bad:
        with pytest.raises(error):
            collection.upsert([Record("good", {}), record])
    for metric in ("euclid", "\ud800"):
        with pytest.raises(ValueError, match="metric must be"):
            Collection(store, "memories", metric=metric)  # type: ignore[arg-type]  # invalid on purpose
    assert store.namespaces() == []


@pytest.mark.parametrize(
    ("wrong", "error"), [("3", TypeError), (1.5, TypeError), (-1, ValueError)], ids=str
)
def test_counts_that_make_no_sense_are_named(
    store: BaseStore, wrong: Any, error: type[Exception]
) -> None:
    collection = Collection(store, "memories")
    calls: list[tuple[str, Callable[[], object]]] = [
        ("limit", lambda: collection.search([1.0], limit=wrong)),
        ("limit", lambda: collection.select(limit=wrong)),
        ("offset", lambda: collection.search([1.0], offset=wrong)),
        ("offset", lambda: collection.select(offset=wrong)),
        ("approximate_above", lambda: Collection(store, "memories", approximate_above=wrong)),
    ]
    for name, call in calls:
        with pytest.raises(error, match=f"expected {name} to be .* found {wrong!r}"):
            call()


def test_another_dimension_is_refused_until_the_collection_is_cleared(store: BaseStore) -> None:
    collection = Collection(store, "memories")
    collection.upsert([Record("a", {}, [[1.0, 2.0]])])
    for each in (collection, Collection(store, "memories")):
        for attempt in (
            partial(each.upsert, [Record("b", {}, [[1.0]])]),
            partial(each.search, [1.0]),
        ):
            with pytest.raises(DimensionError, match=r"of 2 dimensions.*this one has 1") as caught:
                attempt()
            assert (caught.value.stored, caught.value.given) == (2, 1)
    with pytest.raises(DimensionError):
        collection.upsert([Record("b", {}, [[1.0, 2.0], [1.0]])])
    collection.delete(["a"])
    with pytest.raises(DimensionError):
        collection.upsert([Record("b", {}, [[1.0]])])
    collection.clear()
    collection.upsert([Record("b", {}, [[1.0]])])
    assert [match.record.id for match in collection.search([1.0])] == ["b"]


def test_another_dimension_is_taken_after_somebody_else_has_cleared(store: BaseStore) -> None:
    collection = Collection(store, "memories")
    collection.upsert([Record("a", {}, [[1.0, 2.0]])])
    assert len(collection.search([1.0, 2.0])) == 1
    Collection(store, "memories").clear()
    for name in ("b", "c"):
        collection.upsert([Record(name, {}, [[1.0]])])
    assert [match.record.id for match in collection.search([1.0])] == ["b", "c"]


def test_records_may_be_checked_before_anything_is_stored(store: BaseStore) -> None:
    collection = Collection(store, "memories")
    good, bad = Record("a", {}, [[1.0, 2.0]]), Record("b", {}, [[float("nan")]])
    collection.check([good])
    with pytest.raises(EmbeddingError):
        collection.check([good, bad])
    assert store.namespaces() == []
    collection.upsert([good])
    other = Record("b", {}, [[1.0]])
    for each in (collection, Collection(store, "memories")):
        with pytest.raises(DimensionError, match=r"of 2 dimensions.*this one has 1"):
            asyncio.run(each.acheck([other]))
    Collection(store, "memories").clear()
    collection.check([other])


def test_selections(store: BaseStore) -> None:
    collection = Collection(store, "memories")
    collection.upsert(
        [
            Record("1", {"kind": "fact", "age": 3}, [[1.0]], ("crew", "a"), ["x"]),
            Record("2", {"kind": "fact", "age": 10}, [[1.0]], ("crew", "ab"), ["y"]),
            Record("3", {"kind": "rule", "deep": {"k": [1, 2]}}, [[1.0]], ("crew",), ["x", "y"]),
            Record("4", {"age": "7"}, [[1.0]], ("crew", "a", "b")),
        ]
    )
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({}, ["1", "2", "3", "4"]),
        ({"scope": ("crew", "a")}, ["1", "4"]),
        ({"scope": ("cre",)}, []),
        ({"categories": ["x"]}, ["1", "3"]),
        ({"categories": ["y", "x"]}, ["1", "2", "3"]),
        ({"categories": ["none"]}, []),
        ({"filter": {"kind": "fact"}}, ["1", "2"]),
        ({"filter": {"kind": {"$ne": "fact"}}}, ["3", "4"]),
        ({"filter": {"kind": None}}, ["4"]),
        ({"filter": {"age": {"$gt": 3}}}, ["2", "4"]),
        ({"filter": {"age": {"$gte": 3, "$lt": 10}}}, ["1", "4"]),
        ({"filter": {"age": {"$eq": 3.0}}}, ["1"]),
        ({"filter": {"deep": {"k": [1, {"$gt": 1}]}}}, ["3"]),
        ({"filter": {"deep": {"k": [1]}}}, []),
        ({"filter": {"kind": "fact"}, "scope": ("crew",), "categories": ["y"]}, ["2"]),
    ]
    for where, expected in cases:
        assert ids(collection.select(**where)) == expected, where
        found = collection.search([1.0], **where)
        assert [match.record.id for match in found] == expected, where
        assert collection.count(**where) == len(expected), where
    for bad in ({"age": {"$in": [1]}}, {"age": {"$gt": 1, "x": 2}}, {"age": {1: 2}}):
        with pytest.raises(InvalidFilterError):
            collection.count(filter=bad)
    for no_field in ({"$or": [{"kind": "fact"}, {"age": 7}]}, {"$gt": 3}):
        with pytest.raises(InvalidFilterError, match="expected a filter to name fields"):
            collection.search([1.0], filter=no_field)
    for no_filter in ("n", [("n", 1)], ["n"]):
        with pytest.raises(InvalidFilterError, match="a dict of conditions by field"):
            collection.count(filter=no_filter)  # type: ignore[arg-type]  # invalid on purpose
    assert collection.scopes(categories=["x"]) == {("crew",): 1, ("crew", "a"): 1}
    assert collection.categories() == {"x": 2, "y": 2}
    assert collection.delete_where(scope=("crew", "a")) == 2
    assert ids(collection.select()) == ["2", "3"]


def test_orders(store: BaseStore) -> None:
    collection = Collection(store, "memories")
    values: dict[str, Any] = {"a": 2, "b": "x", "c": 1.5, "d": None, "e": "w", "f": 2, "g": True}
    collection.upsert(Record(name, {"at": value}) for name, value in values.items())
    collection.upsert([Record("h", {})])
    ordered = ["g", "c", "a", "f", "e", "b", "d", "h"]
    assert ids(collection.select(order_by="at")) == ordered
    assert ids(collection.select(order_by="at", descending=True)) == ordered[::-1]
    assert ids(collection.select(order_by="at", offset=2, limit=3)) == ordered[2:5]


def test_a_namespace_of_something_else_is_left_alone(store: BaseStore) -> None:
    store.set("thread", "key", 1)
    with pytest.raises(StoreFormatError, match="holds records that are not a collection"):
        Collection(store, "thread").upsert([Record("a", {})])
    with pytest.raises(StoreFormatError, match="holds records that are not a collection"):
        Collection(store, "thread").clear()
    assert store.items("thread") == [("key", 1)]
    Collection(store, "nothing").clear()
    assert store.namespaces() == ["thread"]


@pytest.mark.parametrize("meta", [5, {}, [1], "v"])
def test_a_record_of_the_same_name_makes_no_collection(store: BaseStore, meta: Any) -> None:
    store.set("thread", "meta", meta)
    with pytest.raises(StoreFormatError, match="holds records that are not a collection"):
        Collection(store, "thread").upsert([Record("a", {})])
    with pytest.raises(StoreFormatError, match="holds records that are not a collection"):
        Collection(store, "thread").clear()
    assert store.items("thread") == [("meta", meta)]


def test_it_follows_what_others_do_with_the_namespace(store: BaseStore) -> None:
    mine, other = (Collection(store, "memories") for _ in range(2))

    def both() -> list[str]:
        seen = ids(mine.select())
        assert ids(other.select()) == seen
        return seen

    assert both() == []
    other.upsert([Record("a", {}, [[1.0]]), Record("b", {}, [[2.0]])])
    assert both() == ["a", "b"]
    mine.upsert([Record("c", {}), Record("a", {"new": 1}, [[3.0]])])
    assert both() == ["a", "b", "c"]
    assert other.search([1.0])[0].record.value == {"new": 1}
    other.delete(["a"])
    assert both() == ["b", "c"]
    earlier = store.snapshot()
    mine.upsert([Record("d", {})])
    assert both() == ["b", "c", "d"]
    store.restore(earlier)
    assert both() == ["b", "c"]
    store.copy("memories", "copied")
    assert ids(Collection(store, "copied").select()) == ["b", "c"]
    other.clear()
    assert both() == []
    mine.upsert([Record("e", {}, [[1.0, 2.0]])])
    assert both() == ["e"]
    other.upsert([Record("f", {}, [[1.0, 2.0]])])
    assert both() == ["e", "f"]


def test_what_was_put_into_an_empty_collection_is_gone_when_others_clear_it(
    store: BaseStore,
) -> None:
    mine, other = (Collection(store, "memories") for _ in range(2))
    nothing = store.snapshot()
    clears: list[Callable[[], object]] = [
        other.clear,
        store.clear,
        lambda: store.restore(nothing),
        lambda: store.copy("nothing", "memories"),
    ]
    for clear in clears:
        assert ids(mine.select()) == []
        mine.upsert([Record("a", {}, [[1.0]])])
        clear()
        assert mine.search([1.0]) == []
        assert mine.count() == 0


def test_what_was_put_behind_the_writes_of_others_is_gone_when_it_is_restored(
    store: BaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # All write to one lane of the log, as may happen by chance.
    monkeypatch.setattr(random, "choice", lambda lanes: lanes[0])
    mine, other = (Collection(store, "memories") for _ in range(2))
    mine.upsert([Record("a", {})])
    assert ids(mine.select()) == ["a"]
    before = store.snapshot()
    other.upsert([Record("b", {})])
    mine.upsert([Record("c", {})])
    store.restore(before)
    assert ids(mine.select()) == ["a"]


class Overtaken(StoreLayer):
    """A store on which another collection is made before the first write, and cleared after."""

    other: Collection | None = None

    def writing(self, batches: Sequence[Batch]) -> Operation[None]:
        other, self.other = self.other, None
        if other is None:
            yield from super().writing(batches)
            return
        other.upsert([Record("other", {})])
        try:
            yield from super().writing(batches)
        finally:
            other.clear()


def test_a_collection_that_others_make_and_clear_meanwhile_is_made_anew(store: BaseStore) -> None:
    overtaken = Overtaken(store)
    overtaken.other = Collection(store, "memories")
    Collection(overtaken, "memories").upsert([Record("a", {})])
    assert ids(Collection(store, "memories").select()) == ["a"]


def test_who_is_far_behind_catches_up(store: BaseStore) -> None:
    reader, writer = (Collection(store, "memories") for _ in range(2))
    writer.upsert([Record("first", {})])
    assert reader.count() == 1
    writer.upsert([Record("early", {})])
    for number in range(6000):
        writer.upsert([Record(f"{number % 100}", {"n": number})])
    assert reader.count() == 102
    assert len(store.keys("memories", "log/")) < 6000
    assert reader.count(filter={"n": {"$gte": 5900}}) == 100


def test_modify_changes_what_is_there_and_nothing_else(store: BaseStore) -> None:
    collection = Collection(store, "memories")
    collection.upsert([Record("a", {"n": 1}, [[1.0, 2.0]], ("s",), ("c",))])
    assert collection.modify(["x"], lambda record: record) == 0
    assert collection.modify(["a", "x", "a"], lambda old: old._replace(value={"n": 2})) == 1
    [found] = collection.search([1.0, 2.0], embeddings=True)
    assert found.record == Record("a", {"n": 2}, (array("f", [1.0, 2.0]),), ("s",), ("c",))
    with pytest.raises(ValueError, match="'a'"):
        collection.modify(["a"], lambda old: old._replace(id="b"))
    with pytest.raises(TypeError, match="`change` to return a Record, found NoneType for 'a'"):
        collection.modify(["a"], lambda old: None)  # type: ignore[arg-type,return-value]  # invalid on purpose
    with pytest.raises(DimensionError):
        collection.modify(["a"], lambda old: old._replace(embeddings=[[1.0]]))
    assert collection.get(["a", "b"]) == [found.record, None]


def test_one_id_is_not_taken_for_several(store: BaseStore) -> None:
    collection = Collection(store, "memories")
    before = [Record(name, {"n": 1}, (), (), ()) for name in ("a", "b", "ab")]
    collection.upsert(before)
    calls: list[Callable[[str], object]] = [
        collection.get,
        collection.delete,
        lambda ids: collection.modify(ids, lambda old: old._replace(value={"n": 2})),
    ]
    for call in calls:
        with pytest.raises(TypeError, match=r"did you mean \['ab'\]"):
            call("ab")
    assert collection.get(["a", "b", "ab"]) == before


def test_async_methods_do_the_same(store: BaseStore) -> None:
    asyncio.run(use_async_methods(store))


async def use_async_methods(store: BaseStore) -> None:
    collection = Collection(store, "memories")
    await collection.aupsert(
        Record(f"{i:05}", {"n": i}, [[float(i), 1.0]], ("s", str(i % 2))) for i in range(2000)
    )
    assert await collection.acount(filter={"n": {"$lt": 10}}) == 10
    found = await collection.asearch([1.0, 0.0], limit=2)
    assert found == collection.search([1.0, 0.0], limit=2)
    assert await collection.aget(["00007", "x"]) == collection.get(["00007", "x"])
    assert await collection.aselect(limit=3) == collection.select(limit=3)
    assert await collection.ascopes() == {("s", "0"): 1000, ("s", "1"): 1000}
    assert await collection.acategories() == {}
    assert await collection.amodify(["00007"], lambda old: old._replace(value={"n": -7})) == 1
    assert await collection.acount(filter={"n": -7}) == 1
    assert await collection.adelete(["00000", "x"]) == 1
    await collection.aoptimize()
    assert await collection.adelete_where(scope=["s", "1"]) == 1000
    assert await collection.acount() == 999
    await collection.aclear()
    assert await collection.acount() == 0

"""Collection records with invalid content raise swarmstate errors that name them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from swarmstate import Batch, Query, Range, Store, dumps, loads
from swarmstate.errors import DecodeError, StoreFormatError
from swarmstate.vectors import Collection, Record

from tests.langgraph.helpers.forging import forgeries

if TYPE_CHECKING:
    from collections.abc import Iterator

CALLS: list[Callable[[Collection], Any]] = [
    lambda collection: collection.get(["a"]),
    lambda collection: collection.get(["a", "b"]),
    lambda collection: collection.search([1.0, 0.0]),
    lambda collection: collection.search([1.0, 0.0], filter={"n": 1}),
    lambda collection: collection.select(),
    lambda collection: collection.count(filter={"n": 1}),
    lambda collection: collection.scopes(),
    lambda collection: collection.categories(),
    lambda collection: collection.stats(),
    lambda collection: collection.modify(["a"], lambda record: record),
    lambda collection: collection.delete(["a"]),
    lambda collection: collection.upsert([Record("a", {"n": 2}, [[1.0, 1.0]])]),
]


def fill(store: Store) -> Collection:
    collection = Collection(store, "notes")
    collection.upsert([Record(each, {"n": 1}, [[1.0, 2.0]], ("s",), ("c",)) for each in "ab"])
    return collection


def records(store: Store) -> dict[str, bytes]:
    [answer] = store.read([Query("notes", ranges=[Range()])])
    return dict(answer.ranges[0])


def problems(store: Store, read: Collection | None = None) -> Iterator[str]:
    for call in CALLS:
        try:
            call(Collection(store, "notes") if read is None else read)
        except (DecodeError, StoreFormatError) as error:
            yield str(error)


def test_a_forged_record_is_named() -> None:
    with Store() as store:
        fill(store)
        before = store.snapshot()
        messages: list[str] = []
        for forged in forgeries(loads(records(store)["item/a"])):
            store.restore(before)
            store.write([Batch("notes", put={"item/a": dumps(forged)})])
            messages += problems(store)
            [found] = Collection(store, "notes").get(["b"])
            assert found is not None
            assert found.value == {"n": 1}
        assert len(messages) > 50
        assert not [each for each in messages if "'a'" not in each and '"a"' not in each]


@pytest.mark.parametrize("known", [True, False])
def test_the_rest_of_a_collection_may_hold_anything(known: bool) -> None:
    with Store() as store:
        fill(store)
        before = store.snapshot()
        for key, record in records(store).items():
            if key.startswith("item/"):
                continue
            for forged in forgeries(loads(record)):
                store.restore(before)
                read = fill(store) if known else None
                if read is not None:
                    read.search([1.0, 0.0])
                store.write([Batch("notes", put={key: dumps(forged)})])
                assert not [each for each in problems(store, read) if "'notes'" not in each]


@pytest.mark.parametrize("wrong", ["log/0/", "log/0/zzz", "log/0/fffffffffffff", "dimensions/x"])
def test_keys_that_no_collection_has_are_damage(wrong: str) -> None:
    with Store() as store:
        fill(store)
        kind = wrong[:5]
        found = {key: value for key, value in records(store).items() if key.startswith(kind)}
        store.write([Batch("notes", delete=[key for key in found if key[:6] == wrong[:6]])])
        store.write([Batch("notes", put={wrong: dumps([])})])
        messages = [*problems(store)]
        assert messages
        assert not [each for each in messages if "'notes'" not in each]


def test_a_damaged_entry_of_the_log_is_done_without() -> None:
    with Store() as store:
        collection = fill(store)
        collection.search([1.0, 0.0])
        for wrong in (None, 7, [7], [None], {"a": 1}, "text"):
            before = {*records(store)}
            Collection(store, "notes").upsert([Record("c", {"wrong": wrong}, [[1.0, 2.0]])])
            [entry] = {*records(store)} - before - {"item/c"}
            store.write([Batch("notes", put={entry: dumps(wrong)})])
            found = [match.record.value for match in collection.search([1.0, 0.0])]
            if not isinstance(wrong, dict | str):
                assert {"wrong": wrong} in found

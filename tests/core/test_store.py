"""The memory store: the contract, and what only it promises."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest
from swarmstate import Store
from swarmstate.base import Batch, Query, Range
from swarmstate.testing import StoreContract
from swarmstate.vectors import Collection


class TestStore(StoreContract):
    manual_clock = True

    def make_store(self, path: Path) -> Store:
        return Store(clock=self.clock)


def test_the_system_clock_is_the_default() -> None:
    store = Store()
    store.write([Batch("n", put={"a": b"1"}, ttl=3600)])
    assert store.namespaces() == ["n"]
    assert store.snapshot().timestamp > 1_700_000_000


@pytest.mark.parametrize("clock", [1.5, "now", object()])
def test_a_clock_must_be_callable(clock: object) -> None:
    with pytest.raises(TypeError, match="clock"):
        Store(clock=clock)  # type: ignore[arg-type]


def test_what_the_clock_raises_comes_through_and_nothing_is_written() -> None:
    def broken() -> float:
        raise RuntimeError("no time")

    store = Store(clock=broken)
    with pytest.raises(RuntimeError, match="no time"):
        store.write([Batch("n", put={"a": b"1"})])


def test_a_clock_may_call_stores() -> None:
    other = Store()
    other.set("clock", "seconds", 100.0)
    store = Store(clock=lambda: other.get("clock", "seconds"))
    store.write([Batch("n", put={"a": b"1"}, ttl=5)])
    assert store.namespaces() == ["n"]
    other.set("clock", "seconds", 105.0)
    assert store.namespaces() == []


def test_a_clock_that_refers_to_its_store_is_collected_with_it() -> None:
    def make() -> weakref.ref[Store]:
        store = Store(clock=lambda: float(bool(store)))
        assert store.namespaces() == []
        return weakref.ref(store)

    gone = make()
    gc.collect()
    assert gone() is None


def test_restore_is_atomic_over_all_namespaces() -> None:
    store = Store()
    names = [f"n{index}" for index in range(50)]
    store.write([Batch(name, put={"a": b"1"}) for name in names])
    first = store.snapshot()
    store.clear()
    empty = store.snapshot()
    for _ in range(20):
        store.restore(first)
        assert store.namespaces() == sorted(names)
        store.restore(empty)
        assert store.namespaces() == []


def test_a_subclass_is_a_store() -> None:
    class Counting(Store):
        reads = 0

        def read(self, queries: object) -> list[object]:  # type: ignore[override]
            self.reads += 1
            return super().read(queries)  # type: ignore[arg-type, return-value]

    store = Counting()
    store.set("n", "a", 1)
    assert store.keys("n") == ["a"]
    assert store.reads == 1


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("n", "Query"),
        (("n",), "Query"),
        (Query("n", keys="abc"), "keys must be a sequence"),
        (Query("n", keys=5), "keys must be a sequence"),  # type: ignore[arg-type]
        (Query("n", ranges=["a"]), "Range"),  # type: ignore[list-item]
        (Query("n", ranges=[Range(limit="1")]), "limit"),  # type: ignore[arg-type]
        (Query("n", ranges=[Range(start=None)]), "start"),  # type: ignore[arg-type]
    ],
)
def test_a_malformed_query_says_what_was_expected(query: Query, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Store().read([query])


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (Query("n"), "Batch"),
        (Batch("n", put=[("a", b"")]), "put must be a mapping"),  # type: ignore[arg-type]
        (Batch("n", delete="abc"), "delete must be a sequence"),
        (Batch("n", delete_ranges=[("a",)]), "start, stop"),  # type: ignore[list-item]
        (Batch("n", expect="a"), "Expect"),  # type: ignore[arg-type]
    ],
)
def test_a_malformed_batch_says_what_was_expected(batch: Batch, message: str) -> None:
    store = Store()
    with pytest.raises(TypeError, match=message):
        store.write([Batch("n", put={"first": b""}), batch])
    assert len(store) == 0


def test_one_text_is_not_taken_for_several() -> None:
    store = Store()
    collection = Collection(store, "c")
    for call in (collection.get, collection.delete, lambda text: store.get_many("n", text)):
        with pytest.raises(TypeError, match="did you mean \\['text'\\]"):
            call("text")

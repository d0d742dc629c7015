"""Third-party layers: a few lines each, and the whole contract."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from pathlib import Path

import pytest
from swarmstate import Batch, Store
from swarmstate.base import BaseStore
from swarmstate.errors import StoreReadOnlyError
from swarmstate.layers import Operation, StoreLayer, ValueLayer
from swarmstate.testing import StoreContract


class Reversed(ValueLayer):
    """Stores values reversed, prefixed with their address."""

    def encode(self, namespace: str, keys: list[str], values: list[bytes]) -> list[bytes]:
        return [
            (namespace + "/" + key + "=").encode() + value[::-1]
            for key, value in zip(keys, values, strict=True)
        ]

    def decode(self, namespace: str, keys: list[str], values: list[bytes]) -> list[bytes]:
        return [
            value[len((namespace + "/" + key + "=").encode()) :][::-1]
            for key, value in zip(keys, values, strict=True)
        ]


class ReadOnly(StoreLayer):
    """Refuses all writes."""

    def writing(self, batches: Sequence[Batch]) -> Operation[None]:
        if batches:
            raise StoreReadOnlyError("this store can only be read")
        yield from super().writing(batches)

    def copying(self, source: str, target: str) -> Operation[None]:
        yield from self.writing([Batch(target)])


class TestReversed(StoreContract):
    manual_clock = True

    def make_store(self, path: Path) -> BaseStore:
        return Reversed(Store(clock=self.clock))


def test_what_is_stored_is_what_the_layer_made() -> None:
    below = Store()
    Reversed(below).write([Batch("n", put={"k": b"abc"})])
    assert below.snapshot().records("n") == {"k": b"n/k=cba"}


def test_a_key_is_found_and_deleted_without_its_value() -> None:
    class Unreadable(Reversed):
        def decode(self, namespace: str, keys: list[str], values: list[bytes]) -> list[bytes]:
            assert not any(values), "a value was read"
            return values

    store = Unreadable(Store())
    store.set_many("n", {"k": 1, "l": 2})
    assert store.contains("n", "k")
    assert store.delete("n", "k")
    assert not store.contains("n", "k")
    assert store.contains("n", "l")


def test_a_layer_that_refuses() -> None:
    below = Store()
    below.set("n", "k", 1)
    store = ReadOnly(below)
    assert store.get("n", "k") == 1
    with pytest.raises(StoreReadOnlyError):
        store.set("n", "k", 2)
    with pytest.raises(StoreReadOnlyError):
        store.copy("n", "m")
    with pytest.raises(StoreReadOnlyError):
        store.clear()
    assert below.items("n") == [("k", 1)]


def test_a_layer_takes_over_what_may_be_constructed() -> None:
    below = Store(allow=[Suit])
    StoreLayer(below).set("n", "k", Suit.HEARTS)
    assert StoreLayer(below).get("n", "k") is Suit.HEARTS


class Suit(Enum):
    HEARTS = 1

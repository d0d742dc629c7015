"""`SwarmStateSerializer` and stock write the same bytes, and read each other's."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.swarmstate.serde import SwarmStateSerializer
from pydantic import RootModel
from swarmstate import dumps
from swarmstate.errors import DecodeError, EncodeError

from tests.core import codec_types as types
from tests.core.codec_types import canon


class Numbers(RootModel[list[int]]):
    """A model without its own fields."""


ours = SwarmStateSerializer(allowed_msgpack_modules=[*types.ALLOWED, Numbers])
stock = JsonPlusSerializer(allowed_msgpack_modules=[*types.ALLOWED, Numbers])


@given(types.lossless)
def test_same_bytes_where_stock_is_lossless(value: Any) -> None:
    expected = stock.dumps_typed(value)
    assert ours.dumps_typed(value) == expected
    assert canon(stock.loads_typed(expected)) == canon(value)
    assert canon(ours.loads_typed(expected)) == canon(value)


@given(types.everything)
def test_ours_keeps_everything(value: Any) -> None:
    assert canon(ours.loads_typed(ours.dumps_typed(value))) == canon(value)


@pytest.mark.parametrize(
    "value",
    [
        {(1, 2), (3, (4, "a"))},
        {"a": [frozenset({frozenset({(1,)}), ()})]},
        types.Color.MIXED,
        types.Derived(2),
        Numbers([1]),
    ],
    ids=["tuples", "nested", "enum", "not in init", "root model"],
)
def test_ours_heals_what_stock_wrote_whole(value: Any) -> None:
    data = stock.dumps_typed(value)
    assert canon(stock.loads_typed(data)) != canon(value)
    assert canon(ours.loads_typed(data)) == canon(value)
    assert ours.dumps_typed(value) == data


def nested(levels: int, kind: str) -> Any:
    wrap: dict[str, Any] = {
        "list": lambda value: [value],
        "dict": lambda value: {"a": value},
        "set": lambda value: frozenset([value]),
        "key": lambda value: (value,),
    }
    value: Any = 1
    for _ in range(levels):
        value = wrap[kind](value)
    return {value: 1} if kind == "key" else value


@pytest.mark.parametrize(("kind", "levels"), [("list", 255), ("dict", 255), ("key", 254)])
def test_what_stock_can_nest_ours_can(kind: str, levels: int) -> None:
    value = nested(levels, kind)
    assert ours.dumps_typed(value) == stock.dumps_typed(value)
    assert canon(ours.loads_typed(ours.dumps_typed(value))) == canon(value)


def test_sets_nest_as_deep_as_stock_takes_them() -> None:
    # Python 3.10 also counts calls of C functions, so stock supports fewer levels there.
    value = nested(440 if sys.version_info >= (3, 11) else 250, "set")
    assert ours.dumps_typed(value) == stock.dumps_typed(value)
    assert ours.loads_typed(ours.dumps_typed(value)) == value


@pytest.mark.parametrize("kind", ["list", "dict", "key"])
def test_stock_reads_what_ours_can_nest(kind: str) -> None:
    data = ours.dumps_typed(nested(1021, kind))
    assert ours.dumps_typed(stock.loads_typed(data)) == data
    with pytest.raises(EncodeError):
        ours.dumps_typed(nested(1023, kind))


@pytest.mark.parametrize(
    "value", [None, b"", b"abc", bytearray(b"abc"), "text", 0, [], {"a": b"x"}, 1.5], ids=repr
)
def test_type_tags(value: Any) -> None:
    data = stock.dumps_typed(value)
    assert ours.dumps_typed(value) == data
    assert type(ours.dumps_typed(value)[1]) is type(data[1])
    assert canon(ours.loads_typed(data)) == canon(value)


def test_json_of_old_checkpoints_is_read() -> None:
    envelope = {
        "lc": 2,
        "type": "constructor",
        "id": ["langchain_core", "messages", "human", "HumanMessage"],
        "kwargs": {"content": "hello"},
    }
    data = "json", json.dumps({"messages": [envelope]}).encode()
    assert ours.loads_typed(data) == stock.loads_typed(data)
    assert ours.loads_typed(data)["messages"][0].content == "hello"


@pytest.mark.parametrize("module", ["pathlib", "pathlib._local"])
def test_paths_of_other_pythons_are_read(module: str) -> None:
    payload = dumps([module, type(Path()).__name__, ["a", "b"]])
    data = bytes([0xC7, len(payload), 1]) + payload
    for serde in (ours, SwarmStateSerializer(allowed_msgpack_modules=None)):
        assert serde.loads_typed(("msgpack", data)) == Path("a", "b")


def test_pickle_only_where_asked_for() -> None:
    value = Unsupported()
    with pytest.raises(TypeError):
        ours.dumps_typed(value)
    with pytest.raises(NotImplementedError):
        ours.loads_typed(("pickle", pickle.dumps(1)))
    relaxed = SwarmStateSerializer(pickle_fallback=True)
    kind, data = relaxed.dumps_typed(value)
    assert (kind, type(relaxed.loads_typed((kind, data)))) == ("pickle", Unsupported)
    assert relaxed.dumps_typed([1]) == ("msgpack", b"\x91\x01")


class Unsupported:
    """A class that the serializer has no rule for."""


def test_unknown_tags_and_damaged_bytes_are_errors() -> None:
    with pytest.raises(NotImplementedError, match="unknown"):
        ours.loads_typed(("unknown", b""))
    with pytest.raises(DecodeError) as caught:
        ours.loads_typed(("msgpack", b"\x92\x01"))
    assert isinstance(caught.value, ValueError)


def test_an_own_hook_is_honoured() -> None:
    seen = []

    def hook(code: int, data: bytes) -> Any:
        seen.append(code)
        return data

    options: dict[str, Any] = {"__unpack_ext_hook__": hook}
    value = {"a": {1}}
    data = ours.dumps_typed(value)
    found = SwarmStateSerializer(**options).loads_typed(data)
    assert found == JsonPlusSerializer(**options).loads_typed(data)
    assert seen == [0, 0]


class Reverse:
    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        return "reverse", plaintext[::-1]

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        assert ciphername == "reverse"
        return ciphertext[::-1]


def test_it_works_inside_the_encrypted_serializer() -> None:
    serde = EncryptedSerializer(Reverse(), ours)
    value = {"a": {(1, 2)}, "b": 2**70}
    assert serde.loads_typed(serde.dumps_typed(value)) == value

"""Damaged and hostile bytes: a clear error, in bounded memory."""

from __future__ import annotations

import contextlib
import ipaddress
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import ToolMessage
from swarmstate import Codec, dumps
from swarmstate.errors import DecodeError, TypeNotAllowedError

from tests.core import codec_types as types

codec = Codec(allow=types.ALLOWED)


def read(data: bytes) -> None:
    with contextlib.suppress(DecodeError, TypeNotAllowedError):
        codec.loads(data)


@settings(max_examples=1000)
@given(st.binary(max_size=200))
def test_random_bytes(data: bytes) -> None:
    read(data)


@settings(max_examples=500)
@given(types.everything, st.data())
def test_mutated_bytes(value: Any, data: st.DataObject) -> None:
    encoded = dumps(value)[:5000]
    place = st.integers(0, len(encoded) - 1)
    for _ in range(5):
        start, end = sorted((data.draw(place), data.draw(place)))
        flipped = bytearray(encoded)
        flipped[start] ^= 1 << data.draw(st.integers(0, 7))
        read(bytes(flipped))
        read(encoded[:start] + encoded[end:])
        read(encoded[start:end] + encoded[start:])


@pytest.mark.parametrize("value", [set(), frozenset(), {1}, frozenset([1]), {()}], ids=repr)
def test_every_byte_of_a_set_replaced(value: Any) -> None:
    encoded = dumps(value)
    for place in range(len(encoded)):
        for byte in range(256):
            read(encoded[:place] + bytes([byte]) + encoded[place + 1 :])


@given(types.everything)
def test_truncated_bytes_are_always_refused(value: Any) -> None:
    encoded = dumps(value)
    for end in {0, len(encoded) // 3, len(encoded) // 2, len(encoded) - 1}:
        with pytest.raises(DecodeError):
            codec.loads(encoded[:end])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "at byte 0: expected 1 bytes of a value, found 0"),
        (b"\xc1", "at byte 0: .*0xc1"),
        (b"\x92\x01", "at byte 1: expected an array of 2 items, found 1 bytes"),
        (b"\x01\x01", "at byte 1: expected the end, found 1 more bytes"),
        (b"\xa2\xff\xfe", "at byte 0: expected UTF-8"),
        (b"\x81\x80\x01", "at byte 1: expected a map key, found a map"),
        (b"\x81\xd4\x20\xc4\x00", "at byte 1: expected a map key, found an ext"),
        (b"\xd4\x63\x00", "expected a known ext code, found 99"),
        (b"\xd5\x00\x01\x02", "expected an array of 3 describing an object"),
        (b"\xd5\x20\x01\x02", "expected the end of an ext payload"),
        (b"\xd4\x20\x01", "expected the payload of ext 32"),
        (b"\xd4\x28\x01", "expected the payload of ext 40"),
        (b"\xd4\x06\x01", "expected the payload of ext 6"),
        (b"\xc7\x03\x2b\x92\x90\x01", None),
        (b"\xc7\x03\x2b\x92\x80\x01", "expected a hashable key, found dict"),
    ],
)
def test_messages(data: bytes, message: str | None) -> None:
    if message is None:
        assert codec.loads(data) == {(): 1}
        return
    with pytest.raises(DecodeError, match=message):
        codec.loads(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x00",
        b"\xdd\x00\x0f\x00\x00" * 200 + b"\xc0" * 1_000_000,
        b"\xdc\xff\x00" * 1000 + b"\xc0" * 70_000,
    ],
    ids=lambda data: data[:6].hex(),
)
def test_lengths_are_not_believed(data: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError):
            codec.loads(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10 * len(data) + 100_000


@pytest.mark.parametrize(
    "data",
    [
        b"\xc7\x19\x00\x93\xa8builtins\xa9bytearray\xce\x3b\x9a\xca\x00",
        b"\xc7\x1e\x00\x93\xa9fractions\xa8Fraction\xa91e1000000",
        b"\xc7\x0b\x24\x91\xa91e1000000",
    ],
    ids=["bytearray", "fraction", "fraction's own ext"],
)
def test_numbers_are_not_taken_for_sizes(data: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises((DecodeError, TypeNotAllowedError)):
            codec.loads(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000


def bare(code: int, payload: bytes) -> bytes:
    return b"\xc9" + len(payload).to_bytes(4, "big") + bytes([code]) + payload


def ext(code: int, *parts: bytes | list[bytes]) -> bytes:
    """Return the ext of an array; a list among its parts becomes an array, too."""
    return bare(code, array(*(part if isinstance(part, bytes) else array(*part) for part in parts)))


def array(*items: bytes) -> bytes:
    return bytes([0x90 + len(items)]) + b"".join(items)


def named(code: int, name: str, *parts: bytes | list[bytes]) -> bytes:
    module, _, name = name.rpartition(".")
    return ext(code, dumps(module), dumps(name), *parts)


ITEM = {"value": {}, "key": "", "created_at": "2026-01-01", "updated_at": "2026-01-01"}

FILLINGS = {
    # Values with an ext of their own.
    "complex": lambda large: bare(0x23, large),
    "path": lambda large: ext(38, dumps("posix"), large),
    "defaultdict": lambda large: ext(41, large, dumps({})),
    "deque": lambda large: ext(42, dumps(None), large),
    "short deque": lambda large: ext(42, dumps(3), large),
    "datetime": lambda large: bare(0x2C, large),
    "numpy": lambda large: ext(6, dumps("<i4"), large, dumps("C"), dumps(b"1234")),
    # Classes called with the value, or with its items.
    "frozenset": lambda large: named(0, "builtins.frozenset", large),
    "deque by name": lambda large: named(0, "collections.deque", large),
    "Counter": lambda large: named(0, "collections.Counter", large),
    "set": lambda large: named(1, "builtins.set", [large]),
    "date": lambda large: named(1, "datetime.date", large),
    "item": lambda large: named(
        2, "langgraph.store.base.Item", b"\x85" + dumps(ITEM)[1:] + dumps("namespace") + large
    ),
}

LARGE = [range(10**6), ipaddress.ip_network("10.0.0.0/12"), ipaddress.ip_network("ff::/108")]


@pytest.mark.parametrize("filling", FILLINGS)
@pytest.mark.parametrize("large", LARGE, ids=repr)
def test_nothing_is_filled_with_more_items_than_the_bytes_hold(filling: str, large: Any) -> None:
    data = FILLINGS[filling](dumps(large))
    with pytest.raises(DecodeError):
        codec.loads(data)  # imports what decoding needs, so that it is not measured
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError):
            codec.loads(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000


@pytest.mark.parametrize("large", LARGE, ids=repr)
def test_messages_have_no_such_content(large: Any) -> None:
    content = b"\x81" + dumps("content") + dumps(large)
    method = dumps("model_validate_json")
    data = named(5, "langchain_core.messages.ai.AIMessage", content, method)
    codec.loads(dumps(ToolMessage("imports what it needs", tool_call_id="1")))
    tracemalloc.start()
    try:
        message = codec.loads(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert message.content == large
    assert peak < 1_000_000  # no error for each item


@pytest.mark.parametrize("large", LARGE, ids=repr)
def test_ranges_and_networks_are_values_like_others(large: Any) -> None:
    message = ToolMessage("done", tool_call_id="1", artifact=large)
    values = [message, {large}, [large], {"net": large}]
    assert codec.loads(dumps(values)) == values

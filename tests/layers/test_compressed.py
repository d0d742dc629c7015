"""What a compressed store compresses, leaves alone and refuses."""

from __future__ import annotations

import contextlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from swarmstate import Batch, Query, Store
from swarmstate.base import BaseStore
from swarmstate.errors import DecodeError, StoreFormatError
from swarmstate.layers import CompressedStore, train_dictionary

TEXT = b"the customer wrote again about the parcel, and " * 40


def raw(store: BaseStore, key: str = "k") -> bytes:
    [result] = store.read([Query("n", keys=[key])])
    [value] = result.values
    assert value is not None
    return value


def test_text_gets_small_and_the_bytes_are_as_documented() -> None:
    below = Store()
    store = CompressedStore(below)
    store.write([Batch("n", put={"k": TEXT, "small": b"tiny"})])
    data = raw(below)
    assert len(data) < len(TEXT) / 10
    assert (data[0], data[1], data[2]) == (0xC7, len(data) - 3, 65)
    assert data[3:4] == b"z"
    assert data[4:8] == zlib.crc32(TEXT).to_bytes(4, "big")
    assert data[8:12] == bytes.fromhex("28b52ffd")  # the magic number of a zstd frame
    assert (
        raw(below, "small") == b"\xc7\x09\x41S" + zlib.crc32(b"tiny").to_bytes(4, "big") + b"tiny"
    )


@given(st.binary(max_size=400), st.integers(0, 300), st.sampled_from([-5, 1, 3, 19]))
def test_values_come_back(value: bytes, min_size: int, level: int) -> None:
    below = Store()
    store = CompressedStore(below, min_size=min_size, level=level)
    store.write([Batch("n", put={"k": value, "twice": value * 2})])
    assert raw(store) == value
    assert raw(store, "twice") == value * 2
    assert len(raw(below)) <= len(value) + 11


@pytest.mark.parametrize("value", [TEXT, b"tiny"])
def test_damage_is_an_error_and_never_a_value(value: bytes) -> None:
    below = Store()
    store = CompressedStore(below)
    store.write([Batch("n", put={"k": value})])
    data = raw(below)
    for index in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[index] ^= 1 << bit
            below.write([Batch("n", put={"k": bytes(damaged)})])
            # zstd frames have bits without meaning.
            with contextlib.suppress(StoreFormatError):
                assert raw(store) == value, (index, bit)


def test_what_was_not_written_through_it_is_refused() -> None:
    below = Store()
    below.set("n", "k", "plain")
    with pytest.raises(StoreFormatError, match="not written through a compressed store"):
        CompressedStore(below).get("n", "k")


def test_bombs_are_refused() -> None:
    below = Store()
    CompressedStore(below).write([Batch("n", put={"k": bytes(10_000_000)})])
    assert len(raw(below)) < 2_000
    with pytest.raises(StoreFormatError, match="max_size"):
        raw(CompressedStore(below, max_size=9_999_999))
    # Values larger than it would decompress are not compressed.
    small = CompressedStore(below, max_size=1_000)
    small.write([Batch("n", put={"k": bytes(1_001)})])
    assert raw(small) == bytes(1_001)
    assert len(raw(below)) > 1_001


def test_the_largest_value_is_compressed_and_read() -> None:
    below = Store()
    store = CompressedStore(below, max_size=1_000)
    store.write([Batch("n", put={"k": bytes(1_000)})])
    assert len(raw(below)) < 1_000
    assert raw(store) == bytes(1_000)


def test_values_stay_msgpack_and_say_what_they_are() -> None:
    below = Store()
    CompressedStore(below).set("n", "k", "v")
    with pytest.raises(DecodeError, match="compressed"):
        below.get("n", "k")


@pytest.mark.parametrize(
    "options",
    [{"level": 99}, {"min_size": -1}, {"min_size": 10, "max_size": 9}, {"dictionaries": [b"x"]}],
    ids=str,
)
def test_options_that_cannot_be(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"level|min_size|dictionary"):
        CompressedStore(Store(), **options)  # type: ignore[arg-type]  # invalid on purpose


def records(start: int, count: int) -> list[bytes]:
    return [
        f'{{"thread": {index}, "source": "loop", "step": {index * 7}}}'.encode()
        for index in range(start, start + count)
    ]


def test_a_dictionary_makes_small_values_smaller_and_can_change() -> None:
    below = Store()
    first = train_dictionary(records(0, 500), size=1024)
    second = train_dictionary(records(10_000, 500), size=1024)
    [value, other] = records(5_000, 2)
    CompressedStore(below, min_size=0).write([Batch("n", put={"plain": value})])
    CompressedStore(below, min_size=0, dictionaries=[first]).write([Batch("n", put={"k": value})])
    assert len(raw(below)) < len(raw(below, "plain")) * 0.7
    both = CompressedStore(below, min_size=0, dictionaries=[second, first])
    both.write([Batch("n", put={"new": other})])
    assert [raw(both, key) for key in ["plain", "k", "new"]] == [value, value, other]
    with pytest.raises(StoreFormatError, match="dictionary"):
        raw(CompressedStore(below, dictionaries=[second]))
    with pytest.raises(ValueError, match="samples"):
        train_dictionary([b"one", b""])


@pytest.mark.parametrize("size", [-1, 0, 255, 1 << 31, 10**15, 1 << 64])
def test_a_dictionary_of_a_size_that_none_has_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"expected size .* found {size};"):
        train_dictionary([TEXT + b"%d" % n for n in range(500)], size=size)

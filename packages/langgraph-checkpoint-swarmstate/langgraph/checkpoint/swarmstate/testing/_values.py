"""Values as a graph sees them after a reload."""

from __future__ import annotations

import dataclasses
import enum
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

import pytest
from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langgraph.checkpoint.swarmstate.testing._base import ContractBase
from langgraph.checkpoint.swarmstate.testing._driver import Driver
from langgraph.checkpoint.swarmstate.testing.checkpoints import at, make_checkpoint, make_metadata
from langgraph.types import Command, Interrupt, Send
from pydantic import BaseModel

__all__ = ["Color", "Pair", "Person", "Point", "ValuesContract"]


@dataclasses.dataclass
class Point:
    """A dataclass."""

    x: int
    y: int


class Pair(NamedTuple):
    """A named tuple."""

    left: str
    right: int


class Color(enum.Enum):
    """An enumeration."""

    RED = "red"


class Person(BaseModel):
    """A pydantic model."""

    name: str
    born: date
    friends: list[Person] = []


PLAIN: dict[str, Any] = {
    "none": None,
    "bools": [True, False],
    "ints": [0, -1, 2**63 - 1, -(2**63), 2**64 - 1],
    "floats": [0.0, -0.0, 1.5, 1e308, 5e-324, float("inf"), float("-inf")],
    "text": ["", "plain", "é漢😀", "line\n\ttab", "a\x00b"],
    "bytes": [b"", b"\x00\xff" * 10],
    "nested": {"a": [{"b": [1, {"c": None}]}], "": {}, "empty": []},
    "keys": {1: "int", 2.5: "float", False: "bool", "s": "str"},
    "set": {1, 2, 3},
    "frozenset": frozenset({"a", "b"}),
    "datetime": datetime(2024, 2, 29, 12, 30, 1, 123456),
    "aware": datetime(2024, 2, 29, 12, 30, tzinfo=timezone.utc),
    "offset": datetime(2024, 2, 29, 12, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    "date": date(1999, 12, 31),
    "time": time(23, 59, 59, 999999),
    "timedelta": timedelta(days=-3, microseconds=7),
    "timezone": timezone(timedelta(hours=-3)),
    "decimal": Decimal("12345678901234567890.000100"),
    "uuid": uuid.UUID("12345678-1234-5678-1234-567812345678"),
    "path": Path("/tmp/a b/é"),
    "deque": deque([1, "a", None]),
    "enum": Color.RED,
    "dataclass": Point(1, -2),
    "namedtuple": Pair("a", 1),
    "pydantic": Person(name="A", born=date(1990, 1, 1), friends=[]),
    "send": Send("node", {"a": [1]}),
    "interrupt": Interrupt(value={"ask": "?"}, id="i1"),
    "document": Document("text", metadata={"page": 1}),
    "long_list": [{"n": n} for n in range(5000)],
    "long_text": "0123456789é" * 300_000,
}

MESSAGES: dict[str, Any] = {
    "human": HumanMessage("hi", id="h", name="user"),
    "multimodal": HumanMessage(
        [
            {"type": "text", "text": "see"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        ],
        additional_kwargs={"deep": {"a": [1, {"b": None}]}},
    ),
    "system": SystemMessage("be kind"),
    "tool_calls": AIMessage(
        "",
        id="ai",
        tool_calls=[{"name": "f", "args": {"a": [1]}, "id": "c", "type": "tool_call"}],
        invalid_tool_calls=[
            {"name": "g", "args": "{", "id": "d", "error": "bad", "type": "invalid_tool_call"}
        ],
        usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
        response_metadata={"model": "m", "logprobs": [0.5]},
    ),
    "chunk": AIMessageChunk(content="part", id="ch"),
    "artifact": ToolMessage(
        "done", tool_call_id="c", artifact={"rows": [[1, 2]], "raw": b"\x00"}, status="error"
    ),
    "remove": RemoveMessage("gone"),
}

BEYOND_STOCK: dict[str, Any] = {
    "set_of_tuples": {(1, 2), (3, 4)},
    "frozenset_of_tuples": frozenset({("a", 1)}),
    "big_int": 2**64,
    "huge_int": -(10**100),
    "fraction": Fraction(1, 3),
    "complex": 1 + 2j,
    "range": range(1, 10, 2),
    "pure_path": PurePosixPath("a/b"),
    "windows_path": PureWindowsPath("C:/a"),
    "counter": Counter({"a": 2, "b": -1}),
    "ordered": OrderedDict([("b", 1), ("a", 2)]),
    "bounded_deque": deque([1, 2], maxlen=2),
    "surrogate": "a\ud800b",
}


class ValuesContract(ContractBase):
    """Every value makes a round trip with its type."""

    def _assert_kept(self, driver: Driver, reader: Driver, value: Any) -> None:
        checkpoint = make_checkpoint({"v": value, "held": {"in": [value]}})
        versions = checkpoint["channel_versions"]
        config = driver.put(at(), checkpoint, make_metadata(), versions)
        driver.put_writes(config, [("v", value)], "task")
        loaded = reader.load(config)
        values = loaded.checkpoint["channel_values"]
        assert loaded.pending_writes is not None
        for found in (values["v"], values["held"]["in"][0], loaded.pending_writes[0][2]):
            assert type(found) is type(value)
            assert found == value
            assert repr(found) == repr(value)

    @pytest.mark.parametrize("name", [name for name in PLAIN if "set" not in name])
    def test_plain_values(self, driver: Driver, second: Driver, name: str) -> None:
        self._assert_kept(driver, second, PLAIN[name])

    @pytest.mark.parametrize("name", ["set", "frozenset"])
    def test_sets(self, driver: Driver, second: Driver, name: str) -> None:
        checkpoint = make_checkpoint({"v": PLAIN[name]})
        config = driver.put(at(), checkpoint, make_metadata(), {"v": 1})
        found = second.load(config).checkpoint["channel_values"]["v"]
        assert (type(found), found) == (type(PLAIN[name]), PLAIN[name])

    @pytest.mark.parametrize("name", MESSAGES)
    def test_messages(self, driver: Driver, second: Driver, name: str) -> None:
        self._assert_kept(driver, second, MESSAGES[name])

    @pytest.mark.parametrize("name", BEYOND_STOCK)
    def test_values_that_stock_loses(self, driver: Driver, second: Driver, name: str) -> None:
        value = BEYOND_STOCK[name]
        checkpoint = make_checkpoint({"v": value})
        try:
            config = driver.put(at(), checkpoint, make_metadata(), {"v": 1})
        except self.encode_error:
            assert not self.extended_values
            return
        found = second.load(config).checkpoint["channel_values"]["v"]
        # Compared as ASCII: a lone surrogate in a test report could break its reader.
        assert ascii(found) == ascii(value)
        assert type(found) is type(value)
        equal: bool = found == value
        assert equal

    def test_default_dicts(self, driver: Driver, second: Driver) -> None:
        value: defaultdict[str, list[int]] = defaultdict(list, {"a": [1]})
        checkpoint = make_checkpoint({"v": value})
        try:
            config = driver.put(at(), checkpoint, make_metadata(), {"v": 1})
        except self.encode_error:
            return
        found = second.load(config).checkpoint["channel_values"]["v"]
        assert found == value
        assert not self.extended_values or found["new"] == []

    def test_nan(self, driver: Driver) -> None:
        config = driver.put(at(), make_checkpoint({"v": float("nan")}), make_metadata(), {"v": 1})
        found = driver.load(config).checkpoint["channel_values"]["v"]
        assert found != found

    def test_commands(self, driver: Driver, second: Driver) -> None:
        value = Command(update={"a": [1]}, resume={"i": "yes"}, goto="node")
        config = driver.put(at(), make_checkpoint({"a": 1}), make_metadata(), {"a": 1})
        driver.put_writes(config, [("a", value)], "task")
        assert second.load(config).pending_writes == [("task", "a", value)]

    def test_images_in_messages(self, driver: Driver, second: Driver) -> None:
        image = bytes(range(256)) * (19 * 4096)
        messages = [
            HumanMessage("look", id="1"),
            HumanMessage([{"type": "image", "data": image}], id="2"),
            AIMessage("nice", id="3"),
        ]
        config = driver.put(at(), make_checkpoint({"m": messages}), make_metadata(), {"m": 1})
        assert second.load(config).checkpoint["channel_values"]["m"] == messages

    def test_arrays(self, driver: Driver, second: Driver) -> None:
        numpy = pytest.importorskip("numpy", reason="numpy is optional")
        value = numpy.arange(24, dtype="float32").reshape(2, 3, 4)
        config = driver.put(at(), make_checkpoint({"v": value}), make_metadata(), {"v": 1})
        found = second.load(config).checkpoint["channel_values"]["v"]
        assert found.dtype == value.dtype
        assert (found == value).all()

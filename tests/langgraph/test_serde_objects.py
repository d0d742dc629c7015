"""Common agent state: messages, documents, LangGraph's own objects, models, arrays."""

from __future__ import annotations

import warnings
from datetime import datetime, timezone
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    HumanMessageChunk,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.checkpoint.swarmstate.serde import SwarmStateSerializer
from langgraph.store.base import Item, SearchItem
from langgraph.types import Command, Interrupt, Overwrite, Send, TimeoutPolicy
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    computed_field,
    field_serializer,
    field_validator,
)
from swarmstate.errors import EncodeError

from tests.core.codec_types import Point, canon

ours = SwarmStateSerializer(allowed_msgpack_modules=True)
stock = JsonPlusSerializer(allowed_msgpack_modules=True)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pydantic import v1


class Old(v1.BaseModel):
    name: str
    size: int = 0


class Aliased(BaseModel):
    model_config = ConfigDict(populate_by_name=True, extra="allow")
    name: str = Field(alias="theName")
    _hidden: int = PrivateAttr(default=3)


class Fancy(BaseModel):
    tags: tuple[str, ...] = ()
    value: int = 0

    @field_serializer("value")
    def _write(self, value: int) -> int:
        return value + 1

    @field_validator("value", mode="before")
    @classmethod
    def _read(cls, value: int) -> int:
        return value - 1

    @computed_field  # type: ignore[prop-decorator]
    @property
    def total(self) -> int:
        return self.value


class Child(Fancy):
    child: Fancy | None = None


URL = "x" * 3000
TEXT: Any = [
    {"type": "text", "text": "look"},
    {"type": "image_url", "image_url": {"url": "x" * 3000}},
]
CALL: Any = {
    "name": "search",
    "args": {"q": "a", "n": [1, None]},
    "id": "c1",
    "type": "tool_call",
}
CHUNK: Any = {"name": "a", "args": "", "id": "1", "index": 0}
USAGE: Any = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}

MOMENT = datetime(2020, 1, 1, tzinfo=timezone.utc)

OBJECTS: dict[str, Any] = {
    "human": HumanMessage(content="hello", id="1", name="me", additional_kwargs={"a": {"b": [1]}}),
    "multimodal": HumanMessage(content=TEXT),
    "ai": AIMessage("", tool_calls=[CALL], usage_metadata=USAGE, response_metadata={"m": 1}),
    "invalid call": AIMessage(
        "x", invalid_tool_calls=[{"name": "a", "args": "{", "id": "1", "error": "bad"}]
    ),
    "tool": ToolMessage(content="ok", tool_call_id="c1", artifact=[1, {2}], status="error"),
    "system": SystemMessage(content="be kind"),
    "chat": ChatMessage(content="a", role="critic"),
    "function": FunctionMessage(content="a", name="f"),
    "chunk": AIMessageChunk(content="a", tool_call_chunks=[CHUNK]),
    "human chunk": HumanMessageChunk(content="a"),
    "remove": RemoveMessage(id="1"),
    "document": Document(page_content="text", metadata={"page": 1}, id="d"),
    "send": Send("node", {"x": {1}}),
    "send with timeout": Send("node", 1, timeout=TimeoutPolicy(run_timeout=1.5)),
    "interrupt": Interrupt({"ask": "ok?"}, id="i"),
    "command": Command(update={"a": HumanMessage(content="b")}, goto=[Send("n", 1)], resume=1),
    "overwrite": Overwrite([1]),
    "snapshot": _DeltaSnapshot({"a": [HumanMessage(content="b")]}),
    "item": Item(value={"a": 1}, key="k", namespace=("a", "b"), created_at=MOMENT,
                 updated_at=MOMENT),
    "found": SearchItem(("a",), "k", {"a": 1}, MOMENT, MOMENT, 0.5),
    "v1 model": Old(name="a", size=2),
    "aliased": Aliased.model_validate({"theName": "a", "more": [1]}),
    "fancy": Fancy(tags=("a", "b"), value=3),
    "nested models": Child(value=2, child=Fancy(value=9)),
    "unset fields": Child(),
    "secret": SecretStr("s"),
    "point": Point(1, [HumanMessage(content="a")]),
    "long text": "ä" * 3_000_000,
    "long list": [{"i": i, "s": str(i)} for i in range(5000)],
    "many messages": [AIMessage(content=str(i), id=str(i), tool_calls=[CALL]) for i in range(300)],
    "error": ValueError("broken"),
}  # fmt: skip


def state(obj: Any) -> Any:
    """Return everything that an object holds, including the private parts of models."""
    if isinstance(obj, BaseModel):
        parts = vars(obj), obj.__pydantic_fields_set__, obj.__pydantic_extra__
        return type(obj), [state(part) for part in parts], obj.__pydantic_private__
    if isinstance(obj, dict):
        return [(key, state(value)) for key, value in obj.items()]
    if isinstance(obj, (list, tuple)):
        return type(obj), [state(item) for item in obj]
    if isinstance(obj, set):
        return type(obj), sorted(map(repr, obj))
    return type(obj), repr(obj)


@pytest.mark.parametrize("name", OBJECTS)
def test_objects_are_the_same_as_through_stock(name: str) -> None:
    obj = OBJECTS[name]
    data = stock.dumps_typed(obj)
    assert ours.dumps_typed(obj) == data
    assert state(ours.loads_typed(data)) == state(stock.loads_typed(data))


@pytest.mark.parametrize("name", ["ai", "tool", "multimodal", "send", "command", "document"])
def test_objects_come_back_equal(name: str) -> None:
    assert ours.loads_typed(ours.dumps_typed(OBJECTS[name])) == OBJECTS[name]


GRID = np.arange(24, dtype="<i4").reshape(2, 3, 4)
ARRAYS = {
    "C": GRID,
    "F": np.asfortranarray(GRID),
    "strided": GRID[:, ::2],
    "reversed": GRID.T[::-1],
    "scalar": np.array(3.5),
    "empty": np.zeros((0, 3)),
    "big endian": np.arange(3, dtype=">f8"),
    "text": np.array(["ab", "ç"]),
    "bytes": np.array([b"ab", b"c"]),
    "bool": np.array([True, False]),
    "complex": np.array([1j, 2]),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays(name: str) -> None:
    data = stock.dumps_typed({"a": ARRAYS[name]})
    assert ours.dumps_typed({"a": ARRAYS[name]}) == data
    assert canon(ours.loads_typed(data)) == canon(stock.loads_typed(data))
    np.testing.assert_array_equal(ours.loads_typed(data)["a"], ARRAYS[name])


@pytest.mark.parametrize(
    "array",
    [
        np.array(["2020-01-01", "NaT"], dtype="M8[D]"),
        np.array([1, 2], dtype="m8[ms]"),
        np.array([(1, 2.5, [1, 2])], dtype=[("a", "<i4"), ("b", "<f8"), ("c", "<i2", (2,))]),
        np.array([(1, b"x")], dtype=np.dtype([("a", "u1"), ("b", "S3")], align=True)),
    ],
    ids=lambda array: array.dtype.kind,
)
def test_arrays_that_stock_loses(array: Any) -> None:
    found = ours.loads_typed(ours.dumps_typed(array))
    assert (found.dtype, found.shape, found.tobytes()) == (
        array.dtype, array.shape, array.tobytes()
    )  # fmt: skip


@pytest.mark.parametrize("array", [np.array([1, "a"], dtype=object), np.ma.array([1], mask=[True])])
def test_arrays_that_cannot_be_kept_are_refused(array: Any) -> None:
    with pytest.raises(EncodeError):
        ours.dumps_typed({"a": array})

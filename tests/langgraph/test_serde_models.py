"""Models written from their fields and rebuilt without validation: exactly as through stock."""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import enum
import random
import warnings
from collections.abc import Callable
from typing import Annotated, Any, Generic, Literal, TypeVar

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st
from langchain_core import messages as lc
from langchain_core.documents import Document
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.swarmstate.serde import SwarmStateSerializer
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PrivateAttr,
    SerializeAsAny,
    StringConstraints,
    computed_field,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)
from typing_extensions import TypedDict

ours = SwarmStateSerializer(allowed_msgpack_modules=None)
stock = JsonPlusSerializer(allowed_msgpack_modules=None)


class Inner(BaseModel):
    size: int = 1


@dataclasses.dataclass
class Record:
    size: int = 1


class Word(str):
    """A str subclass."""


class Color(enum.Enum):
    RED = "red"


def held(value: Any) -> Any:
    """Return all that a value holds, with types and orders, private parts included."""
    if isinstance(value, BaseModel):
        slots = value.__pydantic_extra__, value.__pydantic_private__
        names = sorted(value.__pydantic_fields_set__)
        return type(value), held(vars(value)), names, held(slots)
    if isinstance(value, dict):
        return type(value), [(held(key), held(item)) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value), [held(item) for item in value]
    return type(value), repr(value)


def outcome(call: Callable[[], Any]) -> Any:
    """Return what a call gives, or that it fails."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = call()
        except Exception:
            return "failed"
        return result, len(caught)


def check_same(obj: Any, read_ours: Any = ours, read_stock: Any = stock) -> None:
    """Check that both write the same bytes for an object, and build the same from them."""
    expected = outcome(lambda: stock.dumps_typed([obj]))
    found = outcome(lambda: ours.dumps_typed([obj]))
    if expected == "failed":
        return
    assert found == expected
    (data, _) = expected
    built = outcome(lambda: held(read_stock.loads_typed(data)))
    assert outcome(lambda: held(read_ours.loads_typed(data))) == built


texts = st.text(max_size=5)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | texts
    | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(texts | st.integers(0, 9) | st.none(), inner, max_size=3)
    | st.tuples(inner, inner),
    max_leaves=6,
)  # fmt: skip
strange = st.sampled_from(
    [
        Inner(),
        Record(),
        Word("w"),
        Color.RED,
        dt.date(2020, 1, 1),
        {1, 2},
        (1, "a"),
        lc.HumanMessage("inner"),
        Document("inner", metadata={"a": lc.AIMessage("b")}),
        {"tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]},
        {"type": "text", "text": Word("t")},
        {(1, 2): 3},
        True,
        1.5,
        [None],
        None,
        "last",
        "tool_call",
    ]
)
values = plain | strange
kwargs = st.dictionaries(
    texts | st.just("tool_calls"), values | st.lists(values, max_size=2), max_size=3
)
blocks = st.dictionaries(st.sampled_from(["type", "text", "args", "id"]), plain, max_size=3)
content = texts | st.lists(texts | blocks, max_size=3)
call = st.fixed_dictionaries(
    {"name": texts, "args": st.dictionaries(texts, values, max_size=2), "id": st.none() | texts}
)
bad_call = st.fixed_dictionaries(
    {"name": texts, "args": texts, "id": st.none() | texts, "error": st.none() | texts}
)
chunk = st.fixed_dictionaries(
    {
        "name": st.none() | texts,
        "args": st.none() | texts | st.just('{"a": 1}'),
        "id": st.none() | texts,
        "index": st.none() | st.integers(0, 3),
    }
)
counts = st.integers(0, 2**31)
usage = st.fixed_dictionaries(
    {"input_tokens": counts, "output_tokens": counts, "total_tokens": counts},
    optional={
        "output_token_details": st.dictionaries(st.sampled_from(["audio", "other"]), counts),
        "input_token_details": st.dictionaries(st.sampled_from(["audio", "cache_read"]), counts),
        "cost": st.floats(),
    },
)
common: dict[str, Any] = {
    "content": content,
    "additional_kwargs": kwargs,
    "response_metadata": kwargs,
    "id": st.none() | texts,
    "name": st.none() | texts,
}
ai: dict[str, Any] = {
    **common,
    "tool_calls": st.lists(call, max_size=2),
    "invalid_tool_calls": st.lists(bad_call, max_size=1),
    "usage_metadata": st.none() | usage,
}
tool: dict[str, Any] = {
    **common,
    "tool_call_id": texts,
    "artifact": values,
    "status": st.sampled_from(["success", "error"]),
}


def of(cls: Any, fields: dict[str, Any], **more: Any) -> st.SearchStrategy[Any]:
    def build(given: dict[str, Any]) -> Any:
        try:
            return cls(**given)
        except TypeError:  # AIMessageChunk writes arguments as JSON.
            reject()

    return st.fixed_dictionaries({**fields, **more}).map(build)


named = {**common, "name": texts}
messages = st.one_of(
    of(lc.HumanMessage, common),
    of(lc.HumanMessageChunk, common),
    of(lc.SystemMessage, common, example=plain),
    of(lc.SystemMessageChunk, common),
    of(lc.FunctionMessage, named),
    of(lc.FunctionMessageChunk, named),
    of(lc.ChatMessage, common, role=texts),
    of(lc.ChatMessageChunk, common, role=texts),
    of(lc.ToolMessage, tool),
    of(lc.ToolMessageChunk, tool),
    of(lc.AIMessage, ai),
    of(
        lc.AIMessageChunk,
        ai,
        tool_call_chunks=st.lists(chunk, max_size=2),
        chunk_position=st.sampled_from([None, "last"]),
    ),
    of(lc.RemoveMessage, {"id": texts}),
    of(Document, {"page_content": texts, "metadata": st.dictionaries(texts, values, max_size=2)}),
)


@given(messages)
def test_messages_are_the_same_as_through_stock(message: Any) -> None:
    check_same(message)


@given(messages, st.lists(st.tuples(st.randoms(), values), min_size=1, max_size=3))
def test_damaged_messages_are_the_same_as_through_stock(
    message: Any, damages: list[tuple[random.Random, Any]]
) -> None:
    message = copy.deepcopy(message)
    for chooser, value in damages:
        damage(message, chooser, copy.deepcopy(value))
    check_same(message)


def damage(message: Any, chooser: random.Random, value: Any) -> None:
    """Change one of the containers in a message, or its fields, in place."""
    containers: list[Any] = [vars(message), message.__pydantic_extra__ or {}]
    stack = list(containers)
    while stack:
        container = stack.pop()
        children = container.values() if isinstance(container, dict) else container
        inner = [child for child in children if type(child) in (dict, list)]
        containers += inner
        stack += inner
    container = chooser.choice(containers)
    if isinstance(container, list):
        if container and chooser.random() < 0.5:
            container[chooser.randrange(len(container))] = value
        else:
            container.append(value)
        return
    key = chooser.choice([*container, "extra", "type", "content", 7])
    deed = chooser.random()
    if deed < 0.2:
        container.pop(key, None)
    elif deed < 0.4 and key in container:
        container[key] = container.pop(key)
    elif container is not vars(message) or isinstance(key, str):
        container[key] = value


def changed(message: Any, change: Callable[[Any], object]) -> Any:
    change(message)
    return message


def calling(**more: Any) -> Any:
    call = {"name": "f", "args": {"a": 1}, "id": "1", "type": "tool_call"}
    return changed(lc.AIMessage("a"), lambda m: m.tool_calls.append({**call, **more}))


RAW = {"tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]}
SERVER: list[Any] = [{"type": "server_tool_call_chunk", "args": "{}", "id": "1"}]
V1 = {"output_version": "v1"}
EDGES: dict[str, Any] = {
    "call": calling(),
    "call with an index": calling(index=0),
    "call with extras": calling(extras={"a": 1}),
    "call with a number": calling(name=1),
    "call of another type": calling(type="function"),
    "call without type": changed(calling(), lambda m: m.tool_calls[0].pop("type")),
    "call without id": changed(calling(), lambda m: m.tool_calls[0].pop("id")),
    "call in another order": changed(
        calling(), lambda m: m.tool_calls[0].update(name=m.tool_calls[0].pop("name"))
    ),
    "invalid call with an index": changed(
        lc.AIMessage("a"),
        lambda m: m.invalid_tool_calls.append(
            {"type": "invalid_tool_call", "id": None, "name": None, "args": None, "error": None}
            | {"index": 0}
        ),
    ),
    "raw calls": changed(lc.AIMessage("a"), lambda m: m.additional_kwargs.update(RAW)),
    "raw calls beside a call": changed(calling(), lambda m: m.additional_kwargs.update(RAW)),
    "raw calls of a chunk": changed(
        lc.AIMessageChunk(content="a"), lambda m: m.additional_kwargs.update(RAW)
    ),
    "chunk with a call": changed(
        lc.AIMessageChunk(content="a"), lambda m: m.tool_calls.extend(calling().tool_calls)
    ),
    "chunk of a call": changed(
        lc.AIMessageChunk(content="a"),
        lambda m: m.tool_call_chunks.append(
            {"name": "f", "args": "{", "id": "1", "index": 0, "type": "tool_call_chunk"}
        ),
    ),
    "last chunk": changed(
        lc.AIMessageChunk(content=SERVER, response_metadata=V1),
        lambda m: vars(m).update(chunk_position="last"),
    ),
    "removal with content": changed(
        lc.RemoveMessage(id="1"), lambda m: vars(m).update(content="a")
    ),
    "usage in another order": changed(
        lc.AIMessage("a"),
        lambda m: vars(m).update(
            usage_metadata={"total_tokens": 1, "input_tokens": 1, "output_tokens": 0}
        ),
    ),
    "fields in another order": changed(
        lc.HumanMessage("a"), lambda m: vars(m).update(content=vars(m).pop("content"))
    ),
    "field too many": changed(lc.HumanMessage("a"), lambda m: vars(m).update(more=1)),
    "field missing": changed(lc.HumanMessage("a"), lambda m: vars(m).pop("name")),
    "extra field named as a field": changed(
        lc.HumanMessage("a"), lambda m: m.__pydantic_extra__.update(id="1")
    ),
    "extra field": lc.HumanMessage("a", example=True),
    "extra content blocks": changed(
        lc.HumanMessage("a"), lambda m: m.__pydantic_extra__.update(content_blocks=[])
    ),
}


@pytest.mark.parametrize("name", EDGES)
def test_edges_of_validation_are_the_same_as_through_stock(name: str) -> None:
    check_same(EDGES[name])


T = TypeVar("T")


class Call(TypedDict):
    name: str
    size: int


class Flat(BaseModel):
    a: str
    b: int | None = None
    c: float = 0.5
    d: list[str | dict[str, Any]] = []
    e: Literal["x", "y"] = "x"
    f: Call | None = None
    g: dict[str, list[int]] = {}
    h: Any = None
    i: bytes | bool = False


class Loose(Flat):
    model_config = ConfigDict(extra="allow")


class Ice(Flat):
    model_config = ConfigDict(frozen=True)


class Strict(Flat):
    model_config = ConfigDict(strict=True, extra="forbid")


@pytest.mark.parametrize("cls", [Flat, Loose, Ice, Strict])
@given(
    st.fixed_dictionaries(
        {"a": texts},
        optional={
            "b": st.none() | st.integers(),
            "c": st.floats(allow_nan=False),
            "d": st.lists(texts | st.dictionaries(texts, values, max_size=2), max_size=2),
            "e": st.sampled_from(["x", "y"]),
            "f": st.none() | st.fixed_dictionaries({"size": st.integers(), "name": texts}),
            "g": st.dictionaries(texts, st.lists(st.integers(), max_size=2), max_size=2),
            "h": values,
            "i": st.binary(max_size=2) | st.booleans(),
        },
    ),
    st.lists(st.tuples(st.randoms(), values), max_size=2),
)
def test_own_models_are_the_same_as_through_stock(
    cls: type[Flat], fields: dict[str, Any], damages: list[tuple[random.Random, Any]]
) -> None:
    model = copy.deepcopy(cls(**fields))
    for chooser, value in damages:
        damage(model, chooser, copy.deepcopy(value))
    check_same(model, *readers)


@pytest.mark.parametrize(
    "fields",
    [
        {"f": {"name": "a", "size": 1, "more": 2}},
        {"f": {"name": "a"}},
        {"f": {"size": 1, "name": "a"}},
        {"f": {"name": "a", "size": True}},
        {"b": True},
        {"b": 1.0},
        {"c": 1},
        {"e": "z"},
        {"g": {"a": ["1"]}},
        {"g": {1: [1]}},
        {"d": ["a", {1: 2}]},
        {"h": {"a": Inner()}},
        {"i": "text"},
    ],
    ids=repr,
)
def test_fields_of_other_types_are_the_same_as_through_stock(fields: dict[str, Any]) -> None:
    check_same(Flat.model_construct(a="a", **fields), *readers)


class FieldSerializer(BaseModel):
    a: int = 1

    @field_serializer("a")
    def _dump(self, value: int) -> str:
        return f"<{value}>"


class AnnotatedSerializer(BaseModel):
    a: Annotated[int, PlainSerializer(lambda value: value + 1)] = 1


class NestedSerializer(BaseModel):
    a: list[AnnotatedSerializer] = [AnnotatedSerializer()]


class ModelSerializer(BaseModel):
    a: int = 1

    @model_serializer
    def _dump(self) -> dict[str, Any]:
        return {"a": self.a * 2}


class Dumped(BaseModel):
    a: int = 1

    def model_dump(self, **options: Any) -> dict[str, Any]:
        return {"a": self.a * 3}


class Reached(BaseModel):
    a: int = 1

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        return {**value, "a": 4} if name == "__dict__" else value


class Computed(BaseModel):
    a: int = 1

    @computed_field  # type: ignore[prop-decorator]
    @property
    def b(self) -> int:
        return self.a + 1


class Excluded(BaseModel):
    a: int = 1
    b: int = Field(default=2, exclude=True)
    c: int = Field(default=3, exclude_if=lambda value: value == 3)


class Aliased(BaseModel):
    a: int = Field(default=1, alias="theA")


class ByAlias(BaseModel):
    model_config = ConfigDict(serialize_by_alias=True, populate_by_name=True)
    a: int = Field(default=1, serialization_alias="theA")


class AnyBase(BaseModel):
    a: SerializeAsAny[Inner] = Inner()
    b: Inner | None = None


class FieldValidators(BaseModel):
    a: int = 1
    b: int = 1
    c: Annotated[int, BeforeValidator(lambda value: value + 1)] = 1

    @field_validator("a", mode="before")
    @classmethod
    def _before(cls, value: Any) -> Any:
        return value + 1

    @field_validator("b", mode="wrap")
    @classmethod
    def _wrap(cls, value: Any, handler: Any) -> Any:
        return handler(value) + 1


class ModelValidator(BaseModel):
    a: int = 1

    @model_validator(mode="after")
    def _after(self) -> ModelValidator:
        self.a += 1
        return self


class Constrained(BaseModel):
    a: str = Field(default="long enough", max_length=20)
    b: Annotated[str, StringConstraints(strip_whitespace=True)] = "b"


class Stripped(BaseModel):
    model_config = ConfigDict(str_strip_whitespace=True)
    a: str = "a"


class Ordered(BaseModel):
    a: int | float = Field(default=1, union_mode="left_to_right")
    b: float | int = Field(default=1, union_mode="left_to_right")
    c: list[int] | list[str] = [1]


class Private(BaseModel):
    a: int = 1
    _seen: int = PrivateAttr(default=3)


class PostInit(BaseModel):
    a: int = 1

    def model_post_init(self, context: Any) -> None:
        self.a += 1


class OwnInit(BaseModel):
    a: int = 1

    def __init__(self, **fields: Any) -> None:
        super().__init__(**{**fields, "a": fields.get("a", 0) + 1})


class OwnNew(BaseModel):
    a: int = 1

    def __new__(cls, *args: Any, **fields: Any) -> OwnNew:
        created.append(cls)
        return super().__new__(cls)


class Meta(type(BaseModel)):  # type: ignore[misc]
    def __call__(cls, *args: Any, **fields: Any) -> Any:
        created.append(cls)
        return super().__call__(*args, **fields)


class OwnMeta(BaseModel, metaclass=Meta):
    a: int = 1


class Box(BaseModel, Generic[T]):
    item: T


class IntBox(Box[int]):
    pass


class Branch(BaseModel):
    child: Branch | None = None
    size: int = 1


class Shouting(lc.HumanMessage):
    @field_validator("content")
    @classmethod
    def _shout(cls, value: Any) -> Any:
        return value.upper()


class Renamed(lc.AIMessage):
    score: int = 1


created: list[type] = []
MODELS: list[Any] = [
    FieldSerializer(),
    AnnotatedSerializer(),
    NestedSerializer(),
    ModelSerializer(),
    Dumped(),
    Reached(),
    Computed(),
    Excluded(),
    Aliased(theA=2),
    ByAlias(a=2),
    AnyBase(),
    AnyBase(b=Inner(size=2)),
    FieldValidators(a=1),
    ModelValidator(a=1),
    Constrained.model_construct(a="a", b=" b "),
    Constrained.model_construct(a="x" * 30),
    Stripped.model_construct(a=" a "),
    Ordered(),
    Ordered.model_construct(a=1, b=1, c=["1"]),
    Private(),
    PostInit(),
    OwnInit(a=1),
    OwnNew(),
    OwnMeta(),
    Box(item="a"),
    Box[int](item=1),
    IntBox(item=1),
    Branch(child=Branch(size=2)),
    Branch(),
    Shouting(content="a"),
    Renamed(content="a", tool_calls=[{"name": "f", "args": {}, "id": "1"}]),
]
allowed = [type(model) for model in MODELS] + [Flat, Loose, Ice, Strict, Inner, Record, Color]
readers = (
    SwarmStateSerializer(allowed_msgpack_modules=allowed),
    JsonPlusSerializer(allowed_msgpack_modules=allowed),
)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_models_with_hooks_are_the_same_as_through_stock(model: Any) -> None:
    check_same(model, *readers)
    check_same(model)


@pytest.mark.parametrize("cls", [OwnNew, OwnMeta])
def test_hooks_that_make_instances_are_called(cls: Any) -> None:
    data = ours.dumps_typed(cls())
    created.clear()
    assert type(readers[0].loads_typed(data)) is cls
    assert created == [cls]


def test_a_class_that_changes_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Flat(a="a")
    check_same(model, *readers)
    monkeypatch.setattr(Flat, "model_dump", lambda self: {"a": "patched"})
    assert b"patched" in ours.dumps_typed(model)[1]
    check_same(model, *readers)


@pytest.mark.parametrize("value", [2**70, "lone \ud800"], ids=["big int", "surrogate"])
def test_what_stock_would_lose_in_a_message_is_kept(value: Any) -> None:
    message = lc.ToolMessage("a", tool_call_id="1", artifact=[value])
    assert held(ours.loads_typed(ours.dumps_typed(message)).artifact) == held([value])


def test_a_rebuilt_model_can_be_used_as_any_other() -> None:
    model = readers[0].loads_typed(readers[0].dumps_typed(Loose.model_validate({"a": "a", "z": 1})))
    model.b = 2
    model.y = 3
    assert (model.z, model.model_extra) == (1, {"z": 1, "y": 3})
    assert model.model_copy(deep=True) == model == Loose(**model.model_dump())
    message = ours.loads_typed(ours.dumps_typed(lc.AIMessage("a")))
    message.tool_calls.append({"name": "f", "args": {}, "id": "1"})
    assert ours.loads_typed(ours.dumps_typed(lc.AIMessage("a"))).tool_calls == []

"""Models written from their fields and rebuilt without validation: exactly as through stock."""

from __future__ import annotations

import copy
import random
import sys
from typing import Annotated, Any, Generic, Literal, TypeVar

import ormsgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core import messages as lc
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
    with_config,
)
from swarmstate import Codec
from typing_extensions import TypedDict

from tests.langgraph.helpers.same_as_stock import (
    Color,
    Inner,
    Record,
    check_same,
    damage,
    ours,
    texts,
    values,
)

T = TypeVar("T")


class Call(TypedDict):
    name: str
    size: int


@with_config(ConfigDict(extra="allow"))
class Options(TypedDict, total=False):
    name: str
    size: int


class Open(BaseModel):
    options: Options


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


@pytest.mark.parametrize(
    "options",
    [
        {"name": "a", "size": 1, "more": [2], "most": {}},
        {"size": 1, "more": 2},
        {"more": 2},
        {"more": 2, "size": 1},
        {"name": "a", "more": 2, "size": 1},
        {"size": 1, "more": 2, "name": "a"},
        {"more": 2, "name": 3},
    ],
    ids=repr,
)
def test_keys_beside_known_ones_are_the_same_as_through_stock(options: Any) -> None:
    check_same(Open.model_construct(options=options), *readers)


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
allowed = [type(model) for model in MODELS] + [
    Flat,
    Loose,
    Ice,
    Strict,
    Open,
    Inner,
    Record,
    Color,
]
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


def test_a_rebuilt_model_can_be_used_as_any_other() -> None:
    model = readers[0].loads_typed(readers[0].dumps_typed(Loose.model_validate({"a": "a", "z": 1})))
    model.b = 2
    model.y = 3
    assert (model.z, model.model_extra) == (1, {"z": 1, "y": 3})
    assert model.model_copy(deep=True) == model == Loose(**model.model_dump())
    message = ours.loads_typed(ours.dumps_typed(lc.AIMessage("a")))
    message.tool_calls.append({"name": "f", "args": {}, "id": "1"})
    assert ours.loads_typed(ours.dumps_typed(lc.AIMessage("a"))).tool_calls == []


def test_models_of_many_classes_are_the_same_as_through_stock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    classes: list[Any] = []
    for n in range(40):
        # Some names are prefixes of others.
        name = f"Many{'y' * n}"
        classes.append(type(name, (Flat,), {"__module__": __name__}))
        monkeypatch.setattr(sys.modules[__name__], name, classes[-1], raising=False)
    models = [cls(a=cls.__name__, b=n) for cls in classes for n in range(3)]
    random.Random(1).shuffle(models)
    check_same(
        models,
        SwarmStateSerializer(allowed_msgpack_modules=classes),
        JsonPlusSerializer(allowed_msgpack_modules=classes),
    )


def test_each_of_very_many_classes_is_looked_up_at_once() -> None:
    count = 300_000
    method = ormsgpack.packb("model_validate_json")

    def model(name: str) -> ormsgpack.Ext:
        return ormsgpack.Ext(5, b"\x94\xa1m" + ormsgpack.packb(name) + b"\x80" + method)

    codec = Codec.delegated(
        safe=[],
        check=lambda module, name: False,
        check_method=lambda module, name, method: False,
        fallback=lambda module, name, payload, error, is_model: payload,
    )
    assert codec.loads(ormsgpack.packb([model(f"{n:x}") for n in range(count)])) == [{}] * count

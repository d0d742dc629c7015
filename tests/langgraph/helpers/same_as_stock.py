"""Compare what our serializer and LangGraph's own read, and values to compare with."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import random
import warnings
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from langchain_core import messages as lc
from langchain_core.documents import Document
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.swarmstate.serde import SwarmStateSerializer
from pydantic import BaseModel

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
    """Return everything that a value holds, with types and orders, including private parts."""
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
    """Return the result of a call, or that it failed."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = call()
        except Exception:
            return "failed"
        return result, len(caught)


def check_same(obj: Any, read_ours: Any = ours, read_stock: Any = stock) -> None:
    """Check that both write the same bytes for an object, and build equal objects from them."""
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


def damage(message: Any, chooser: random.Random, value: Any) -> None:
    """Change one of the containers in a message, or one of its fields, in place."""
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

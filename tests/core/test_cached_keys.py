"""`@cached`: which calls count as the same."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, defaultdict
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from swarmstate.cached import cached
from swarmstate.errors import EncodeError

from tests.core.cached_calls import calls_of


@dataclass
class Point:
    x: int
    tags: set[str] = field(default_factory=set)


class Cat(BaseModel):
    name: str
    toys: dict[str, int] = {}


class Dog(BaseModel):
    name: str
    toys: dict[str, int] = {}


class House(BaseModel):
    pet: Cat | Dog


class Color(Enum):
    RED = 1


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Row(list[int]):
    pass


class Fields(dict[str, int]):
    pass


class Level(IntEnum):
    ONE = 1


SAME = [
    ({"a": 1, "b": [1, {"c": 2}]}, {"b": [1, {"c": 2}], "a": 1}),
    ({"x", "y", "z", "w"}, {"w", "z", "y", "x"}),
    (frozenset(range(100)), frozenset(reversed(range(100)))),
    ({("a", 1): "b", 2: "c"}, {2: "c", ("a", 1): "b"}),
    (Point(1, {"a", "b", "c"}), Point(1, {"c", "b", "a"})),
    (Cat(name="Tom", toys={"a": 1, "b": 2}), Cat(name="Tom", toys={"b": 2, "a": 1})),
    (np.arange(6).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3))),
    (np.float64(1.5), np.float64(1.5)),
    (Counter("abca"), Counter("bcaa")),
    (defaultdict(list, a=[1], b=[2]), defaultdict(list, b=[2], a=[1])),
    ("long" * 1000, "".join(["long"] * 1000)),
    (1 << 100, 1 << 100),
    ("\ud800", "\ud800"),
    ("\ud800" * 50, "\ud800" * 25 + "\ud800" * 25),
    (b"long" * 1000, b"".join([b"long"] * 1000)),
    (("é" * 50, (b"x" * 50, 1)), ("é" * 25 + "é" * 25, (b"x" * 25 + b"x" * 25, 1))),
    (Text("long" * 1000), Text("long" * 1000)),
    (Text("\ud800" * 50), Text("\ud800" * 50)),
    ([Number(1), {Text("a"): Number(1 << 100)}], [Number(1), {Text("a"): Number(1 << 100)}]),
    ({"long" * 10: "long" * 20, "x": 1}, {"x": 1, "long" * 10: "".join(["long"] * 20)}),
    (math.nan, float("nan")),
    (memoryview(b"x"), memoryview(b"x")),
]
DIFFERENT = [
    *[1, 1.0, True, "1", b"1", None, Level.ONE, Color.RED, np.int64(1), np.float64(1), 1 << 64],
    *[(1,), [1], {1}, frozenset({1}), {1: 1}, {1: 1.0}, [[1]], [(1,)], [1, []], [[], 1], []],
    *["a", "A", "", "\ud800", b"\xed\xa0\x80", -1, -(1 << 64), 0.0, 255, 256, {}, set(), ()],
    *[Point(1), Point(2), Cat(name="Tom"), Dog(name="Tom")],
    *[House(pet=Cat(name="Tom")), House(pet=Dog(name="Tom"))],
    *[np.zeros(2), np.zeros((1, 2)), np.zeros(2, np.float32), np.zeros(3), np.array(0.0)],
    *["x" * 50, "x" * 49 + "y", b"x" * 50, ("x" * 50,), ["x" * 50], "é" * 50, "\ud800" * 50],
    *[("x" * 50, "y" * 50), ("y" * 50, "x" * 50), (("x" * 50,), "y" * 50), ("x" * 50, b"y" * 50)],
    *[Text("a"), Text("b"), Text(""), Text("x" * 50), (Text("x" * 50),), Text("\ud800" * 50)],
    *[Number(1), Number(2), Number(255), Number(1 << 64), [Number(1)], (Number(1),), {Number(1)}],
    *[{Text("a"): 1}, {"a": 1}, {"a": Number(1)}, Row(), Row([1]), Fields(), Fields(a=1)],
    *[np.str_("a"), np.bytes_(b"a"), b"a", Point(Number(1))],
    *[OrderedDict(a=1, b=2), OrderedDict(b=2, a=1), {"a": 1, "b": 2}, {"a": {"b": 2}}],
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_equal_values_are_one_call(one: Any, other: Any) -> None:
    function, calls = calls_of()
    assert function(one) == function(other) == 1
    assert len(calls) == 1


def test_values_that_differ_are_calls_of_their_own() -> None:
    function, _ = calls_of()
    assert [function(value) for value in DIFFERENT] == list(range(1, len(DIFFERENT) + 1))


_trees = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    # Around the length from which strings are kept as objects.
    | st.text("aé", min_size=30, max_size=34)
    | st.binary(min_size=31, max_size=33),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3), inner)
        | st.frozensets(st.integers() | st.text(max_size=2))
    ),
    max_leaves=10,
)


def exact(value: Any) -> Any:
    """Return a hashable that is equal for two values exactly if they make the same call."""
    if isinstance(value, list | tuple):
        return type(value), tuple(map(exact, value))
    if isinstance(value, dict | frozenset):
        items = value.items() if isinstance(value, dict) else value
        return type(value), frozenset(map(exact, items))
    return type(value), repr(value)


@given(st.lists(_trees, max_size=8))
def test_keys_are_equal_exactly_if_values_are(values: list[Any]) -> None:
    function, calls = calls_of()
    for value in values:
        function(value)
    assert len(calls) == len({exact(value) for value in values})


def test_it_does_not_matter_how_arguments_are_passed() -> None:
    calls = []

    @cached
    def function(a: int, b: int = 2, *more: int, c: int = 3, **rest: int) -> int:
        calls.append((a, b, more, c, rest))
        return len(calls)

    same = [function(1), function(1, 2), function(a=1), function(b=2, a=1), function(1, c=3)]
    assert same == [1] * 5
    assert function(1, 2, 3) == 2
    assert function(1, 2, d=3) == 3
    assert function(1, d=3) == 3
    assert function(1, c=4) == 4
    assert function(1, e=1, d=2) == function(1, d=2, e=1) == 5
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        function()  # type: ignore[call-arg]  # invalid on purpose
    with pytest.raises(TypeError, match="multiple values"):
        function(1, a=1)  # type: ignore[misc]  # invalid on purpose


def test_a_long_default_is_as_good_as_passing_it() -> None:
    calls = []

    @cached
    def function(a: int, text: str = "x" * 100) -> int:
        calls.append(text)
        return len(calls)

    assert function(1) == function(1, "x" * 50 + "x" * 50) == function(1, text="x" * 100) == 1
    assert function(1, "y" * 100) == 2


def test_names_of_positional_parameters_are_free_for_others() -> None:
    @cached
    def function(a: int, /, **rest: int) -> tuple[int, dict[str, int]]:
        return a, rest

    assert function(1, a=2) == (1, {"a": 2})
    assert function(1, a=3) == (1, {"a": 3})
    assert function(2) == (2, {})


def test_arguments_without_a_key_are_refused_and_key_helps() -> None:
    function, calls = calls_of()
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    for value in (object(), lambda: None, int, ValueError("x"), cyclic, np.array([object()])):
        with pytest.raises(EncodeError, match="pass key="):
            function(value)
    assert calls == []

    class Client:
        def __init__(self) -> None:
            self.calls = 0

        @cached(key=lambda self, text: text)
        def ask(self, text: str) -> int:
            self.calls += 1
            return self.calls

    client = Client()
    assert client.ask("a") == client.ask("a") == client.ask(text="a") == 1
    assert client.ask("b") == 2
    assert Client.ask.cache_info()[:2] == (2, 2)

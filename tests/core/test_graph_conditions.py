"""Conditions mean what they mean in Python, except for None."""

from __future__ import annotations

import asyncio
import enum
import operator
import re
from collections import OrderedDict, UserList, deque
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage
from pydantic import BaseModel
from swarmstate import HandoffGraph
from swarmstate.errors import ConditionError, SwarmStateError

MISSING = object()
State: TypeAlias = dict[str, Any]
# An expression as text, and a function that gives its meaning.
Expression: TypeAlias = tuple[str, Callable[[State], Any]]


def holds(when: str, state: object) -> bool:
    graph = HandoffGraph()
    graph.add_node("a")
    graph.add_node("b")
    graph.add_edge("a", "b", when=when)
    return graph.route("a", state) == "b"


def at(state: State, *steps: str | int) -> Any:
    value: Any = state
    for step in steps:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return MISSING
    return value


def known(value: Any) -> Any:
    return None if value is MISSING else value


PATHS: list[tuple[str, tuple[str | int, ...]]] = [
    ("n", ("n",)),
    ("m", ("m",)),
    ("q", ("q",)),
    ("q[0]", ("q", 0)),
    ("s", ("s",)),
    ("d.x", ("d", "x")),
    ("d['x y']", ("d", "x y")),
    ("l[0]", ("l", 0)),
    ("l[-1]", ("l", -1)),
    ("l[1].x", ("l", 1, "x")),
    ("gone", ("gone",)),
    ("d.gone.x", ("d", "gone", "x")),
]
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(-2, 2, allow_nan=False).map(lambda number: round(number, 1)),
    st.text("aAbß.", max_size=3),
)
# Few values in many shapes, so that compared values are often equal, or would be in another shape.
sequences = st.recursive(
    st.sampled_from([None, 0, 1, "a"]),
    lambda items: st.one_of(st.lists(items, max_size=2), st.lists(items, max_size=2).map(tuple)),
    max_leaves=4,
)
states = st.fixed_dictionaries(
    {
        "n": scalars,
        "m": st.one_of(scalars, sequences),
        "q": sequences,
        "s": st.text("aAbß.", max_size=3),
        "d": st.dictionaries(st.sampled_from(["x", "x y", "z"]), scalars),
        "l": st.lists(st.one_of(scalars, st.fixed_dictionaries({"x": scalars})), max_size=3),
    }
)

ORDERED = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def compare(op: str, left: Any, right: Any) -> Any:
    if op == "==":
        return left == right
    if op == "!=":
        return left != right
    if op in ("in", "not in"):
        unknown = right is None or (left is None and isinstance(right, str))
        return (not unknown and left in right) is (op == "in")
    return left is not None and right is not None and ORDERED[op](left, right)


def chained(first: Expression, rest: list[tuple[str, Expression]]) -> Expression:
    def value(state: State) -> Any:
        left = first[1](state)
        for op, (_, evaluate) in rest:
            right = evaluate(state)
            if not compare(op, left, right):
                return False
            left = right
        return True

    return " ".join([first[0], *(f"{op} {text}" for op, (text, _) in rest)]), value


def text_of(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a str")
    return value


def called(name: str, argument: Expression) -> Expression:
    functions: dict[str, Callable[[Any], Any]] = {
        "len": len,
        "lower": lambda value: text_of(value).lower(),
        "upper": lambda value: text_of(value).upper(),
    }

    def value(state: State) -> Any:
        given_value = argument[1](state)
        return None if given_value is None else functions[name](given_value)

    return f"{name}({argument[0]})", value


def asked(name: str, text: Expression, part: Expression) -> Expression:
    def value(state: State) -> Any:
        one, other = text[1](state), part[1](state)
        if one is None or other is None:
            return False
        text_of(other)
        method = str.startswith if name == "startswith" else str.endswith
        return method(text_of(one), other)

    return f"{name}({text[0]}, {part[0]})", value


def matched(pattern: str, text: Expression) -> Expression:
    def value(state: State) -> Any:
        found = text[1](state)
        return found is not None and re.search(pattern, text_of(found)) is not None

    return f"matches({text[0]}, {pattern!r})", value


def literal(value: Any) -> Expression:
    return repr(value), lambda _: value


def path(text: str, steps: tuple[str | int, ...]) -> Expression:
    return text, lambda state: known(at(state, *steps))


def negated(expression: Expression) -> Expression:
    return f"not ({expression[0]})", lambda state: not expression[1](state)


def joined(word: str, parts: list[Expression]) -> Expression:
    def value(state: State) -> Any:
        result: Any = None
        for _, evaluate in parts:
            result = evaluate(state)
            if bool(result) == (word == "or"):
                break
        return result

    return "(" + f" {word} ".join(text for text, _ in parts) + ")", value


paths = st.sampled_from(PATHS).map(lambda pair: path(*pair))
atoms = st.one_of(
    paths,
    paths,
    scalars.map(literal),
    st.lists(scalars, max_size=3).map(literal),
    sequences.map(literal),
    sequences.map(literal),
    st.sampled_from(PATHS).map(
        lambda pair: (f"exists({pair[0]})", lambda state: at(state, *pair[1]) is not MISSING)
    ),
)


def larger(smaller: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    in_brackets = smaller.map(lambda each: (f"({each[0]})", each[1]))
    comparisons = st.tuples(st.sampled_from(["==", "!=", "in", "not in", *ORDERED]), in_brackets)
    return st.one_of(
        st.builds(chained, in_brackets, st.lists(comparisons, min_size=1, max_size=3)),
        st.builds(negated, smaller),
        st.builds(
            joined, st.sampled_from(["and", "or"]), st.lists(smaller, min_size=2, max_size=3)
        ),
        st.builds(called, st.sampled_from(["len", "lower", "upper"]), smaller),
        st.builds(asked, st.sampled_from(["startswith", "endswith"]), smaller, smaller),
        st.builds(matched, st.sampled_from(["a", "^b", "[A-Z]+", r"\.$", "a|ß"]), smaller),
    )


@settings(max_examples=2_000, deadline=None)
@given(st.recursive(atoms, larger, max_leaves=6), states)
def test_agrees_with_python(expression: Expression, state: State) -> None:
    text, evaluate = expression
    try:
        expected = bool(evaluate(state))
    except TypeError:
        with pytest.raises(ConditionError, match="cannot be evaluated on this state"):
            holds(text, state)
        return
    assert holds(text, state) == expected, text


@dataclass
class Ticket:
    topic: str
    tags: list[str]

    def method(self) -> bool:
        return True


class Model(BaseModel):
    topic: str = "lamp"
    ticket: dict[str, Any] = {"tags": ["new"]}
    check: Any = None


class Status(str, enum.Enum):
    OPEN = "open"


class Urgency(enum.IntEnum):
    HIGH = 3


class Check(BaseModel):
    strict: bool = True

    def __call__(self) -> None:
        """State may be callable."""


@pytest.mark.parametrize(
    ("when", "state", "expected"),
    [
        ("topic == 'lamp' and tags[0] == 'new'", Ticket("lamp", ["new"]), True),
        ("method", Ticket("lamp", []), False),
        ("exists(method)", Ticket("lamp", []), False),
        ("topic == 'lamp' and 'new' in ticket.tags", Model(), True),
        ("messages[-1].content == 'Hi'", {"messages": [AIMessage("Hi")]}, True),
        (
            "messages[-1].text == 'Hi'",
            {"messages": [AIMessage([{"type": "text", "text": "Hi"}])]},
            True,
        ),
        ("matches(lower(messages[-1].text), '^hi')", {"messages": [AIMessage("Hi")]}, True),
        ("len(messages[-1].tool_calls) == 0", {"messages": [AIMessage("Hi")]}, True),
        ("messages[-1].type == 'human'", {"messages": [AIMessage("Hi")]}, False),
        ("a.b == 1", MappingProxyType({"a": OrderedDict(b=1)}), True),
        ("a.b == 1", MappingProxyType({"a": {}}), False),
        ("name.title", {"name": "x"}, False),
        ("n.real", {"n": 1}, False),
        ("status.value == 'open' and status == 'open'", {"status": Status.OPEN}, True),
        ("status.name == 'OPEN' and not exists(status.title)", {"status": Status.OPEN}, True),
        ("urgency.name == 'HIGH' and urgency > 2", {"urgency": Urgency.HIGH}, True),
        ("check.strict", Model(check=Check()), True),
        ("exists(check)", Model(check=Check()), True),
        ("recent[-1].content == 'Hi'", {"recent": deque([AIMessage("Hi")])}, True),
        ("recent[1] or recent['x']", {"recent": deque([1])}, False),
        ("recent[0] == 1", {"recent": UserList([1])}, True),
        ("recent[0] == 97", {"recent": b"a"}, True),
        ("recent[0] > 0.5 and recent[1] == None", {"recent": np.array([0.6])}, True),
        ("recent[0] or recent['x']", {"recent": Check()}, False),
        ("matches(said, '^a') and startswith(said, 'a')", {"said": "a\ud800"}, True),
        ("a[1] == 'one'", {"a": {1: "one"}}, True),
        ("a == 'it\\'s' or a == \"\\u00e9\\n\"", {"a": "é\n"}, True),
        ("status in ['open', 'new']", {"status": "new"}, True),
        ("status in ('open',)", {"status": "new"}, False),
        ("status in ()", {"status": "new"}, False),
        ("tags == ['a', 'b']", {"tags": ["a", "b"]}, True),
        ("tags == ['a', 'b']", {"tags": ("a", "b")}, False),
        ("tags == ('a', 'b')", {"tags": ("a", "b")}, True),
        ("tags == ('a', 'b')", {"tags": ["a", "b"]}, False),
        ("tags != []", {"tags": []}, False),
        ("tags in [['a'], ['b']]", {"tags": ["b"]}, True),
        ("'a' in ['a'] == tags", {"tags": ["a"]}, True),
        ("tags in ([('a')], ('b'))", {"tags": "b"}, True),
        ("tags == [('a'), ('a',), ()]", {"tags": ["a", ("a",), ()]}, True),
        ("not not status", {"status": "new"}, True),
        ("-1.5e0 <= x < 2 != y", {"x": -1, "y": 3}, True),
        ("x == None", {}, True),
        ("x > 1", {}, False),
        ("x <= 1", {"x": None}, False),
        ("not x > 1", {}, True),
        ("1 < x or 1 >= x or y < x", {"y": 1}, False),
        # The truth value of the last operand is not needed.
        ("len(x or scores) == 2", {"scores": np.array([0.1, 0.2])}, True),
        ("len(x) > 0 or lower(x) == 'a' or matches(x, 'a') or 1 in x", {}, False),
        ("1 not in x", {}, True),
        ("x in 'abc' or x in y", {"y": "abc"}, False),
        ("x not in 'abc' and x not in y", {"x": None, "y": Status.OPEN}, True),
        # Vowel signs and accents that are separate characters may be part of names.
        ("उपयोगकर्ता.ชื่อ == 'अदा'", {"उपयोगकर्ता": {"ชื่อ": "अदा"}}, True),
        ("e\u0301tat == 'new'", {"e\u0301tat": "new"}, True),
    ],
)
def test_examples(when: str, state: object, expected: bool) -> None:
    assert holds(when, state) is expected


@pytest.mark.parametrize(
    ("when", "state", "cause"),
    [
        ("x > 1", {"x": "2"}, "'>' not supported"),
        ("1 in x", {"x": 1}, "argument of type 'int'"),
        ("lower(x) == 'a'", {"x": 3}, "expected a str, found int"),
        ("len(x) == 1", {"x": 3}, "has no len"),
    ],
)
def test_what_cannot_be_asked_is_an_error(when: str, state: object, cause: str) -> None:
    with pytest.raises(ConditionError, match=re.escape(cause)) as caught:
        holds(when, state)
    assert when in str(caught.value)
    assert isinstance(caught.value.__cause__, TypeError)


@pytest.mark.parametrize(
    "when", ["tags == ['a']", "tags != ['b']", "tags in [['a']]", "tags == (['a'],)"]
)
def test_no_state_changes_a_condition(when: str) -> None:
    class Greedy:
        def __eq__(self, other: object) -> bool:
            assert isinstance(other, (list, tuple))
            lists = [other, *other]
            for found in lists:
                if isinstance(found, list):
                    found.clear()
            return False

    graph = HandoffGraph()
    graph.add_node("a")
    graph.add_node("b")
    graph.add_edge("a", "b", when=when)
    tags = [["a"], (["a"],)]
    before = [graph.route("a", {"tags": each}) for each in tags]
    graph.route("a", {"tags": Greedy()})
    assert [graph.route("a", {"tags": each}) for each in tags] == before


def test_errors_of_properties_are_not_swallowed() -> None:
    class Broken:
        @property
        def topic(self) -> str:
            raise RuntimeError("no database")

    with pytest.raises(ConditionError, match="no database"):
        holds("topic == 'x'", Broken())


class Unready:
    """Something with a property that raises."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    @property
    def result(self) -> str:
        raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), asyncio.CancelledError()])
def test_what_ends_a_process_or_a_task_is_no_error_of_a_condition(error: BaseException) -> None:
    with pytest.raises(type(error)):
        holds("result", Unready(error))


def test_explaining_asks_no_more_than_routing() -> None:
    graph = HandoffGraph()
    for node in ("wait", "use"):
        graph.add_node(node)
    graph.add_edge("wait", "use", when="done and job.result == 'x' or skipped")
    state = {"done": False, "skipped": True, "job": Unready(RuntimeError("not ready"))}
    assert graph.route("wait", state) == "use"
    explained = graph.explain("wait", state)
    assert explained.target == "use"
    assert explained.questions[0].values == {"done": False, "skipped": True}


def test_syntax_errors_show_where() -> None:
    with pytest.raises(ConditionError) as caught:
        holds("topic == 'lamp' und tags", {})
    assert isinstance(caught.value, (SwarmStateError, ValueError))
    message, text, mark = str(caught.value).split("\n")
    assert message.startswith("at column 17: expected 'and', 'or', a comparison or the end")
    assert text[mark.index("^") :] == "und tags"


@pytest.mark.parametrize(
    ("when", "column", "message"),
    [
        ("vip == true", 8, "found 'true': write True"),
        ("false", 1, "found 'false': write False"),
        ("a and null != x", 7, "found 'null': write None"),
        ("exists(none)", 8, "found 'none': write None"),
        ("vip in [1, true]", 12, "found 'true': write True"),
        ("x is None", 3, "found 'is'; write == or !="),
        ("(x is not y)", 4, "found 'is'; write == or !="),
        ("a && b", 3, "unexpected character '&'; write and, or, not"),
        ("a || b", 3, "unexpected character '|'; write and, or, not"),
        ("not a or !b", 10, "unexpected character '!'; write and, or, not"),
        ("matches(x, '\\d')", 12, "after \\; write a literal \\ as \\\\"),
        ("x.startswith('a')", 13, "found '('; write startswith(x, 'a')"),
        ("a.b['c'] .lower() == 'x'", 16, "found '('; write lower(a.b['c'])"),
        ("(x.endswith(a or 'b'))", 12, "found '('; write endswith(x, a or 'b')"),
        ("x.endswith(a b)", 11, "found '('; write endswith(x, ...)"),
        ("x.matches(,)", 10, "found '('; write matches(x, ...)"),
        ("x[0] or x[1.5]", 11, "expected an integer or string index"),
        ("a and x.title()", 14, "found '('"),
        ("x[None]", 3, "expected an integer or string index"),
    ],
)
def test_what_other_languages_write_is_refused_with_what_to_write(
    when: str, column: int, message: str
) -> None:
    with pytest.raises(ConditionError) as caught:
        holds(when, {"vip": True})
    first = str(caught.value).split("\n")[0]
    assert first.startswith(f"at column {column}: ")
    assert first.endswith(message)


def test_limits_are_of_length_and_of_depth() -> None:
    state = {"x": 1}
    longest = "x == 1".ljust(8192)
    assert holds(longest, state)
    with pytest.raises(ConditionError, match="at most 8192 bytes, found 8193"):
        holds(longest + " ", state)
    assert holds("(" * 63 + "x" + ")" * 63, state)
    with pytest.raises(ConditionError, match="at most 64 levels of nesting"):
        holds("(" * 64 + "x" + ")" * 64, state)
    # Long chains and lists do not add depth.
    assert holds(" or ".join(["(x == 2)"] * 300 + ["(x == 1)"]), state)
    assert holds("x in [" + "['a'], " * 300 + "1]", state)


def test_names_within_a_path_may_be_words_of_other_languages() -> None:
    assert holds("flags.true == flags['null']", {"flags": {"true": 1, "null": 1}})
    assert holds("truth and x.lower", {"truth": True, "x": {"lower": 1}})


def test_a_function_is_no_condition() -> None:
    expected = 'when must be a str such as "amount > 100", not function'
    with pytest.raises(TypeError, match=re.escape(expected)):
        holds(lambda state: True, {})  # type: ignore[arg-type]  # invalid on purpose


@pytest.mark.parametrize(
    "name", ["__class__", "a.__class__", "a._secret", "a.b.__init__.__globals__"]
)
def test_nothing_leads_out_of_the_state(name: str) -> None:
    with pytest.raises(ConditionError, match="without a leading '_'"):
        holds(name, {})

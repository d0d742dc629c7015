"""`add_messages` behaves like LangGraph's, for any input and any history."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from typing import Annotated, Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langgraph.checkpoint.swarmstate import REMOVE_ALL_MESSAGES, SwarmStateSaver, add_messages
from langgraph.graph import START, StateGraph
from langgraph.graph import add_messages as langgraphs
from langgraph.graph.message import REMOVE_ALL_MESSAGES as ORIGINAL_REMOVE_ALL
from typing_extensions import TypedDict


class Own(HumanMessage):
    """The user's own message class."""


class WithProperty(HumanMessage):
    """A message whose id differs from what its dict holds."""

    @property  # type: ignore[misc] # a user's class may do this
    def id(self) -> str | None:
        return "property"

    @id.setter
    def id(self, value: str | None) -> None: ...


original: Any = langgraphs
IDS = ["a", "b", "c", "d"]


def ids() -> st.SearchStrategy[str | None]:
    return st.one_of(st.none(), st.sampled_from(IDS))


def plain() -> st.SearchStrategy[Any]:
    texts = st.text("xyz", max_size=2)
    makers: list[Callable[[str, str | None], BaseMessage]] = [
        lambda text, id: HumanMessage(text, id=id),
        lambda text, id: AIMessage(text, id=id),
        lambda text, id: ToolMessage(text, id=id, tool_call_id="t"),
        lambda text, id: SystemMessage(text, id=id),
        lambda text, id: ChatMessage(content=text, id=id, role="r"),
        lambda text, id: Own(content=text, id=id),
    ]
    made = st.tuples(st.sampled_from(makers), texts, ids()).map(lambda it: it[0](it[1], it[2]))
    removed = st.sampled_from([*IDS, ORIGINAL_REMOVE_ALL])
    return st.one_of(made, made, made, removed.map(lambda id: RemoveMessage(id=id)))


def odd() -> st.SearchStrategy[Any]:
    """Input that is not a plain message: it is coerced, or an error."""
    return st.one_of(
        ids().map(lambda id: AIMessageChunk(content="chunk", id=id)),
        ids().map(lambda id: {"role": "user", "content": "dict", "id": id}),
        st.sampled_from([("user", "tuple"), ("ai", "tuple"), "str", ["ai", "list"]]),
        st.sampled_from([None, 3, {"role": "nobody", "content": ""}, ("user",), object]),
        st.builds(lambda: WithProperty(content="property")),
        st.builds(lambda: {1, 2}),
    )


def messages(share_of_odd: int) -> st.SearchStrategy[list[Any]]:
    one = st.integers(0, 99).flatmap(lambda drawn: odd() if drawn < share_of_odd else plain())
    return st.lists(one, max_size=6)


class ListOfOwn(list[Any]):
    """A subclass of list."""


class Step(NamedTuple):
    """The next thing that happens to the last returned list."""

    mutate: tuple[str, int, Any] | None
    right: Any


def steps() -> st.SearchStrategy[list[Step]]:
    edits = st.tuples(
        st.sampled_from(
            ["id", "dict", "replace_dict", "class", "swap", "delete", "insert", "same"]
        ),
        st.integers(0, 7),
        st.one_of(ids(), st.sampled_from([7, "", b"a", 1.5])),
    )
    rights = st.one_of(
        messages(3),
        plain(),
        odd(),
        messages(0).map(ListOfOwn),
    )
    return st.lists(
        st.builds(Step, mutate=st.one_of(st.none(), edits), right=rights), min_size=1, max_size=6
    )


def mutate(current: Any, edit: tuple[str, int, Any]) -> None:
    """Change a list and its messages in place, as a node might."""
    kind, number, value = edit
    if not isinstance(current, list) or not current:
        return
    at = number % len(current)
    message = current[at]
    if kind == "swap":
        current.reverse()
    elif kind == "delete":
        del current[at]
    elif kind == "insert":
        current.insert(at, HumanMessage("inserted"))
    elif kind == "same":
        current.append(message)
    elif isinstance(message, BaseMessage) and type(message) is not WithProperty:
        if kind == "id":
            message.id = value
        elif kind == "dict":
            message.__dict__["id"] = value
        elif kind == "replace_dict":
            fields = {
                "id": value,
                **{key: each for key, each in vars(message).items() if key != "id"},
            }
            object.__setattr__(message, "__dict__", fields)
        elif kind == "class" and isinstance(message, HumanMessage):
            message.__class__ = Own if number % 2 else WithProperty


def described(value: Any) -> Any:
    """Return what can be compared: classes, dicts and the identity of objects."""
    if not isinstance(value, list):
        return vars(value) if isinstance(value, BaseMessage) else str(value)[:20]
    first: dict[int, int] = {}
    return type(value), [
        (
            type(each),
            first.setdefault(id(each), at),
            vars(each) if isinstance(each, BaseMessage) else each,
        )
        for at, each in enumerate(value)
    ]


def run(reducer: Callable[..., Any], left: Any, history: list[Step]) -> Iterator[Any]:
    """Yield everything observable about a run."""
    for step in history:
        if step.mutate is not None:
            mutate(left, step.mutate)
        before = left.copy() if isinstance(left, list) else left
        try:
            result = reducer(left, step.right)
        except Exception as error:
            yield type(error), str(error)
            yield described(left), described(step.right)
            return
        inputs = [
            *(before if isinstance(before, list) else []),
            *(step.right if isinstance(step.right, list) else [step.right]),
        ]
        yield described(left), described(step.right), described(result)
        if not isinstance(result, list):
            # Called without messages, it returns a reducer.
            yield type(result)
            return
        yield [next((at for at, each in enumerate(inputs) if each is one), None) for one in result]
        yield result is left, result is step.right
        left = result


@settings(max_examples=1_000, deadline=None)
@given(st.one_of(messages(2), odd(), messages(0).map(ListOfOwn)), steps())
def test_is_what_langgraph_does(left: Any, history: list[Step]) -> None:
    results = []
    for reducer in (original, add_messages):
        numbers = itertools.count()
        with pytest.MonkeyPatch.context() as patch:
            # Ids are counted instead of random, so that two runs can be compared.
            patch.setattr("uuid.uuid4", lambda numbers=numbers: f"new-{next(numbers)}")
            own_left, own_history = copy.deepcopy((left, history))
            results.append(list(run(reducer, own_left, own_history)))
    expected, found = results
    assert found == expected


@pytest.mark.parametrize(
    "right",
    [
        [RemoveMessage(id="a"), HumanMessage("again", id="a")],
        [RemoveMessage(id="a"), HumanMessage("again", id="a"), RemoveMessage(id="a")],
        [HumanMessage("once", id="b"), HumanMessage("twice", id="b"), RemoveMessage(id="c")],
        [HumanMessage("new", id="n"), RemoveMessage(id="n"), HumanMessage("last", id="n")],
    ],
)
def test_what_is_removed_and_comes_back_within_one_update(right: list[Any]) -> None:
    for left in (
        [HumanMessage("one", id="a"), HumanMessage("two", id="b"), HumanMessage("three", id="c")],
        [HumanMessage("one", id="a"), HumanMessage("same id", id="a"), HumanMessage("c", id="c")],
        [
            HumanMessage("one", id="a"),
            AIMessageChunk(content="part", id="b"),
            AIMessage("", id="c"),
        ],
    ):
        expected = original(left.copy(), right.copy())
        found = add_messages(left.copy(), right.copy())
        assert found == expected
        assert [type(each) for each in found] == [type(each) for each in expected]


def test_most_sequences_are_merged_without_langgraph(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the test above would compare LangGraph with itself."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("called LangGraph's")

    monkeypatch.setattr("langgraph.graph.message.add_messages", refuse)
    start = [HumanMessage("0", id="a"), AIMessage("1", id="b"), HumanMessage("2", id="a")]
    merged = add_messages(start, ("user", "3"))
    merged = add_messages(merged, [{"role": "user", "content": "4"}, Own(content="5", id="c")])
    merged = add_messages(merged, [AIMessageChunk(content="new", id="a"), RemoveMessage(id="b")])
    assert [each.content for each in merged] == ["0", "new", "3", "4", "5"]
    assert type(merged[1]) is AIMessage
    merged = add_messages(merged, [RemoveMessage(id="a"), HumanMessage("6", id="d")])
    assert [each.content for each in merged] == ["3", "4", "5", "6"]
    many = [HumanMessage(str(number), id=str(number)) for number in range(9)]
    merged = add_messages(merged, many)
    merged = add_messages(merged, [RemoveMessage(id=each.id) for each in merged[:10]])
    assert [each.content for each in merged] == ["6", "7", "8"]
    assert add_messages(merged, [*many, RemoveMessage(id=REMOVE_ALL_MESSAGES), many[0]]) == many[:1]


def test_ids_changed_in_place_are_seen() -> None:
    messages = add_messages([], [HumanMessage("one", id="1"), HumanMessage("two", id="2")])
    messages[0].id = "other"
    messages[1].__dict__["id"] = None
    merged = add_messages(messages, [HumanMessage("new", id="other"), HumanMessage("1", id="1")])
    assert [each.content for each in merged] == ["new", "two", "1"]
    assert messages[1].id is not None


CONTENT: Any = [
    {"type": "text", "text": "Here is an image:", "cache_control": {"type": "ephemeral"}},
    {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "1234"}},
]


@pytest.mark.parametrize("format", [None, "", "langchain-openai", "other"])
def test_formats_and_partial_application(format: Any) -> None:
    def result(reducer: Any, partially: bool) -> Any:
        left, right = [HumanMessage("a", id="1")], [HumanMessage(content=CONTENT, id="2")]
        try:
            if partially:
                return reducer(format=format)(left, right)
            return reducer(left, right, format=format)
        except ValueError as error:
            return str(error)

    for partially in (False, True):
        assert result(add_messages, partially) == result(original, partially)


@pytest.mark.parametrize("arguments", [(None, []), ([], None), ([], 0), (0, [])])
def test_wrong_arguments_are_the_same_errors(arguments: tuple[Any, Any]) -> None:
    for ours, theirs in ((add_messages, original), (add_messages(), original())):
        errors = []
        for reducer in (ours, theirs):
            with pytest.raises(Exception, match=r".") as caught:
                reducer(*arguments)
            errors.append((caught.type, str(caught.value)))
        assert errors[0] == errors[1]


def test_the_constant_is_langgraphs() -> None:
    assert REMOVE_ALL_MESSAGES == ORIGINAL_REMOVE_ALL


@pytest.mark.parametrize("reducer", [add_messages, add_messages(), add_messages(format=None)])
def test_reduces_a_channel(reducer: Any) -> None:
    class State(TypedDict):
        messages: Annotated[list[Any], reducer]

    # Resolving the annotation needs a name in the module.
    State.__annotations__ = {"messages": Annotated[list[Any], reducer]}
    builder = StateGraph(State)
    builder.add_node("say", lambda state: {"messages": [("ai", "You said something")]})
    builder.add_edge(START, "say")
    with SwarmStateSaver() as saver:
        graph: Any = builder.compile(checkpointer=saver)
        config: Any = {"configurable": {"thread_id": "1"}}
        graph.invoke({"messages": ("user", "Hello")}, config)
        graph.update_state(config, {"messages": [("user", "Bye")]})
        said = graph.invoke({"messages": []}, config)["messages"]
    assert [each.content for each in said][:3] == ["Hello", "You said something", "Bye"]
    assert all(each.id for each in said)

"""What a turn adds to the store depends on the turn, not on the length of the conversation."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, RemoveMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.swarmstate import SwarmStateSaver, accelerate
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.message import add_messages
from swarmstate import Store

# The stored sizes of a message, and of a turn's two messages.
_TEXT = 400
_TURN = 2 * (_TEXT + 150)

Graph = Any
Turn = Callable[[Graph, int], None]
Shape = tuple[Callable[[BaseCheckpointSaver[Any]], Graph], Turn]

CONFIG: Any = {"configurable": {"thread_id": "ada"}}


def said(name: str) -> str:
    return (name * _TEXT)[:_TEXT]


def ask(graph: Graph, turn: int) -> None:
    question = HumanMessage(said(f"question {turn} "), id=f"question-{turn}")
    graph.invoke({"messages": [question]}, CONFIG)


def answer(state: Any) -> dict[str, Any]:
    turn = str(state["messages"][-1].id).partition("-")[2]
    return {"messages": [AIMessage(said(f"answer {turn} "), id=f"answer-{turn}")]}


def graph_of(schema: Any, node: Any) -> Callable[[BaseCheckpointSaver[Any]], Graph]:
    builder = StateGraph(schema)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    return lambda saver: builder.compile(checkpointer=saver)


def keep(before: list[AnyMessage], new: list[AnyMessage]) -> list[AnyMessage]:
    return [*before, *new][-50:]


class WindowState(TypedDict):
    messages: Annotated[list[AnyMessage], keep]


def reducer_keeps_the_last() -> Shape:
    return graph_of(WindowState, answer), ask


def node_removes_the_first() -> Shape:
    def node(state: MessagesState) -> dict[str, Any]:
        old = [RemoveMessage(id=str(each.id)) for each in state["messages"][:-39]]
        return {"messages": [*old, *answer(state)["messages"]]}

    return graph_of(MessagesState, node), ask


def subgraph(*, keeps: bool) -> Shape:
    inner = StateGraph(MessagesState)
    inner.add_node("answer", answer)
    inner.add_edge(START, "answer")
    return graph_of(MessagesState, inner.compile(checkpointer=keeps or None)), ask


def client_sends_everything() -> Shape:
    sent: dict[int, list[Any]] = {}

    def turn(graph: Graph, number: int) -> None:
        # Like a front end that keeps the conversation itself, one for each saver.
        history = sent.setdefault(id(graph), [])
        question = {"role": "user", "content": said(f"question {number} "), "id": f"q-{number}"}
        given = json.loads(json.dumps([*history, question]))
        messages = graph.invoke({"messages": given}, CONFIG)["messages"]
        roles = {"human": "user", "ai": "assistant"}
        history[:] = [{"role": roles[m.type], "content": m.content, "id": m.id} for m in messages]

    return graph_of(MessagesState, answer), turn


def tasks_return_the_list() -> Shape:
    @task
    def reply(messages: Any) -> Any:
        return add_messages(messages, answer({"messages": messages})["messages"])

    def build(saver: BaseCheckpointSaver[Any]) -> Graph:
        @entrypoint(checkpointer=saver)
        def chat(question: Any, *, previous: Any = None) -> Any:
            return reply(add_messages(previous or [], [question])).result()

        return chat

    def turn(graph: Graph, number: int) -> None:
        question = HumanMessage(said(f"question {number} "), id=f"question-{number}")
        graph.invoke(question, CONFIG)

    return build, turn


def merge(before: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    return {**before, **new}


class FilesState(TypedDict):
    files: Annotated[dict[str, Any], merge]
    turn: int


def line_of_a_long_file() -> Shape:
    def node(state: FilesState) -> dict[str, Any]:
        turn, files = state["turn"], state.get("files")
        if not files:
            return {"files": {"/long.md": {"lines": [said(f"{n} ")[:80] for n in range(1500)]}}}
        lines = list(files["/long.md"]["lines"])
        lines[turn * 37 % 1500] = said(f"edit {turn} ")[:80]
        # A model would generate the path, so it is not the same object as in the state.
        return {"files": {"".join(["/long", ".md"]): {"lines": lines}}}

    return graph_of(FilesState, node), lambda graph, turn: graph.invoke({"turn": turn}, CONFIG)


def text_of_a_file(*, deep: bool) -> Shape:
    def node(state: FilesState) -> dict[str, Any]:
        turn, files = state["turn"], state.get("files") or {}
        if turn < 10:
            text = "".join(paragraph(100 * turn + n) for n in range(50))
        else:
            file = files[f"/{turn % 3}.md"]
            text = correct(file["content"] if deep else file, turn)
        return {"files": {f"/{turn % 3}.md": {"content": text, "by": "ada"} if deep else text}}

    return graph_of(FilesState, node), lambda graph, turn: graph.invoke({"turn": turn}, CONFIG)


class TasksState(TypedDict):
    tasks: list[dict[str, Any]]
    turn: int


def item_of_a_long_list() -> Shape:
    def node(state: TasksState) -> dict[str, Any]:
        turn, tasks = state["turn"], state.get("tasks")
        if not tasks:
            return {"tasks": [{"title": said(f"{n} ")[:150], "done": -1} for n in range(1500)]}
        at = turn * 37 % 1500
        return {"tasks": [*tasks[:at], {**tasks[at], "done": turn}, *tasks[at + 1 :]]}

    return graph_of(TasksState, node), lambda graph, turn: graph.invoke({"turn": turn}, CONFIG)


class ReportState(TypedDict):
    report: Any
    turn: int


def report_of(start: Any, go_on: Callable[[Any, int], Any]) -> Shape:
    def node(state: ReportState) -> dict[str, Any]:
        return {"report": go_on(state.get("report") or start, state["turn"])}

    return graph_of(ReportState, node), lambda graph, turn: graph.invoke({"turn": turn}, CONFIG)


def paragraph(turn: int) -> str:
    return "".join(random.Random(turn).choices("abcdefgh ", k=_TEXT))


def correct(text: str, turn: int) -> str:
    at = turn * 3_701 % len(text)
    return text[:at] + paragraph(turn) + text[at + _TEXT :]


def history(graph: Graph) -> list[Any]:
    return [
        (state.values, state.next, state.metadata["step"])
        for state in graph.get_state_history(CONFIG)
    ]


@pytest.mark.parametrize(
    ("shape", "most"),
    [
        pytest.param(reducer_keeps_the_last(), 12 * _TURN, id="the last 50 messages"),
        pytest.param(node_removes_the_first(), 14 * _TURN, id="the last 40, by RemoveMessage"),
        pytest.param(subgraph(keeps=False), 30 * _TURN, id="messages of a subgraph"),
        pytest.param(subgraph(keeps=True), 30 * _TURN, id="messages of a subgraph that keeps them"),
        pytest.param(client_sends_everything(), 25 * _TURN, id="messages that a client keeps"),
        pytest.param(tasks_return_the_list(), 12 * _TURN, id="lists that tasks return"),
        pytest.param(line_of_a_long_file(), 25_000, id="a line of a long file"),
        pytest.param(item_of_a_long_list(), 30_000, id="an item of a long list"),
        pytest.param(text_of_a_file(deep=False), 8_000, id="the text of a file"),
        pytest.param(text_of_a_file(deep=True), 8_000, id="the text of a file and more of it"),
        pytest.param(
            report_of("", lambda report, turn: report + paragraph(turn)),
            6_000,
            id="a text that is continued",
        ),
        pytest.param(
            report_of("".join(map(paragraph, range(250))), correct),
            11_000,
            id="a text of 100 KB that is corrected",
        ),
        pytest.param(
            report_of(b"", lambda report, turn: report + paragraph(turn).encode()),
            6_000,
            id="bytes that are continued",
        ),
        pytest.param(
            report_of({}, lambda report, turn: {**report, turn: paragraph(turn)}),
            8_000,
            id="a dict whose keys are no texts",
        ),
    ],
)
def test_a_turn_adds_a_part_of_the_state(shape: Shape, most: int) -> None:
    build, turn = shape
    store = Store()
    graph, reference = build(SwarmStateSaver(store)), build(InMemorySaver())
    sizes = []
    # Without this, a thread may store a write after the next checkpoint; such a write shares
    # nothing.
    with accelerate("saving"):
        for number in range(120):
            turn(graph, number)
            turn(reference, number)
            sizes.append(store.snapshot().size_bytes)
    assert (sizes[-1] - sizes[79]) // 40 <= most
    assert history(graph) == history(reference)
    assert history(build(SwarmStateSaver(store))) == history(reference)

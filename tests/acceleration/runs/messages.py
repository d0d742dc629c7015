"""Runs of graphs whose state is messages, and of channels with special updates."""

from __future__ import annotations

import operator
from typing import Annotated, Any

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage
from langgraph.checkpoint.swarmstate.testing import graphs
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES, add_messages
from langgraph.types import Overwrite
from typing_extensions import TypedDict

from tests.acceleration.runs.runner import Runner, registered, say


def talk(run: Runner, *replies: str) -> Any:
    model = GenericFakeChatModel(messages=iter([AIMessage(reply) for reply in replies]))

    def agent(state: MessagesState) -> dict[str, Any]:
        run.note("asked with", len(state["messages"]))
        return {"messages": [model.invoke(state["messages"])]}

    def route(state: MessagesState) -> str:
        return END if len(state["messages"]) % 3 == 0 else "agent"

    builder = StateGraph(MessagesState)
    builder.add_node("agent", agent)
    builder.add_edge(START, "agent")
    builder.add_conditional_edges("agent", route, ["agent", END])
    return builder.compile(checkpointer=run.saver)


@registered
def _agent(run: Runner) -> Any:
    graph = graphs.agent(run.saver, run.noted)
    for turn in range(3):
        run.invoke(graph, {"messages": [HumanMessage(f"question {turn}", id=f"h{turn}")]})
    run.stream(graph, {"messages": [("user", "streamed"), {"role": "user", "content": "dict"}]})
    return graph


@registered
def _messages_without_ids(run: Runner) -> Any:
    graph = talk(run, "one two", "three", "four", "five six", "seven", "eight")
    run.stream(graph, say("hello"))
    run.stream(graph, say("again"), ["messages", "updates"])
    return graph


@registered
def _content_in_blocks(run: Runner) -> Any:
    graph = talk(run, "seen", "done", "over", "out")
    blocks: list[Any] = [
        {"type": "text", "text": "look"},
        {"type": "image", "base64": "aGk=", "mime_type": "image/png"},
        {"type": "file", "source_type": "base64", "data": "aGk=", "mime_type": "a/b"},
    ]
    run.invoke(graph, {"messages": [HumanMessage(blocks, id="blocks")]})
    return graph


@registered
def _message_edits(run: Runner) -> Any:
    edits: list[Any] = [
        [AIMessage("new", id="a")],
        [AIMessage("changed", id="a"), AIMessage("b", id="b")],
        [RemoveMessage(id="a")],
        Overwrite([HumanMessage("only", id="o")]),
        [RemoveMessage(id=REMOVE_ALL_MESSAGES), AIMessage("rest", id="r")],
        [RemoveMessage(id="unknown")],
    ]

    def edit(state: Any) -> Any:
        return {"messages": edits.pop(0)}

    builder = StateGraph(MessagesState)
    builder.add_node("edit", edit)
    builder.add_edge(START, "edit")
    graph = builder.compile(checkpointer=run.saver)
    while edits:
        run.invoke(graph, say("go"))
    return graph


@registered
def _overwrites(run: Runner) -> Any:
    class State(TypedDict):
        log: Annotated[list[str], operator.add]
        messages: Annotated[list[Any], add_messages(format="langchain-openai")]

    def over(state: State) -> Any:
        return {"log": Overwrite(["over"]), "messages": [("ai", "formatted")]}

    def more(state: State) -> Any:
        return {"log": ["more"]}

    def twice(state: State) -> Any:
        return {"log": {"__overwrite__": ["twice"]}}

    builder = StateGraph(State)
    for node in (over, more, twice):
        builder.add_node(node.__name__, node)
    builder.add_edge(START, "over")
    builder.add_edge("over", "more")
    builder.add_conditional_edges(
        "more", lambda state: ["over", "twice"] if len(state["log"]) < 9 else END, ["over", "twice"]
    )
    graph = builder.compile(checkpointer=run.saver)
    run.invoke(graph, {"log": ["given"]})
    return graph


@registered
def _overwrites_beside_others(run: Runner) -> Any:
    builder = StateGraph(graphs.PlainState)
    builder.add_node("a", lambda state: {"log": ["before, which is lost"]})
    builder.add_node("b", lambda state: {"log": Overwrite(["over"])})
    builder.add_node("c", lambda state: {"log": ["after, which is lost, too"]})
    for node in ("a", "b", "c"):
        builder.add_edge(START, node)
    graph = builder.compile(checkpointer=run.saver)
    run.invoke(graph, {"n": 1, "log": ["given"]})
    return graph


@registered
def _delta_channels(run: Runner) -> Any:
    graph = graphs.delta_log(run.saver)
    for n in range(9):
        run.invoke(graph, {"n": n}, durability="exit" if n % 4 == 3 and run.saver else None)
    return graph

"""Small real graphs, with an offline model, for testing savers.

Nodes note their runs in a list that the caller passes, so that a test sees which
ran again.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Annotated, Any

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.runnables.config import RunnableConfig, set_config_context
from langgraph.cache.memory import InMemoryCache
from langgraph.channels import DeltaChannel, EphemeralValue
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import CachePolicy, Send, interrupt
from typing_extensions import TypedDict

__all__ = [
    "DeltaState",
    "PlainState",
    "agent",
    "approval",
    "cached_counter",
    "counter",
    "delta_log",
    "fan_out",
    "nested",
    "noting",
    "once",
    "plain_log",
]

Saver = BaseCheckpointSaver[Any] | None


def agent(saver: Saver, calls: list[str] | None = None, tool_rounds: int = 2) -> Any:
    """Return a tool-calling agent: `tool_rounds` calls of a tool, then an answer.

    The scripted model derives its replies from the messages alone.
    """
    noted = [] if calls is None else calls

    def model(state: MessagesState) -> dict[str, Any]:
        messages = state["messages"]
        turn = sum(isinstance(m, HumanMessage) for m in messages)
        last_human = max(n for n, m in enumerate(messages) if isinstance(m, HumanMessage))
        rounds = sum(isinstance(m, AIMessage) for m in messages[last_human:])
        noted.append(f"model {turn}.{rounds}")
        name = f"{turn}.{rounds}"
        if rounds < tool_rounds:
            call = {"name": "look_up", "args": {"query": name}, "id": f"call-{name}"}
            reply = AIMessage("", tool_calls=[call], id=f"ai-{name}")
        else:
            reply = AIMessage(f"answer {turn} after {len(messages)} messages", id=f"ai-{name}")
        return {"messages": [reply]}

    def tools(state: MessagesState) -> dict[str, Any]:
        last = state["messages"][-1]
        assert isinstance(last, AIMessage)
        call = last.tool_calls[0]
        noted.append(f"tool {call['args']['query']}")
        found = f"found {call['args']['query']} " * 10
        return {"messages": [ToolMessage(found, tool_call_id=call["id"], id=f"t-{call['id']}")]}

    def route(state: MessagesState) -> str:
        last = state["messages"][-1]
        return "tools" if isinstance(last, AIMessage) and last.tool_calls else END

    builder = StateGraph(MessagesState)
    builder.add_node("model", model)
    builder.add_node("tools", tools)
    builder.add_edge(START, "model")
    builder.add_conditional_edges("model", route, ["tools", END])
    builder.add_edge("tools", "model")
    return builder.compile(checkpointer=saver)


class PlainState(TypedDict):
    """A log that grows, and a number that is replaced."""

    log: Annotated[list[str], operator.add]
    n: int


def counter(saver: Saver, steps: int = 3, calls: list[str] | None = None) -> Any:
    """Return a graph that counts up, one superstep per step."""
    noted = [] if calls is None else calls

    def count(state: PlainState) -> dict[str, Any]:
        noted.append(f"count {state['n'] + 1}")
        return {"n": state["n"] + 1, "log": [f"count {state['n'] + 1}"]}

    def route(state: PlainState) -> str:
        return END if state["n"] % steps == 0 else "count"

    builder = StateGraph(PlainState)
    builder.add_node("count", count)
    builder.add_edge(START, "count")
    builder.add_conditional_edges("count", route, ["count", END])
    return builder.compile(checkpointer=saver)


def noting(saver: Saver, *fields: str) -> Any:
    """Return a graph with a node that appends to `fields`, which are lists without a reducer."""

    def note(state: Any) -> dict[str, list[str]]:
        notes = {field: state.get(field, []) for field in fields}
        return {field: [*noted, f"{field} {len(noted)}"] for field, noted in notes.items()}

    state: Any = TypedDict("State", dict.fromkeys(fields, list[str]))  # type: ignore[misc]  # made here
    builder = StateGraph(state)
    builder.add_node("note", note)
    builder.add_edge(START, "note")
    return builder.compile(checkpointer=saver)


class _OnceState(TypedDict):
    log: Annotated[list[str], operator.add]
    once: Annotated[str, EphemeralValue(str)]


def once(saver: Saver) -> Any:
    """Return a graph of three nodes; only the first one sees the input's `once`."""

    def see(state: _OnceState) -> dict[str, Any]:
        return {"log": [state.get("once", "")]}

    builder = StateGraph(_OnceState)
    for name, before in (("first", START), ("second", "first"), ("third", "second")):
        builder.add_node(name, see)
        builder.add_edge(before, name)
    return builder.compile(checkpointer=saver)


def cached_counter(saver: Saver, calls: list[str] | None = None) -> Any:
    """Return a graph that counts up in a cached node and then in an uncached one."""
    noted = [] if calls is None else calls

    def counting(name: str) -> Any:
        def count(state: PlainState) -> dict[str, Any]:
            noted.append(f"{name} {state['n'] + 1}")
            return {"n": state["n"] + 1, "log": [name]}

        return count

    builder = StateGraph(PlainState)
    builder.add_node("cached", counting("cached"), cache_policy=CachePolicy())
    builder.add_node("after", counting("after"))
    builder.add_edge(START, "cached")
    builder.add_edge("cached", "after")
    return builder.compile(checkpointer=saver, cache=InMemoryCache())


def plain_log(saver: Saver) -> Any:
    """Return a graph whose nodes log `n`; its log is a plain channel."""
    return _log(PlainState, saver)


def _add_all(state: list[str], writes: Sequence[list[str]]) -> list[str]:
    return [*state, *(item for write in writes for item in write)]


class DeltaState(TypedDict):
    """`PlainState` with the log in a `DeltaChannel`, with a snapshot every 7 updates."""

    log: Annotated[list[str], DeltaChannel(_add_all, snapshot_frequency=7)]
    n: int


def delta_log(saver: Saver) -> Any:
    """Return `plain_log` with the log in a `DeltaChannel`."""
    return _log(DeltaState, saver)


def _log(state: Any, saver: Saver) -> Any:
    def note(state: Any) -> dict[str, Any]:
        return {"log": [f"note {state['n']}"]}

    def left(state: Any) -> dict[str, Any]:
        return {"log": [f"left {state['n']}"]}

    def right(state: Any) -> dict[str, Any]:
        return {"log": [f"right {state['n']}"]}

    builder = StateGraph(state)
    builder.add_node("note", note)
    builder.add_node("right", right)
    builder.add_node("left", left)
    builder.add_edge(START, "note")
    builder.add_edge("note", "right")
    builder.add_edge("note", "left")
    return builder.compile(checkpointer=saver)


class _FanState(TypedDict):
    items: list[int]
    results: Annotated[list[str], operator.add]
    answer: str


class _Item(TypedDict):
    item: int


def fan_out(
    saver: Saver,
    calls: list[str],
    *,
    asks: frozenset[int] = frozenset(),
    fails: set[int] | None = None,
) -> Any:
    """Return a graph that sends each of `items` to its own worker.

    Workers of items in `asks` interrupt and use the answer. Workers of items in
    `fails`, which may change between runs, raise `ValueError`.
    """
    failing = set() if fails is None else fails

    def plan(state: _FanState) -> dict[str, Any]:
        calls.append("plan")
        return {}

    def send(state: _FanState) -> list[Send]:
        return [Send("work", {"item": item}) for item in state["items"]]

    def work(state: _Item, config: RunnableConfig) -> dict[str, Any]:
        item = state["item"]
        if item in failing:
            raise ValueError(f"item {item} fails")
        answer = _ask({"about": item}, config) if item in asks else "done"
        calls.append(f"work {item}")
        return {"results": [f"{item}: {answer}"]}

    def join(state: _FanState) -> dict[str, Any]:
        calls.append("join")
        return {"answer": ", ".join(state["results"])}

    builder = StateGraph(_FanState)
    builder.add_node("plan", plan)
    builder.add_node("work", work)
    builder.add_node("join", join)
    builder.add_edge(START, "plan")
    builder.add_conditional_edges("plan", send, ["work"])
    builder.add_edge("work", "join")
    return builder.compile(checkpointer=saver)


def approval(saver: Saver, calls: list[str]) -> Any:
    """Return a graph whose one node asks two questions in turn."""

    def ask(state: PlainState, config: RunnableConfig) -> dict[str, Any]:
        first = _ask({"ask": "first", "n": state["n"]}, config)
        second = _ask(f"second, after {first}", config)
        calls.append("asked")
        return {"log": [f"{first} and {second}"]}

    builder = StateGraph(PlainState)
    builder.add_node("ask", ask)
    builder.add_edge(START, "ask")
    return builder.compile(checkpointer=saver)


class _InnerState(TypedDict):
    n: int
    trace: Annotated[list[str], operator.add]


class _OuterState(TypedDict):
    n: int
    log: Annotated[list[str], operator.add]
    trace: list[str]


def nested(saver: Saver, calls: list[str], *, own: bool | None = None, asks: bool = False) -> Any:
    """Return a graph with a subgraph of two nodes, the second of which may interrupt.

    `own` is the `checkpointer` of the subgraph: None inherits the saver, True keeps
    the state across calls, False has none.
    """

    def first(state: _InnerState) -> dict[str, Any]:
        calls.append("first")
        return {"trace": [f"first {state['n']}"]}

    def second(state: _InnerState, config: RunnableConfig) -> dict[str, Any]:
        answer = _ask("go on?", config) if asks else "unasked"
        calls.append("second")
        return {"trace": [f"second {answer}"]}

    inner = StateGraph(_InnerState)
    inner.add_node("first", first)
    inner.add_node("second", second)
    inner.add_edge(START, "first")
    inner.add_edge("first", "second")

    def before(state: _OuterState) -> dict[str, Any]:
        calls.append("before")
        return {"n": state["n"] + 1, "trace": []}

    def aside(state: _OuterState) -> dict[str, Any]:
        calls.append("aside")
        return {"log": ["aside"]}

    outer = StateGraph(_OuterState)
    outer.add_node("before", before)
    outer.add_node("inner", inner.compile(checkpointer=own))
    outer.add_node("aside", aside)
    outer.add_edge(START, "before")
    outer.add_edge("before", "inner")
    outer.add_edge("before", "aside")
    return outer.compile(checkpointer=saver)


def _ask(question: object, config: RunnableConfig) -> Any:
    """Interrupt with a question, or return its answer, even on Python 3.10.

    There, tasks of an event loop do not accept a context, and `interrupt` finds no config.
    """
    with set_config_context(config) as context:
        return context.run(interrupt, question)

"""Handoff graphs in LangGraph: as edges, as nodes, and before a swarm's models."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.checkpoint.swarmstate import HandoffRouter, SwarmStateSaver
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, interrupt
from swarmstate import HandoffGraph
from swarmstate.errors import GraphError
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    topic: str
    active_agent: str
    by: str


def rules(on_cycle: Any = "error") -> HandoffGraph:
    graph = HandoffGraph(on_cycle=on_cycle)
    for name in ("triage", "billing", "lamps"):
        graph.add_node(name)
    graph.add_edge("triage", "billing", when="topic == 'invoice'")
    graph.add_edge("triage", "lamps", when="startswith(topic, 'lamp')")
    return graph


def built(add: Any) -> Any:
    builder = StateGraph(State)
    for name in ("billing", "lamps"):
        builder.add_node(name, lambda state, name=name: {"by": name})
    add(builder)
    return builder.compile()


def as_edge(builder: Any) -> None:
    builder.add_node("triage", lambda state: {})
    builder.add_edge(START, "triage")
    builder.add_conditional_edges("triage", rules().as_router("triage"), ["billing", "lamps", END])


def as_node(builder: Any) -> None:
    builder.add_node("triage", rules().as_node("triage"))
    builder.add_edge(START, "triage")


@pytest.mark.parametrize("add", [as_edge, as_node])
@pytest.mark.parametrize(
    ("topic", "by"), [("invoice", "billing"), ("lamps", "lamps"), ("none", None)]
)
def test_routes_a_run(add: Any, topic: str, by: str | None) -> None:
    graph = built(add)
    assert graph.invoke({"topic": topic}).get("by") == by
    assert asyncio.run(graph.ainvoke({"topic": topic})).get("by") == by


def test_a_node_goes_on_where_it_is_told_if_no_edge_is_taken() -> None:
    def add(builder: Any) -> None:
        builder.add_node("triage", rules().as_node("triage", end="lamps"))
        builder.add_edge(START, "triage")

    assert built(add).invoke({"topic": "none"})["by"] == "lamps"


def test_several_rules_route_from_one_node() -> None:
    branches = HandoffGraph()
    for node in ("by topic", "by urgency", "billing", "person"):
        branches.add_node(node)
    branches.add_edge("by topic", "billing", when="topic == 'invoice'")
    branches.add_edge("by urgency", "person", when="startswith(topic, 'in')")
    builder: Any = StateGraph(State)
    builder.add_node("triage", lambda state: {})
    builder.add_node("billing", lambda state: {"by": "billing"})
    builder.add_node("person", lambda state: {"active_agent": "person"})
    builder.add_edge(START, "triage")
    for node in ("by topic", "by urgency"):
        builder.add_conditional_edges("triage", branches.as_router(node))
    found = builder.compile().invoke({"topic": "invoice"})
    assert (found["by"], found["active_agent"]) == ("billing", "person")


def test_rules_come_before_the_model() -> None:
    asked = []

    def model(state: State) -> Command[Any]:
        asked.append(state["topic"])
        return Command(goto="lamps", update={"active_agent": "lamps"})

    router = HandoffRouter(rules(), default="triage", fallback=model)

    def add(builder: Any) -> None:
        builder.add_node("router", router.node)
        builder.add_edge(START, "router")

    graph = built(add)
    assert graph.invoke({"topic": "invoice"}) == {
        "topic": "invoice",
        "active_agent": "billing",
        "by": "billing",
    }
    assert graph.invoke({"topic": "odd"})["by"] == "lamps"
    assert graph.invoke({"topic": "invoice", "active_agent": "lamps"})["by"] == "lamps"
    assert asked == ["odd", "invoice"]
    assert (router.by_rule, router.by_fallback) == (1, 2)


class Model:
    async def __call__(self, state: State) -> Command[Any]:
        return await ask(state)


async def ask(state: State) -> Command[Any]:
    await asyncio.sleep(0)
    return Command(goto="lamps")


def behind(router: HandoffRouter) -> Any:
    def add(builder: Any) -> None:
        builder.add_node("router", router.node)
        builder.add_edge(START, "router")

    return built(add)


@pytest.mark.parametrize("model", [ask, Model()])
def test_a_coroutine_as_the_fallback(model: Any) -> None:
    router = HandoffRouter(rules(), default="triage", fallback=model)
    graph = behind(router)
    assert asyncio.run(graph.ainvoke({"topic": "odd"}))["by"] == "lamps"
    assert asyncio.run(graph.ainvoke({"topic": "invoice"}))["by"] == "billing"
    assert (router.by_rule, router.by_fallback) == (1, 1)


def with_runtime(state: State, runtime: Runtime[Any]) -> Command[Any]:
    assert runtime.execution_info is not None
    return Command(goto="lamps")


async def with_config(state: State, config: RunnableConfig) -> Command[Any]:
    assert config["configurable"]["thread_id"] == "1"
    return Command(goto="lamps")


def desk() -> Any:
    """A subgraph that asks a person, and hands off in its parent graph."""

    def ask_person(state: State) -> Command[Any]:
        return Command(goto=interrupt("who?"), graph=Command.PARENT)

    builder = StateGraph(State)
    builder.add_node("ask", ask_person)
    builder.add_edge(START, "ask")
    return builder.compile()


@pytest.mark.parametrize(
    "fallback", [with_runtime, with_config, RunnableLambda(lambda _: Command(goto="lamps"))]
)
def test_a_fallback_is_given_what_a_node_is_given(fallback: Any) -> None:
    router = HandoffRouter(rules(), default="triage", fallback=fallback)
    thread = {"configurable": {"thread_id": "1"}}
    found = asyncio.run(behind(router).ainvoke({"topic": "odd"}, thread))
    assert found["by"] == "lamps"
    assert (router.by_rule, router.by_fallback) == (0, 1)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_graph_as_the_fallback(is_async: bool) -> None:
    builder = StateGraph(State)
    builder.add_node("router", HandoffRouter(rules(), default="triage", fallback=desk()).node)
    builder.add_edge(START, "router")
    for name in ("billing", "lamps"):
        builder.add_node(name, lambda state, name=name: {"by": name})
    graph: Any = builder.compile(checkpointer=SwarmStateSaver())
    thread = {"configurable": {"thread_id": "1"}}

    def run(given: Any) -> Any:
        if is_async:
            return asyncio.run(graph.ainvoke(given, thread))
        return graph.invoke(given, thread)

    assert run({"topic": "odd"})["__interrupt__"][0].value == "who?"
    assert run(Command(resume="lamps"))["by"] == "lamps"


def test_what_is_no_node_is_no_fallback() -> None:
    number: Any = 5
    with pytest.raises(TypeError, match="int"):
        HandoffRouter(rules(), default="triage", fallback=number)


def test_a_rule_that_ends_the_run_does_not_end_the_conversation() -> None:
    graph = rules()
    graph.add_node(END)
    graph.add_edge("triage", END, when="topic == 'bye'", priority=1)
    router = HandoffRouter(graph, default="triage")

    def add(builder: Any) -> None:
        builder.add_node("router", router)
        builder.add_edge(START, "router")

    compiled = built(add)
    state = compiled.invoke({"topic": "bye"})
    assert "active_agent" not in state
    assert compiled.invoke({**state, "topic": "invoice"})["by"] == "billing"


@pytest.mark.parametrize(("fallback", "goes_to"), [(None, "triage"), ("lamps", "lamps")])
def test_fallback_to_a_node(fallback: str | None, goes_to: str) -> None:
    router = HandoffRouter(rules(), default="triage", fallback=fallback)
    assert router({"topic": "odd"}) == Command(goto=goes_to)


@pytest.mark.parametrize("fallback", ["lamps", lambda _: Command(goto="lamps")])
def test_an_agent_without_rules_is_one_for_the_fallback(fallback: Any) -> None:
    router = HandoffRouter(rules(), default="triage", fallback=fallback)
    assert behind(router).invoke({"topic": "invoice", "active_agent": "ada"})["by"] == "lamps"
    assert (router.by_rule, router.by_fallback) == (0, 1)


def test_an_unknown_agent_is_an_error_without_a_fallback() -> None:
    with pytest.raises(GraphError, match="nobody"):
        HandoffRouter(rules(), default="nobody")
    router = HandoffRouter(rules(), default="triage")
    with pytest.raises(GraphError, match="nobody"):
        router({"active_agent": "nobody"})


@pytest.mark.parametrize(
    ("missing", "code"),
    [
        ("langgraph.types", "graph.as_node('a')"),
        ("langgraph.graph", "HandoffRouter(graph, default='a', fallback=print)"),
        ("langgraph.graph", "add_messages([], None)"),
    ],
)
def test_langgraph_is_asked_for_where_it_is_needed(missing: str, code: str) -> None:
    # A checkpointer does not depend on LangGraph itself, so it may be missing.
    script = (
        f"import sys; sys.modules['{missing}'] = None\n"
        "from langgraph.checkpoint.swarmstate import HandoffRouter, add_messages\n"
        "from swarmstate import HandoffGraph\n"
        "graph = HandoffGraph()\n"
        "graph.add_node('a')\n"
        "try:\n"
        f"    {code}\n"
        "except ModuleNotFoundError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.rstrip().endswith("run: pip install langgraph")

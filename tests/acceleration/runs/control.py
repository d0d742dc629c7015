"""Runs with special control flow: parallel tasks, interrupts, subgraphs, commands, errors."""

from __future__ import annotations

import operator
from typing import Annotated, Any

from langgraph.checkpoint.swarmstate.testing import graphs
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, RetryPolicy, Send
from typing_extensions import TypedDict

from tests.acceleration.runs.runner import Runner, registered, say


@registered
def _fan_out(run: Runner) -> Any:
    calls: list[str] = []
    graph = graphs.fan_out(run.saver, calls)
    run.invoke(graph, {"items": [3, 1, 2]})
    run.note(sorted(calls))
    return graph


@registered
def _questions_to_parallel_tasks(run: Runner) -> Any:
    if run.saver is None:
        return None
    calls: list[str] = []
    failing = {5}
    graph = graphs.fan_out(run.saver, calls, asks=frozenset({1, 3}), fails=failing)
    result = run.driver.invoke(graph, {"items": [1, 2, 3]}, run.config)
    # LangGraph returns interrupts in no particular order.
    run.note(sorted(each.value["about"] for each in result["__interrupt__"]))
    asked = run.driver.state(graph, run.config).interrupts
    run.invoke(graph, Command(resume={each.id: f"to {each.value['about']}" for each in asked}))
    run.note(sorted(calls))
    return graph


@registered
def _two_questions(run: Runner) -> Any:
    if run.saver is None:
        return None
    graph = graphs.approval(run.saver, run.noted)
    run.stream(graph, {"n": 1})
    run.stream(graph, Command(resume="first"))
    run.invoke(graph, Command(resume="second"))
    return graph


@registered
def _breakpoints(run: Runner) -> Any:
    if run.saver is None:
        return None
    graph = graphs.agent(run.saver, run.noted)
    run.stream(graph, say("stop"), interrupt_before=["tools"])
    run.stream(graph, None, interrupt_after=["tools"])
    run.invoke(graph, None)
    return graph


@registered
def _subgraphs(run: Runner) -> Any:
    graph = graphs.nested(run.saver, [], asks=run.saver is not None)
    run.invoke(graph, {"n": 1})
    if run.saver is not None:
        run.note(run.driver.state(graph, run.config, subgraphs=True))
        run.invoke(graph, Command(resume="yes"))
    return graph


@registered
def _streamed_subgraph(run: Runner) -> Any:
    class Inner(TypedDict):
        n: int

    def inside(state: Inner, writer: Any = None) -> Any:
        return {"n": state["n"] + 1}

    inner = StateGraph(Inner).add_node("inside", inside).add_edge(START, "inside").compile()
    builder = StateGraph(Inner)
    builder.add_node("inner", inner)
    builder.add_node("after", inside)
    builder.add_edge(START, "inner")
    builder.add_edge("inner", "after")
    graph = builder.compile(checkpointer=run.saver)
    run.stream(graph, {"n": 1}, ["values", "updates", "tasks"], subgraphs=True)
    return graph


@registered
def _commands(run: Runner) -> Any:
    class State(TypedDict):
        log: Annotated[list[str], operator.add]

    def inside(state: State) -> Command[Any]:
        return Command(graph=Command.PARENT, goto="last", update={"log": ["from inside"]})

    inner = StateGraph(State).add_node("inside", inside).add_edge(START, "inside").compile()

    def first(state: State) -> Command[Any]:
        return Command(goto=["inner", Send("aside", {"log": ["sent"]})], update={"log": ["first"]})

    builder = StateGraph(State)
    builder.add_node("first", first, destinations=("inner", "aside"))
    builder.add_node("inner", inner)
    builder.add_node("aside", lambda state: {"log": [f"aside {state['log']}"]})
    builder.add_node("last", lambda state: {"log": ["last"]})
    builder.add_edge(START, "first")
    graph = builder.compile(checkpointer=run.saver)
    run.invoke(graph, {"log": []})
    return graph


@registered
def _retries(run: Runner) -> Any:
    attempts: list[int] = []

    def shaky(state: Any, runtime: Runtime[Any]) -> Any:
        info = runtime.execution_info
        assert info is not None
        assert info.node_first_attempt_time is not None
        attempts.append(info.node_attempt)
        if len(attempts) % 3:
            raise ValueError(f"attempt {len(attempts)}")
        return {"n": state["n"] + len(attempts)}

    builder = StateGraph(graphs.PlainState)
    policy = RetryPolicy(initial_interval=0.0, jitter=False, retry_on=ValueError)
    builder.add_node("shaky", shaky, retry_policy=policy)
    builder.add_edge(START, "shaky")
    graph = builder.compile(checkpointer=run.saver)
    run.stream(graph, {"n": 1}, ["values", "updates", "tasks"])
    run.note(attempts)
    return graph


@registered
def _errors(run: Runner) -> Any:
    failing = {1}

    def fails(state: Any) -> Any:
        if failing:
            raise KeyError("no luck")
        return {"log": ["lucky"]}

    builder = StateGraph(graphs.PlainState)
    builder.add_node("before", lambda state: {"log": ["before"]})
    builder.add_node("fails", fails)
    builder.add_edge(START, "before")
    builder.add_edge("before", "fails")
    graph = builder.compile(checkpointer=run.saver)
    run.stream(graph, {"n": 1, "log": []})
    failing.clear()
    if run.saver is not None:
        run.stream(graph, None)
    run.invoke(graph, {"n": 2}, {**run.config, "recursion_limit": 1})
    run.invoke(graph, None if run.saver is None else {})
    return graph


@registered
def _error_handlers(run: Runner) -> Any:
    def fails(state: Any) -> Any:
        raise KeyError("no luck")

    def handler(state: Any, error: Any) -> Any:
        return {"log": [f"handled {error}"]}

    builder = StateGraph(graphs.PlainState)
    builder.add_node("fails", fails, error_handler=handler)
    builder.add_edge(START, "fails")
    graph = builder.compile(checkpointer=run.saver)
    run.invoke(graph, {"n": 1, "log": []})
    return graph

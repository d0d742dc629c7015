"""Runs of other kinds of nodes and state, invoked in other ways, and what nodes receive."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable
from typing import Annotated, Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import RunnableConfig
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.swarmstate.testing import graphs
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.store.memory import InMemoryStore
from langgraph.types import CachePolicy, Command, Overwrite, interrupt
from pydantic import BaseModel

from tests.acceleration.runs.runner import Runner, registered, say


@registered
def _schemas(run: Runner) -> Any:
    class Model(BaseModel):
        n: int
        log: Annotated[list[str], operator.add] = []

    @dataclasses.dataclass
    class Data:
        n: int
        log: Annotated[list[str], operator.add] = dataclasses.field(default_factory=list)

    graph: Any = None
    for schema in (Model, Data):

        def step(state: Any) -> Any:
            run.note(state)
            return {"n": state.n + 1, "log": [type(state).__name__]}

        builder: Any = StateGraph(schema)
        builder.add_node("step", step)
        builder.add_edge(START, "step")
        builder.add_conditional_edges(
            "step", lambda state: END if state.n > 3 else "step", ["step", END]
        )
        graph = builder.compile(checkpointer=run.saver)
        run.invoke(graph, {"n": 1})
        run.invoke(graph, {"n": "x"})
    return graph


@registered
def _deferred(run: Runner) -> Any:
    builder = StateGraph(graphs.PlainState)
    for name in ("short", "long", "longer"):
        builder.add_node(name, lambda state, name=name: {"log": [name]})
    builder.add_node("join", lambda state: {"log": [f"join {len(state['log'])}"]}, defer=True)
    builder.add_edge(START, "short")
    builder.add_edge(START, "long")
    builder.add_edge("long", "longer")
    builder.add_edge("short", "join")
    builder.add_edge("longer", "join")
    graph = builder.compile(checkpointer=run.saver)
    run.invoke(graph, {"n": 1, "log": []})
    return graph


@registered
def _time_travel(run: Runner) -> Any:
    if run.saver is None:
        return None
    graph = graphs.counter(run.saver, 3, run.noted)
    run.invoke(graph, {"n": 0})
    history = run.driver.history(graph, run.config)
    run.invoke(graph, None, history[2].config)
    fork = run.driver.update(graph, history[1].config, {"n": 7, "log": ["forked"]})
    run.invoke(graph, None, fork)
    run.driver.update(graph, run.config, {"log": ["as"]}, as_node="count")
    return graph


@registered
def _durabilities(run: Runner) -> Any:
    if run.saver is None:
        return None
    for durability in ("sync", "async", "exit"):
        graph = graphs.agent(run.saver, run.noted)
        run.stream(graph, say(durability), ["values"], durability=durability)
    return graph


@registered
def _functions(run: Runner) -> Any:
    @task
    def double(n: int) -> int:
        return 2 * n

    def inside(n: int, *, previous: Any = None) -> Any:
        run.note(previous)
        answers = [future.result() for future in [double(n), double(n + 1)]]
        if run.saver is not None:
            answers.append(interrupt("more?"))
        return entrypoint.final(value=answers, save=[previous, n])

    graph = entrypoint(checkpointer=run.saver)(inside)
    run.invoke(graph, 2)
    if run.saver is not None:
        run.invoke(graph, Command(resume=9))
        run.invoke(graph, 5)
        run.invoke(graph, Command(resume=8))
    return graph


@registered
def _caches(run: Runner) -> Any:
    calls: list[int] = []

    def slow(state: Any) -> Any:
        calls.append(state["n"])
        return {"log": [f"slow {state['n']}"]}

    builder = StateGraph(graphs.PlainState)
    builder.add_node("slow", slow, cache_policy=CachePolicy())
    builder.add_edge(START, "slow")
    graph = builder.compile(checkpointer=run.saver, cache=InMemoryCache())
    for _ in range(2):
        run.stream(graph, {"n": 1, "log": Overwrite([])}, ["updates", "values"])
    run.note(calls)
    return graph


@registered
def _what_nodes_are_given(run: Runner) -> Any:
    store = InMemoryStore()

    def look(state: Any, config: RunnableConfig, runtime: Runtime[Any]) -> Any:
        hidden = {key for key in config["configurable"] if key.startswith("__pregel")}
        shown = {k: v for k, v in config["configurable"].items() if k not in hidden}
        manager: Any = config["callbacks"]
        run.note(
            {k: v for k, v in config.items() if k not in {"configurable", "callbacks"}},
            shown,
            sorted(hidden),
            {key: value for key, value in vars(manager).items() if "handlers" not in key},
            len(manager.handlers),
            len(manager.inheritable_handlers),
        )
        info = runtime.execution_info
        assert info is not None
        run.note(
            runtime.context,
            runtime.previous,
            runtime.store is store,
            {**dataclasses.asdict(info), "node_first_attempt_time": 0},
        )
        runtime.stream_writer({"wrote": state["n"]})
        return {"n": state["n"] + 1}

    builder: Any = StateGraph(graphs.PlainState, context_schema=dict)
    builder.add_node("look", look, metadata={"of": "the node"})
    builder.add_edge(START, "look")
    graph = builder.compile(checkpointer=run.saver, store=store)
    run.stream(graph, {"n": 1, "log": []}, ["custom", "updates"], context={"user": "ada"})
    run.invoke(graph, {"n": 3}, {"configurable": {"thread_id": "t"}, "tags": ["other"]})
    handler = _Handler(run.note)
    run.invoke(graph, {"n": 2}, {**run.config, "callbacks": [handler], "run_name": "named"})
    return graph


class _Handler(BaseCallbackHandler):
    """Records when chains begin and end, and how they are nested."""

    def __init__(self, note: Callable[..., None]) -> None:
        self._note = note

    def on_chain_start(self, serialized: Any, inputs: Any, **given: Any) -> None:
        self._note("start", given.get("name"), given["parent_run_id"], given["run_id"])
        self._note(given.get("tags"), given.get("metadata"))

    def on_chain_end(self, outputs: Any, **given: Any) -> None:
        self._note("end", given["run_id"])

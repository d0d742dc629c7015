"""Runs of graphs, one for each thing that LangGraph can do, and what they show."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable
from typing import Annotated, Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage
from langchain_core.runnables import RunnableConfig
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.swarmstate.testing import Driver, graphs
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES, add_messages
from langgraph.runtime import Runtime
from langgraph.store.memory import InMemoryStore
from langgraph.types import CachePolicy, Command, Overwrite, RetryPolicy, Send, interrupt
from pydantic import BaseModel
from typing_extensions import TypedDict

MODES: Any = ["values", "updates", "messages", "custom", "checkpoints", "tasks", "debug"]


class Runner:
    """Runs graphs in one mode, and notes what they do.

    Attributes:
        driver: Calls the graphs.
        saver: What they are compiled with; None for nothing.
        noted: What happened, in order.
    """

    def __init__(self, driver: Driver, saver: Any) -> None:
        self.driver = driver
        self.saver = saver
        self.noted: list[Any] = []

    @property
    def config(self) -> Any:
        """A config of the one thread there is."""
        return {
            "configurable": {"thread_id": "t", "custom": 1},
            "tags": ["a-tag"],
            "metadata": {"about": {"deep": [1]}, "lc_versions": {"mine": "1"}},
        }

    def note(self, *what: Any) -> None:
        """Note something that a node saw."""
        self.noted.append(what)

    def invoke(self, graph: Any, value: Any, config: Any = None, **options: Any) -> Any:
        """Invoke a graph; note what it returns, or raises."""
        try:
            result = self.driver.invoke(graph, value, config or self.config, **options)
        except Exception as error:
            result = error
        self.noted.append(("returned", result))
        return result

    def stream(self, graph: Any, value: Any, modes: Any = MODES, **options: Any) -> None:
        """Stream a graph; note all events, in order."""
        try:
            for event in self.driver._collect(
                graph, "stream", value, self.config, stream_mode=modes, **options
            ):
                self.noted.append(("event", event))
        except Exception as error:
            self.noted.append(("raised", error))

    def end(self, graph: Any) -> None:
        """Note all that is stored, as LangGraph shows it and as the saver has it."""
        if self.saver is None:
            return
        self.noted.append(("history", list(self.driver.history(graph, self.config))))
        self.noted.append(("stored", self.driver.list({"configurable": {"thread_id": "t"}})))


Run = Callable[[Runner], Any]
RUNS: dict[str, Run] = {}


def _run(function: Run) -> Run:
    RUNS[function.__name__.strip("_")] = function
    return function


def _say(*texts: str) -> dict[str, Any]:
    # With ids: LangGraph assigns them in place while what is being stored still has none.
    return {"messages": [HumanMessage(text, id=f"{text} {n}") for n, text in enumerate(texts)]}


def _talk(run: Runner, *replies: str) -> Any:
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


@_run
def _agent(run: Runner) -> Any:
    graph = graphs.agent(run.saver, run.noted)
    for turn in range(3):
        run.invoke(graph, {"messages": [HumanMessage(f"question {turn}", id=f"h{turn}")]})
    run.stream(graph, {"messages": [("user", "streamed"), {"role": "user", "content": "dict"}]})
    return graph


@_run
def _messages_without_ids(run: Runner) -> Any:
    graph = _talk(run, "one two", "three", "four", "five six", "seven", "eight")
    run.stream(graph, _say("hello"))
    run.stream(graph, _say("again"), ["messages", "updates"])
    return graph


@_run
def _content_in_blocks(run: Runner) -> Any:
    graph = _talk(run, "seen", "done", "over", "out")
    blocks: list[Any] = [
        {"type": "text", "text": "look"},
        {"type": "image", "base64": "aGk=", "mime_type": "image/png"},
        {"type": "file", "source_type": "base64", "data": "aGk=", "mime_type": "a/b"},
    ]
    run.invoke(graph, {"messages": [HumanMessage(blocks, id="blocks")]})
    return graph


@_run
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
        run.invoke(graph, _say("go"))
    return graph


@_run
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


@_run
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


@_run
def _fan_out(run: Runner) -> Any:
    calls: list[str] = []
    graph = graphs.fan_out(run.saver, calls)
    run.invoke(graph, {"items": [3, 1, 2]})
    run.note(sorted(calls))
    return graph


@_run
def _questions_to_parallel_tasks(run: Runner) -> Any:
    if run.saver is None:
        return None
    calls: list[str] = []
    failing = {5}
    graph = graphs.fan_out(run.saver, calls, asks=frozenset({1, 3}), fails=failing)
    result = run.driver.invoke(graph, {"items": [1, 2, 3]}, run.config)
    # LangGraph returns the questions in no order.
    run.note(sorted(each.value["about"] for each in result["__interrupt__"]))
    asked = run.driver.state(graph, run.config).interrupts
    run.invoke(graph, Command(resume={each.id: f"to {each.value['about']}" for each in asked}))
    run.note(sorted(calls))
    return graph


@_run
def _two_questions(run: Runner) -> Any:
    if run.saver is None:
        return None
    graph = graphs.approval(run.saver, run.noted)
    run.stream(graph, {"n": 1})
    run.stream(graph, Command(resume="first"))
    run.invoke(graph, Command(resume="second"))
    return graph


@_run
def _breakpoints(run: Runner) -> Any:
    if run.saver is None:
        return None
    graph = graphs.agent(run.saver, run.noted)
    run.stream(graph, _say("stop"), interrupt_before=["tools"])
    run.stream(graph, None, interrupt_after=["tools"])
    run.invoke(graph, None)
    return graph


@_run
def _subgraphs(run: Runner) -> Any:
    graph = graphs.nested(run.saver, [], asks=run.saver is not None)
    run.invoke(graph, {"n": 1})
    if run.saver is not None:
        run.note(run.driver.state(graph, run.config, subgraphs=True))
        run.invoke(graph, Command(resume="yes"))
    return graph


@_run
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


@_run
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


@_run
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


@_run
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


@_run
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


@_run
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


@_run
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


@_run
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


@_run
def _durabilities(run: Runner) -> Any:
    if run.saver is None:
        return None
    for durability in ("sync", "async", "exit"):
        graph = graphs.agent(run.saver, run.noted)
        run.stream(graph, _say(durability), ["values"], durability=durability)
    return graph


@_run
def _delta_channels(run: Runner) -> Any:
    graph = graphs.delta_log(run.saver)
    for n in range(9):
        run.invoke(graph, {"n": n}, durability="exit" if n % 4 == 3 and run.saver else None)
    return graph


@_run
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


@_run
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


@_run
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
    """Notes when chains begin and end, and how they are connected."""

    def __init__(self, note: Callable[..., None]) -> None:
        self._note = note

    def on_chain_start(self, serialized: Any, inputs: Any, **given: Any) -> None:
        self._note("start", given.get("name"), given["parent_run_id"], given["run_id"])
        self._note(given.get("tags"), given.get("metadata"))

    def on_chain_end(self, outputs: Any, **given: Any) -> None:
        self._note("end", given["run_id"])

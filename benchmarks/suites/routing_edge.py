"""What a `HandoffGraph` adds to a LangGraph edge, compared with the same rules in Python."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from langgraph.graph import END, START, StateGraph
from swarmstate import HandoffGraph
from typing_extensions import TypedDict

from benchmarks.report import Table, ratio
from benchmarks.rounds import Rounds, WrongResultError, at

_LABELS = {
    "function": "the router, called",
    "edge": "the edge, as LangGraph calls it",
    "run": "a run, per edge",
}
CONTENDER_NAMES = tuple(_LABELS)
PARAMETERS = {"routes": 200, "stretches": 60}


class State(TypedDict):
    step: int
    topic: str
    amount: int


def _rules(last: int) -> HandoffGraph:
    graph = HandoffGraph(on_cycle="allow")
    for node in ("work", "billing", "human"):
        graph.add_node(node)
    graph.add_edge("work", "billing", when="topic == 'invoice'")
    graph.add_edge("work", "human", when="amount > 100")
    graph.add_edge("work", "work", when=f"step < {last}")
    return graph


def _by_hand(last: int) -> Callable[[State], str]:
    def route(state: State) -> str:
        if state.get("topic") == "invoice":
            return "billing"
        if state.get("amount", 0) > 100:
            return "human"
        return "work" if state.get("step", 0) < last else END

    return route


def measure(contender: str, folder: Path, *, routes: int, stretches: int) -> dict[str, Any]:
    """Return the seconds of a route by the function and by the rules, and the rules' overhead.

    The two alternate in stretches of `routes`; the overhead is the median over the stretches.
    """
    edges: dict[str, Callable[[State], str]] = {
        "python": _by_hand(routes),
        "ours": _rules(routes).as_router("work"),
    }
    stretch = {name: _stretch(contender, edge, routes) for name, edge in edges.items()}
    seconds: dict[str, list[float]] = {name: [] for name in edges}
    for number in range(-2, stretches):
        for name in sorted(edges, reverse=bool(number % 2)):
            started = perf_counter()
            routed = stretch[name]()
            taken = (perf_counter() - started) / routes
            if number >= 0:  # Earlier stretches are a warm-up.
                seconds[name].append(taken)
            if routed != ["work"] * (routes - 1) + [END]:
                raise WrongResultError(f"expected to continue until step {routes}, found {routed}")
    added = [ours - python for ours, python in zip(seconds["ours"], seconds["python"], strict=True)]
    return {
        "python": median(seconds["python"]),
        "ours": median(seconds["ours"]),
        "added": median(added),
        "best": min(seconds["ours"]) - min(seconds["python"]),
    }


def _stretch(where: str, edge: Callable[[State], str], routes: int) -> Callable[[], list[str]]:
    """Return a function that routes `routes` states and returns their targets."""
    states: list[State] = [
        {"step": step, "topic": "lamps", "amount": 7} for step in range(1, routes + 1)
    ]
    if where == "function":
        return lambda: [edge(state) for state in states]
    builder = StateGraph(State)
    went: list[str] = []
    builder.add_node("work", lambda state: {"step": state["step"] + 1})
    for name in ("billing", "human"):
        builder.add_node(name, lambda state: {})
    builder.add_edge(START, "work")
    builder.add_conditional_edges("work", edge, ["work", "billing", "human", END])
    if where == "edge":
        [branch] = builder.branches["work"].values()
        return lambda: [str(branch.path.invoke(state)) for state in states]
    graph = builder.compile()
    config: Any = {"recursion_limit": routes + 2}

    def run() -> list[str]:
        final = graph.invoke({"step": 0, "topic": "lamps", "amount": 7}, config)
        went[:] = ["work"] * (final["step"] - 1) + [END]
        return went

    return run


def tables(rounds: Rounds, parameters: dict[str, Any]) -> list[Table]:
    """Return one table: the time of a route for each of them, in microseconds."""
    table = Table(
        "Routing as a LangGraph edge: three conditions, one route",
        ["what is timed", "Python function", "HandoffGraph", "added, median", "added, best", "÷"],
    )
    for name in rounds.results:
        table.add(
            _LABELS[name],
            *(
                f"{rounds.median(name, at(figure)) * 1e6:.2f} µs"
                for figure in ("python", "ours", "added", "best")
            ),
            ratio(rounds.median(name, at("ours")) / rounds.median(name, at("python"))),
        )
    return [table]

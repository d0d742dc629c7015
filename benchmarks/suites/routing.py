"""Routing by conditions: the same three rules in Python, in ours and in the PyPI release."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from benchmarks.report import Table, ratio, seconds
from benchmarks.rounds import Rounds, WrongResultError, at

CONTENDER_NAMES = ("python", "peer", "ours")
PARAMETERS = {"states": 1_000_000, "routes": 20_000}
_LABELS = {
    "python": "if and elif in Python",
    "peer": "PyPI swarmstate 0.11",
    "ours": "swarmstate",
}
_TOPICS = ("invoice", "lamp", "other", "return")
_BATCH = 10_000

State = dict[str, Any]
Route = Callable[[State], Any]
Routes = Callable[[list[State]], list[Any]]


def _states(count: int) -> list[dict[str, Any]]:
    return [
        {"topic": _TOPICS[number % 4], "amount": number % 150, "vip": False, "step": number}
        for number in range(count)
    ]


def _by_hand(state: dict[str, Any]) -> str:
    if state.get("topic") == "invoice":
        return "billing"
    if state.get("amount", 0) > 100:
        return "human"
    return "front"


def _by_graph(in_batches: bool) -> tuple[Route, Routes]:
    """Build the graph; both releases have the same API, but only ours routes batches."""
    from swarmstate import HandoffGraph

    graph = HandoffGraph()
    for node in ("triage", "billing", "human", "front"):
        graph.add_node(node)
    graph.add_edge("triage", "billing", when="topic == 'invoice'")
    graph.add_edge("triage", "human", when="amount > 100")
    graph.add_edge("triage", "front")
    route = graph.route

    def one(state: State) -> Any:
        return route("triage", state)

    if in_batches:
        return one, lambda states: graph.route_many("triage", states)
    return one, lambda states: [route("triage", state) for state in states]


def measure(contender: str, folder: Path, *, states: int, routes: int) -> dict[str, Any]:
    """Return the median seconds of one route, and the routes a second of a batch."""
    one: Route
    many: Routes
    if contender == "python":
        one, many = _by_hand, lambda given: [_by_hand(state) for state in given]
    else:
        one, many = _by_graph(in_batches=contender == "ours")
    sample = _states(min(states, _BATCH))
    if [one(state) for state in sample] != [_by_hand(state) for state in sample]:
        raise WrongResultError("expected every contender to route like the rules in Python")
    timings = []
    for _ in range(max(1, routes // len(sample))):
        started = perf_counter()
        for state in sample:
            one(state)
        timings.append((perf_counter() - started) / len(sample))
    everything = _states(states)
    started = perf_counter()
    routed = many(everything)
    elapsed = perf_counter() - started
    if routed != [_by_hand(state) for state in everything]:
        raise WrongResultError("expected a batch to be routed like its states one by one")
    return {"route": median(timings), "batch": elapsed, "rate": states / elapsed}


def tables(rounds: Rounds, parameters: dict[str, Any]) -> list[Table]:
    """Return the times of a route and of a batch, ours divided by the other's."""
    table = Table(
        f"Routing: two conditions and a default; {parameters['states']:,} states at once",
        ["rules", "one route", "÷ ours", "at once, routes per second", "ours ÷ theirs"],
    )
    for name in rounds.results:
        table.add(
            _LABELS[name],
            seconds(rounds.median(name, at("route"))),
            ratio(rounds.ratio(name, "ours", at("route"))),
            f"{rounds.median(name, at('rate')):,.0f}",
            ratio(rounds.ratio("ours", name, at("rate"))),
        )
    return [table]

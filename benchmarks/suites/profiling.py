"""What `swarmstate.profile` costs: an agent's turns, alternately with and without it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import swarmstate

from benchmarks.contenders import CONTENDERS
from benchmarks.report import Table, milliseconds, ratio
from benchmarks.rounds import Rounds, WrongResultError, at
from benchmarks.scenarios import SCENARIOS
from benchmarks.suites.growth import digest

CONTENDER_NAMES = ("none", "ours", "ours-file")
PARAMETERS = {"turns": 200}
# Turns that are profiled together; then the same number runs without the profiler.
_STRETCH = 10

Turn = Callable[[int, str], dict[str, Any]]


def measure(contender: str, folder: Path, *, turns: int) -> dict[str, Any]:
    """Return the median time of a turn, and the median ratio of stretches with and without.

    Two threads grow in the same way, one of them profiled. They alternate in going first.
    """
    with CONTENDERS[contender].open(folder) as opened:
        script = SCENARIOS["chat"]
        graph = script.build(delta=False).compile(checkpointer=opened.saver)
        states: dict[str, dict[str, Any]] = {}

        def given(turn: int, thread: str) -> dict[str, Any]:
            # Without a checkpointer, each turn is a first turn, so all turns are equally long.
            return script.given(turn if opened.saver is not None else 0)

        def config(thread: str) -> Any:
            return {"configurable": {"thread_id": thread}}

        def sync_turn(turn: int, thread: str) -> dict[str, Any]:
            return graph.invoke(given(turn, thread), config(thread))

        measured = {"sync": _compare(sync_turn, turns, states)}
        loop = asyncio.new_event_loop()

        def async_turn(turn: int, thread: str) -> dict[str, Any]:
            running = graph.ainvoke(given(turn, thread), config(f"async {thread}"))
            return loop.run_until_complete(running)

        measured["async"] = _compare(async_turn, turns, states)
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        if len({digest(state) for state in states.values()}) != 1:
            raise WrongResultError("expected profiled turns to return what others do")
        return measured


def _compare(turn: Turn, turns: int, states: dict[str, dict[str, Any]]) -> dict[str, float]:
    seconds: dict[str, list[float]] = {"plain": [], "profiled": []}
    cpu: dict[str, list[float]] = {"plain": [], "profiled": []}
    stretch = min(_STRETCH, turns)
    for name in seconds:  # Warm up.
        states[f"{turn.__name__} {name}"] = turn(0, name)
    for number, first in enumerate(range(1, turns, stretch)):
        for name in sorted(seconds, reverse=bool(number % 2)):
            with swarmstate.profile() if name == "profiled" else nullcontext() as profile:
                started, cpu_started = perf_counter(), process_time()
                for index in range(first, first + stretch):
                    states[f"{turn.__name__} {name}"] = turn(index, name)
                seconds[name].append(perf_counter() - started)
                cpu[name].append(process_time() - cpu_started)
            if profile and not (
                profile.runs == stretch and 0 < profile.seconds < seconds[name][-1]
            ):
                raise WrongResultError(f"expected the profile of {stretch} turns, found {profile}")
    return {
        "turn": median(seconds["plain"]) / stretch,
        "ratio": median(map(_divided, seconds["profiled"], seconds["plain"])),
        "cpu_ratio": median(map(_divided, cpu["profiled"], cpu["plain"])),
    }


def _divided(one: float, other: float) -> float:
    return one / other


def tables(rounds: Rounds, parameters: dict[str, Any]) -> list[Table]:
    """Return one table: the time of a turn, and its ratio when profiled."""
    headings = [
        heading
        for kind in ("sync", "async")
        for heading in (f"{kind} turn", "profiled ÷", "processor time ÷")
    ]
    table = Table(f"Profiling: {parameters['turns']} turns, with and without", ["saver", *headings])
    for name in rounds.results:
        row = [CONTENDERS[name].label]
        for kind in ("sync", "async"):
            row.append(milliseconds(rounds.median(name, at(kind, "turn"))))
            row.append(ratio(rounds.median(name, at(kind, "ratio"))))
            row.append(ratio(rounds.median(name, at(kind, "cpu_ratio"))))
        table.add(*row)
    return [table]

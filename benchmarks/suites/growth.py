"""A compiled graph with one growing thread: the cost of each turn, and the bytes stored."""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from time import perf_counter, process_time
from typing import Any

from langchain_core.messages import BaseMessage

from benchmarks.contenders import CONTENDERS, MEMORY, NOTHING, OURS, REDIS
from benchmarks.opened import Opened
from benchmarks.report import Table, megabytes, milliseconds, ratio
from benchmarks.rounds import Rounds, WrongResultError, at
from benchmarks.scenarios import SCENARIOS, Scenario

CONTENDER_NAMES = (
    "none",
    "zero-cost",
    "in-memory",
    "in-memory-delta",
    "peer",
    "ours",
    "sqlite",
    "sqlite-delta",
    "ours-file",
    "ours-file-delta",
    "ours-file-normal",
)
PARAMETERS = {"scenario": "chat", "turns": 200}
_CONFIG: Any = {"configurable": {"thread_id": "growing"}, "recursion_limit": 1_000}
_HISTORY = 20


def measure(contender: str, folder: Path, *, scenario: str, turns: int) -> dict[str, Any]:
    """Return seconds a turn and bytes stored by tenth of the run, and the time to read back.

    "final" and "history" are digests of what was read back: the final state, and the last states of
    the history.
    """
    chosen = CONTENDERS[contender]
    script = SCENARIOS[scenario]
    (folder / "warm-up").mkdir()
    with chosen.open(folder / "warm-up") as opened:
        Run(script, opened, delta=chosen.delta).turns(2)
    with chosen.open(folder) as opened:
        run = Run(script, opened, delta=chosen.delta)
        run.turns(turns)
        measured = {"total": sum(run.seconds), "cpu": run.cpu_seconds, **run.by_tenth()}
        if opened.saver is None:
            return {**measured, "final": digest(run.state)}
        final = _check_state(run, run.state)
        started = perf_counter()
        history = list(run.graph.get_state_history(_CONFIG, limit=_HISTORY))
        measured["history_seconds"] = perf_counter() - started
        measured["final"] = final
        measured["history"] = digest([(found.values, found.next) for found in history])
    if chosen.keeps not in {MEMORY, NOTHING, REDIS}:
        with chosen.open(folder) as opened:
            _check_state(Run(script, opened, delta=chosen.delta), run.state)
    return measured


class Run:
    """A graph in use.

    Attributes:
        graph: The compiled graph.
        state: What the last turn returned.
        seconds: How long each turn took.
        cpu_seconds: The CPU time of all threads of the process in all turns.
        stored: Bytes stored after each tenth of the turns.
    """

    def __init__(self, scenario: Scenario, opened: Opened, *, delta: bool) -> None:
        self._scenario = scenario
        self._opened = opened
        self.graph = scenario.build(delta=delta).compile(checkpointer=opened.saver)
        self.state: dict[str, Any] = {}
        self.seconds: list[float] = []
        self.cpu_seconds = 0.0
        self.stored: list[int | None] = []

    def turns(self, turns: int) -> None:
        """Take the first turns, and record at each tenth how much is stored."""
        tenths = {turns * tenth // 10 for tenth in range(1, 11)}
        for turn in range(turns):
            self.turn(turn)
            if turn + 1 in tenths:
                self.stored.append(self._opened.stored_bytes())

    def turn(self, turn: int) -> None:
        """Take a turn.

        It first releases the result of the last turn, as a server does once it has answered.
        """
        given = (
            self._scenario.given_with(self.state, turn)
            if self._opened.saver is None
            else self._scenario.given(turn)
        )
        self.state = {}
        started, cpu_started = perf_counter(), process_time()
        self.state = self.graph.invoke(given, _CONFIG)
        self.seconds.append(perf_counter() - started)
        self.cpu_seconds += process_time() - cpu_started

    def by_tenth(self) -> dict[str, Any]:
        """Return the mean seconds of a turn, and the bytes stored, by tenth of the turns."""
        count = len(self.stored)
        bounds = [len(self.seconds) * tenth // count for tenth in range(count + 1)]
        return {
            "turn_seconds": [fmean(self.seconds[begin:end]) for begin, end in pairwise(bounds)],
            "stored_bytes": self.stored,
        }


def _check_state(run: Run, expected: dict[str, Any]) -> str:
    found = digest(run.graph.get_state(_CONFIG).values)
    if found != digest(expected):
        raise WrongResultError("expected the stored state to be what the last turn returned")
    return found


def digest(value: object) -> str:
    """Return a digest of a state that is the same in every process."""

    def plain(value: object) -> object:
        if isinstance(value, BaseMessage):
            return {"class": type(value).__name__, **value.model_dump()}
        raise TypeError(f"expected a state of messages and plain values, found {type(value)}")

    data = json.dumps(value, sort_keys=True, default=plain)
    return hashlib.sha256(data.encode()).hexdigest()


def check(rounds: Rounds) -> None:
    """Check that all contenders ended with the same state and, if they keep one, the same history.

    Raises:
        WrongResultError: They did not.
    """
    for what in ("final", "history"):
        by_digest: dict[str, set[str]] = {}
        for name, results in rounds.results.items():
            for measured in results:
                if what in measured:
                    by_digest.setdefault(measured[what], set()).add(name)
        if len(by_digest) > 1:
            groups = "; ".join(", ".join(sorted(names)) for names in by_digest.values())
            raise WrongResultError(f"expected one {what} from all, found several: {groups}")


def tables(rounds: Rounds, parameters: dict[str, Any]) -> list[Table]:
    """Return the cost of turns, the bytes stored, and the time to read back."""
    scenario = parameters["scenario"]
    described = (SCENARIOS[scenario].__doc__ or "").partition("\n")[0].rstrip(".")
    title = f"{scenario}, {parameters['turns']:,} turns"
    time = Table(
        f"{title}: time. {described}",
        [
            "saver",
            "keeps",
            "total",
            "÷ ours",
            "÷ zero-cost",
            "CPU",
            "÷ ours",
            "turn, first tenth",
            "turn, last tenth",
            "÷ ours",
            "÷ zero-cost",
        ],
    )
    stored = Table(
        f"{title}: bytes stored, and reading back the last {_HISTORY} states",
        ["saver", "keeps", "stored", "÷ ours", f"history of {_HISTORY}", "÷ ours", "÷ zero-cost"],
    )
    total, cpu = at("total"), at("cpu")
    first, last = at("turn_seconds", 0), at("turn_seconds", -1)
    size, history = at("stored_bytes", -1), at("history_seconds")
    for name, results in rounds.results.items():
        contender = CONTENDERS[name]
        ours = OURS.get(contender.keeps, "")
        time.add(
            contender.label,
            contender.keeps,
            milliseconds(rounds.median(name, total)),
            ratio(rounds.ratio(name, ours, total)),
            ratio(rounds.ratio(name, "zero-cost", total)),
            milliseconds(rounds.median(name, cpu)),
            ratio(rounds.ratio(name, ours, cpu)),
            milliseconds(rounds.median(name, first)),
            milliseconds(rounds.median(name, last)),
            ratio(rounds.ratio(name, ours, last)),
            ratio(rounds.ratio(name, "zero-cost", last)),
        )
        if results[0]["stored_bytes"][-1] is not None:
            stored.add(
                contender.label,
                contender.keeps,
                megabytes(rounds.median(name, size)),
                ratio(rounds.ratio(name, ours, size)),
                milliseconds(rounds.median(name, history)),
                ratio(rounds.ratio(name, ours, history)),
                ratio(rounds.ratio(name, "zero-cost", history)),
            )
    return [time, stored]


def summary(rounds: Rounds, parameters: dict[str, Any]) -> Table:
    """Return the few most telling figures, for the README."""
    table = Table(
        f"An agent with a tool, one thread of {parameters['turns']:,} turns",
        ["saver", "keeps", "total", "÷ ours", "last turns, each", "÷ ours", "stored", "÷ ours"],
    )
    total, last, size = at("total"), at("turn_seconds", -1), at("stored_bytes", -1)
    for name, results in rounds.results.items():
        contender = CONTENDERS[name]
        ours = OURS.get(contender.keeps, "")
        stores = results[0]["stored_bytes"][-1] is not None
        table.add(
            contender.label,
            contender.keeps,
            milliseconds(rounds.median(name, total)),
            ratio(rounds.ratio(name, ours, total)),
            milliseconds(rounds.median(name, last)),
            ratio(rounds.ratio(name, ours, last)),
            megabytes(rounds.median(name, size)) if stores else "-",
            ratio(rounds.ratio(name, ours, size) if stores else None),
        )
    return table

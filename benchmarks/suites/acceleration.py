"""LangGraph with patches of `accelerate()`, each alone and all together, against stock LangGraph.

The growing thread of an agent with a tool, on savers that cost from nothing to much. Patches are
applied and undone every few turns: each turn runs once with and once without them, so both see the
same machine. This module imports nothing that imports LangGraph: fast-langgraph, which cannot be
undone, must patch it first.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.report import Table, milliseconds, ratio
from benchmarks.rounds import Rounds, WrongResultError, at

# Measured in its own environment, which does not have our saver.
_PEER = "peer-fast-langgraph"
# The same environment, without fast-langgraph's patches.
_PEER_OFF = "peer-fast-langgraph-off"
_PEERS = (_PEER, _PEER_OFF)
# The patches that affect sync runs, which these are.
_PATCHES = (
    "messages",
    "saving",
    "threads",
    "callbacks",
    "runtimes",
    "streaming",
    "chat_models",
    "signatures",
    "collector",
)
# More than one, for patches that defer work to later turns.
_TURNS_IN_TURN = 10
_KINDS = ("stock", "patched", "stock_cpu", "patched_cpu")
CONTENDER_NAMES = ("ours", _PEER_OFF, _PEER, *_PATCHES)
PARAMETERS = {"turns": 200, "repetitions": 3}
_LABELS = {
    "ours": "accelerate()",
    _PEER: "fast-langgraph",
    **{name: f'accelerate("{name}")' for name in _PATCHES},
}
_SAVERS = {
    "none": "no checkpointer",
    "zero-cost": "zero-cost saver",
    "ours": "swarmstate, memory",
    "ours-file": "swarmstate, file",
}


def measure(contender: str, folder: Path, *, turns: int, repetitions: int) -> dict[str, Any]:
    """Return the seconds of all turns for each saver, taking each turn's minimum over repetitions.

    "stock" has the seconds without patches and "patched" those with them; "stock_cpu" and
    "patched_cpu" have the CPU seconds of all threads. "final" is a digest of the state that all
    runs ended with.
    """
    if contender == _PEER:
        from importlib import import_module

        # Imported by name: the environment that checks types lacks it. It prints what it patched.
        with redirect_stdout(sys.stderr):
            import_module("fast_langgraph").shim.patch_langgraph(verbose=False)
    from benchmarks.suites import growth

    measured: dict[str, Any] = {kind: {} for kind in _KINDS}
    ends = set()
    for saver in ["none", "zero-cost"] if contender in _PEERS else _SAVERS:
        runs: dict[str, list[list[float]]] = {kind: [] for kind in _KINDS}
        for number in range(repetitions):
            own = folder / f"{saver}-{number}"
            seconds, ended = _lockstep(growth, contender, saver, own, turns)
            ends |= ended
            for kind, found in seconds.items():
                runs[kind].append(found)
        for kind, repeated in runs.items():
            measured[kind][saver] = sum(map(min, zip(*repeated, strict=True)))
    if len(ends) != 1:
        raise WrongResultError(f"expected all runs to end in one state, found {len(ends)}")
    return {**measured, "final": ends.pop()}


def _lockstep(
    growth: Any, contender: str, saver: str, folder: Path, turns: int
) -> tuple[dict[str, list[float]], set[str]]:
    """Alternate turns without and with patches; return their seconds, and the final states."""
    from benchmarks.contenders import CONTENDERS
    from benchmarks.scenarios import SCENARIOS

    folders = {kind: folder / kind for kind in ("stock", "patched")}
    for each in folders.values():
        each.mkdir(parents=True)
    script, chosen = SCENARIOS["chat"], CONTENDERS[saver]
    computed: dict[str, list[float]] = {"stock_cpu": [], "patched_cpu": []}
    with chosen.open(folders["stock"]) as first, chosen.open(folders["patched"]) as second:
        runs = {
            "stock": growth.Run(script, first, delta=False),
            "patched": growth.Run(script, second, delta=False),
        }
        for first_turn in range(0, turns, _TURNS_IN_TURN):
            for kind, run in runs.items():
                with _patches(contender) if kind == "patched" else nullcontext():
                    for turn in range(first_turn, min(first_turn + _TURNS_IN_TURN, turns)):
                        before = run.cpu_seconds
                        run.turn(turn)
                        computed[f"{kind}_cpu"].append(run.cpu_seconds - before)
        ends = {growth.digest(run.state) for run in runs.values()}
    return {**{kind: run.seconds for kind, run in runs.items()}, **computed}, ends


def _patches(contender: str) -> Any:
    if contender in _PEERS:
        return nullcontext()
    return accelerated(*([] if contender == "ours" else [contender]))


def accelerated(*names: str) -> Any:
    """Apply these patches, or all patches if none is named.

    Raises:
        WrongResultError: The applied patches differ from these.
    """
    from langgraph.checkpoint.swarmstate import accelerate
    from langgraph.checkpoint.swarmstate.acceleration.patches import PATCHES

    acceleration = accelerate(*names)
    if acceleration.applied != (names or tuple(PATCHES)):
        raise WrongResultError(f"expected the patches to be applied, found {acceleration}")
    return acceleration


def check(rounds: Rounds) -> None:
    """Check that all runs ended with the same state.

    Raises:
        WrongResultError: They did not.
    """
    ends = {each["final"] for results in rounds.results.values() for each in results}
    if len(ends) != 1:
        raise WrongResultError(f"expected one final state from all, found {len(ends)}")


def tables(rounds: Rounds, parameters: dict[str, Any]) -> list[Table]:
    """Return the run's time with patches, and its ratio to the time without them."""
    return [
        _table(rounds, f"LangGraph, patched: {parameters['turns']:,} turns, {what}", suffix)
        for what, suffix in (("time", ""), ("CPU", "_cpu"))
    ]


def _table(rounds: Rounds, title: str, suffix: str) -> Table:
    headings = [
        heading for label in _SAVERS.values() for heading in (label, "without", "÷ without")
    ]
    table = Table(title, ["patches", *headings])
    stock, patched = f"stock{suffix}", f"patched{suffix}"
    for name, results in rounds.results.items():
        if name == _PEER_OFF:
            continue
        row = [_LABELS[name]]
        base = rounds.results.get(_PEER_OFF, []) if name == _PEER else results
        for saver in _SAVERS:
            if saver not in results[0][patched]:
                row += ["-", "-", "-"]
                continue
            pairs = zip(results, base, strict=False)
            ratios = [each[patched][saver] / without[stock][saver] for each, without in pairs]
            row.append(milliseconds(rounds.median(name, at(patched, saver))))
            row.append(milliseconds(median(each[stock][saver] for each in base)) if base else "-")
            row.append(ratio(median(ratios) if ratios else None))
        table.add(*row)
    return table

"""Caching a function's results: hits and misses of a call with one string argument."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.report import Table, ratio, seconds
from benchmarks.rounds import Rounds, WrongResultError, at

# fast-langgraph is measured in its own environment.
CONTENDER_NAMES = ("lru-cache", "peer-fast-langgraph", "ours")
PARAMETERS = {"calls": 200_000, "size": 1_000}
_LABELS = {
    "lru-cache": "functools.lru_cache",
    "peer-fast-langgraph": "fast-langgraph @cached",
    "ours": "swarmstate @cached",
}
_CASES = {"hit": "hit", "prompt": "hit, 4 kB", "miss": "miss when full"}


def _decorator(contender: str, size: int) -> Callable[..., Any]:
    if contender == "ours":
        from swarmstate.cached import cached

        return cached(maxsize=size)
    if contender == "lru-cache":
        return functools.lru_cache(maxsize=size)
    # Imported by name: the environment that checks types lacks fast-langgraph.
    from importlib import import_module

    decorator: Callable[..., Any] = import_module("fast_langgraph").cached(max_size=size)
    return decorator


def measure(contender: str, folder: Path, *, calls: int, size: int) -> dict[str, float]:
    """Return the seconds of one call of each kind."""
    computed = 0

    def length(text: str) -> int:
        nonlocal computed
        computed += 1
        return len(text)

    def filled(texts: list[str]) -> Callable[..., int]:
        """Return a cached function that holds the results for `texts`."""
        function: Callable[..., int] = _decorator(contender, size)(length)
        for text in texts:
            if function(text) != len(text):
                raise WrongResultError(f"expected {len(text)}, found {function(text)}")
        return function

    keys = [f"what is the capital of country {n}?" for n in range(size)]
    prompts = [f"{n} ".ljust(4096, "x") for n in range(size // 10 or 1)]
    timings = {}
    for case, texts in (("hit", keys), ("prompt", prompts)):
        function = filled(texts)
        before = computed
        timings[case] = _time(function, texts, calls)
        if computed != before:
            raise WrongResultError(f"expected only hits, found {computed - before} misses")
    function = filled(keys)
    new = [f"new {n}" for n in range(calls // 10 or 1)]
    before = computed
    timings["miss"] = _time(function, new, len(new))
    if computed - before != len(new):
        raise WrongResultError(f"expected {len(new)} misses, found {computed - before}")
    return timings


def _time(call: Callable[[str], int], texts: list[str], calls: int) -> float:
    """Return the seconds of one call."""
    started = perf_counter()
    done = 0
    while done < calls:
        for text in texts:
            call(text)
        done += len(texts)
    return (perf_counter() - started) / done


def tables(rounds: Rounds, parameters: dict[str, Any]) -> list[Table]:
    """Return one table with all kinds of calls."""
    headings = [heading for name in _CASES.values() for heading in (name, "÷ ours")]
    table = Table("Functions: one call of a cached function", ["decorator", *headings])
    for name in rounds.results:
        row = [_LABELS[name]]
        for case in _CASES:
            row.append(seconds(rounds.median(name, at(case))))
            row.append(ratio(rounds.ratio(name, "ours", at(case))))
        table.add(*row)
    return [table]

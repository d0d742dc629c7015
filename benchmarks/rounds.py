"""Run contenders in turn, each time in a fresh process, and take medians.

A machine's speed drifts during a measurement. So each round runs every contender
once, and ratios are taken within a round.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import getitem
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, cast

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".benchmarks"

Measured = dict[str, Any]
"""What a suite's `measure` returns: numbers, lists of numbers, and checks."""


Figure = Callable[[Measured], float]


def at(*path: str | int) -> Figure:
    """Return a getter of a number in a result: `at("a", 0)` gets `result["a"][0]`."""
    return lambda measured: float(reduce(getitem, path, cast(Any, measured)))


class WrongResultError(Exception):
    """A contender returned something other than what it was given."""


class Rounds:
    """The results of all rounds of a suite.

    Attributes:
        results: For each contender, its results by round.
    """

    def __init__(self, results: Mapping[str, Sequence[Measured]]) -> None:
        self.results = {name: list(rounds) for name, rounds in results.items()}

    def __contains__(self, name: str) -> bool:
        return name in self.results

    def median(self, name: str, figure: Figure) -> float:
        """Return the median of a figure over a contender's rounds."""
        return median(figure(measured) for measured in self.results[name])

    def ratio(self, name: str, other: str, figure: Figure) -> float | None:
        """Return the median over the rounds of `name / other`; None if one did not run."""
        if not {name, other} <= self.results.keys():
            return None
        pairs = zip(self.results[name], self.results[other], strict=True)
        return median(figure(measured) / figure(base) for measured, base in pairs)


def run(
    suite: str,
    contenders: Mapping[str, Path],
    rounds: int,
    parameters: Mapping[str, Any],
    *,
    progress: Callable[[str], None] = lambda line: None,
) -> Rounds:
    """Measure `contenders`, given with the Python that each runs in.

    Raises:
        RuntimeError: A measurement failed or found a wrong result.
    """
    results: dict[str, list[Measured]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name, python in contenders.items():
            progress(f"{suite}: round {number + 1} of {rounds}: {name}")
            results[name].append(_measure(suite, name, python, parameters))
    return Rounds(results)


def _measure(suite: str, name: str, python: Path, parameters: Mapping[str, Any]) -> Measured:
    CACHE.mkdir(exist_ok=True)
    # Not in the system's temporary folder, which may be in memory, where syncing costs nothing.
    with TemporaryDirectory(prefix="run-", dir=CACHE) as folder:
        # A server started by root runs under another account.
        os.chmod(folder, 0o755)
        done = subprocess.run(
            [str(python), "-m", "benchmarks.worker", suite, name, folder, json.dumps(parameters)],
            cwd=ROOT,
            env={**os.environ, "LANGSMITH_TRACING": "false", "PYTHONHASHSEED": "0"},
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        raise RuntimeError(f"measuring {name} in {suite} failed; its error is printed above")
    measured: Measured = json.loads(done.stdout)
    return measured


WORKSPACE_PYTHON = Path(sys.executable)

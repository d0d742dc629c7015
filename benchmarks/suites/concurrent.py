"""Many threads that put and get concurrently on one file, each with its own conversation."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.contenders import CONTENDERS, OURS
from benchmarks.parallel import run_in_threads
from benchmarks.report import Table, ratio
from benchmarks.rounds import Rounds, at
from benchmarks.suites.small_state import Timings

CONTENDER_NAMES = ("sqlite", "ours-file", "sqlite-normal", "peer-disk", "ours-file-normal")
PARAMETERS = {"threads": 8, "steps": 60}


def measure(contender: str, folder: Path, *, threads: int, steps: int) -> dict[str, Any]:
    """Return the checkpoints put and read a second, by one thread and by all threads."""
    with CONTENDERS[contender].open(folder) as opened:
        saver = opened.saver
        assert saver is not None
        Timings().run(saver, "warm-up", max(2, steps // 10))
        started = perf_counter()
        Timings().run(saver, "alone", steps)
        alone = perf_counter() - started
        together = run_in_threads(
            threads, lambda number: Timings().run(saver, f"thread-{number}", steps)
        )
    return {"alone": steps / alone, "together": threads * steps / together}


def tables(rounds: Rounds, parameters: dict[str, Any]) -> list[Table]:
    """Return the rates; the ratios say how many times faster ours is."""
    threads = parameters["threads"]
    table = Table(
        f"Checkpoints per second in one file, each put once and read twice, from 1 and {threads} "
        "threads",
        ["saver", "keeps", "1 thread", "ours ÷ theirs", f"{threads} threads", "ours ÷ theirs"],
    )
    for name in rounds.results:
        contender = CONTENDERS[name]
        row = [contender.label, contender.keeps]
        for number in ("alone", "together"):
            row.append(f"{rounds.median(name, at(number)):.0f}")
            row.append(ratio(rounds.ratio(OURS[contender.keeps], name, at(number))))
        table.add(*row)
    return [table]

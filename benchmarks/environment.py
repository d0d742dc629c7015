"""The machine and the versions of a run: results mean nothing without them."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from tempfile import TemporaryFile
from time import perf_counter

_DISTRIBUTIONS = (
    "swarmstate-core",
    "langgraph-checkpoint-swarmstate",
    "langgraph",
    "langgraph-checkpoint",
    "langgraph-checkpoint-sqlite",
    "langchain-core",
)


def describe(folder: Path) -> list[str]:
    """Return lines that describe the machine and the versions; `folder` is where files are."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return [
        f"{os.cpu_count()} CPUs, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, load average before the run {load:.1f}",
        f"syncing 4 KB to this disk takes {fsync_seconds(folder) * 1e3:.2f} ms",
        ", ".join(_versions(_DISTRIBUTIONS)),
    ]


def _versions(names: Iterable[str]) -> Iterable[str]:
    return (f"{name} {version(name)}" for name in names)


def fsync_seconds(folder: Path) -> float:
    """Return the median seconds of appending 4 KB to a file and syncing it."""
    timings = []
    with TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(50):
            started = perf_counter()
            file.write(b"x" * 4096)
            os.fsync(file.fileno())
            timings.append(perf_counter() - started)
    return median(timings)

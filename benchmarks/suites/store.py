"""The in-memory store alone: set and get from several threads, and snapshots."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from benchmarks.parallel import run_in_threads
from benchmarks.report import Table, ratio, seconds
from benchmarks.rounds import Rounds, WrongResultError, at

CONTENDER_NAMES = ("peer", "ours")
PARAMETERS = {
    "threads": [1, 2, 4, 8],
    "pairs": 20_000,
    "entries": [1_000, 10_000, 50_000, 200_000],
}
_LABELS = {"peer": "PyPI swarmstate 0.11", "ours": "swarmstate"}
_SNAPSHOTS = 50
_KEYS = 101


def measure(
    contender: str, folder: Path, *, threads: list[int], pairs: int, entries: list[int]
) -> dict[str, Any]:
    """Return set+get pairs per second by number of threads, and the seconds of a snapshot by size.

    Each environment imports its own `swarmstate`.
    """
    return {
        "pairs": {str(count): _pairs_a_second(count, pairs) for count in threads},
        "snapshot": {str(count): _snapshot_seconds(count) for count in entries},
    }


def _pairs_a_second(threads: int, pairs: int) -> float:
    from swarmstate import Store

    store = Store()
    each = pairs // threads
    values = [
        {"step": number, "status": "running", "score": number / 2, "owner": f"agent-{number % 7}"}
        for number in range(_KEYS)
    ]
    keys = [f"task-{number}" for number in range(_KEYS)]
    read: list[list[Any]] = [[] for _ in range(threads)]

    def work(thread: int) -> None:
        namespace = f"agent-{thread}"
        append = read[thread].append
        for number in range(each):
            key = keys[number % _KEYS]
            store.set(namespace, key, values[(number + thread) % _KEYS])
            append(store.get(namespace, key))

    elapsed = run_in_threads(threads, work)
    for thread, found in enumerate(read):
        if found != [values[(number + thread) % _KEYS] for number in range(each)]:
            raise WrongResultError(f"expected thread {thread} to read what it had set")
    return threads * each / elapsed


def _snapshot_seconds(entries: int) -> float:
    from swarmstate import Store

    store = Store()
    for number in range(entries):
        store.set(f"agent-{number % 16}", f"task-{number}", number)
    timings = []
    for number in range(_SNAPSHOTS):
        store.set("agent-0", "task-0", number)
        started = perf_counter()
        snapshot = store.snapshot()
        timings.append(perf_counter() - started)
    store.set("agent-0", "task-0", "later")
    if len(snapshot.keys) != entries:
        raise WrongResultError(f"expected {entries} entries, found {len(snapshot.keys)}")
    store.restore(snapshot)
    if store.get("agent-0", "task-0") != _SNAPSHOTS - 1:
        raise WrongResultError("expected the snapshot to hold what was set before it")
    return median(timings)


def tables(rounds: Rounds, parameters: dict[str, Any]) -> list[Table]:
    """Return pairs per second and snapshot times, ours divided by the other's."""
    pairs = Table(
        "Store: set and get of a dict of 4 entries, pairs per second",
        ["store", *_heading(parameters["threads"], "threads", "ours ÷ theirs")],
    )
    snapshots = Table(
        "Store: time of snapshot(), each after a change",
        ["store", *_heading(parameters["entries"], "entries", "÷ ours")],
    )
    for name in rounds.results:
        rates, times = [_LABELS[name]], [_LABELS[name]]
        for threads in parameters["threads"]:
            figure = at("pairs", str(threads))
            rates.append(f"{rounds.median(name, figure):,.0f}")
            rates.append(ratio(rounds.ratio("ours", name, figure)))
        for entries in parameters["entries"]:
            figure = at("snapshot", str(entries))
            times.append(seconds(rounds.median(name, figure)))
            times.append(ratio(rounds.ratio(name, "ours", figure)))
        pairs.add(*rates)
        snapshots.add(*times)
    return [pairs, snapshots]


def _heading(counts: list[int], noun: str, ratio_heading: str) -> list[str]:
    return [heading for count in counts for heading in (f"{count:,} {noun}", ratio_heading)]

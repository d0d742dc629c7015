"""Records with embeddings: storing, searching and reopening, against a full scan in numpy.

numpy stores nothing: its scan of a matrix in memory is the lower bound for any exhaustive search.
The suite `crewai_memory` measures LanceDB.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from swarmstate import DiskStore
from swarmstate.vectors import Collection, Record

from benchmarks.report import Table, ratio, seconds
from benchmarks.rounds import Rounds, WrongResultError, at

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONTENDER_NAMES = ("numpy", "ours")
PARAMETERS = {"records": 50_000, "dimensions": 384, "searches": 200, "approximate_above": None}
_LABELS = {"numpy": "numpy, all in memory", "ours": "swarmstate"}
_BATCH = 100
_SCOPES = 10
_SEARCHES = ("search", "scoped", "filtered")


def measure(
    contender: str,
    folder: Path,
    *,
    records: int,
    dimensions: int,
    searches: int,
    approximate_above: int | None,
) -> dict[str, Any]:
    """Return the seconds of searches, and the figures of storing and reopening."""
    vectors, queries = _data(records, dimensions, searches)
    numbers = np.arange(records)
    masks = {"search": None, "scoped": numbers % _SCOPES == 3, "filtered": numbers >= records // 2}

    def brute(query: NDArray[np.float32], kind: str) -> list[int]:
        mask = masks[kind]
        scores = vectors @ query if mask is None else np.where(mask, vectors @ query, -2)
        best = np.argpartition(-scores, 10)[:10]
        return [int(each) for each in best[np.argsort(-scores[best])]]

    if contender == "numpy":
        return {kind: _times(queries, partial(brute, kind=kind)) for kind in _SEARCHES}

    where: dict[str, dict[str, Any]] = {
        "search": {},
        "scoped": {"scope": ("crew", "3")},
        "filtered": {"filter": {"number": {"$gte": records // 2}}},
    }
    measured: dict[str, Any] = {}
    path = folder / "vectors.db"
    with DiskStore(path) as store:
        collection = Collection(store, "memories", approximate_above=approximate_above)
        started = perf_counter()
        _fill(collection, vectors)
        measured["saved a second"] = records / (perf_counter() - started)
    measured["bytes"] = sum(each.stat().st_size for each in folder.iterdir())
    with DiskStore(path) as store:
        collection = Collection(store, "memories", approximate_above=approximate_above)
        started = perf_counter()
        collection.search(queries[0])
        measured["opened"] = perf_counter() - started
        started = perf_counter()
        collection.optimize()
        measured["optimized"] = perf_counter() - started

        def ours(query: NDArray[np.float32], kind: str) -> list[int]:
            found = collection.search(query, **where[kind])
            return [int(match.record.id) for match in found]

        for kind in _SEARCHES:
            measured[kind] = _times(queries, partial(ours, kind=kind))
        found = sum(
            len(set(ours(query, kind)) & set(brute(query, kind)))
            for query in queries[:50]
            for kind in _SEARCHES
        )
    measured["recall"] = found / (min(50, searches) * len(_SEARCHES) * 10)
    # numpy computes in single precision, so equally near neighbors may come out differently.
    if measured["recall"] < (0.999 if approximate_above is None else 0.95):
        raise WrongResultError(f"expected what numpy finds, found {measured['recall']:.1%} of it")
    return measured


def _data(
    records: int, dimensions: int, searches: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the vectors to store and the vectors to search for."""
    # Topics in a space of fewer dimensions, plus noise, as in embeddings of texts.
    rng = np.random.default_rng(1)
    basis = rng.standard_normal((24, dimensions))
    topics = rng.standard_normal((max(10, records // 500), 24))
    mixed = topics[rng.integers(0, len(topics), records + searches)]
    mixed = mixed + 0.6 * rng.standard_normal(mixed.shape)
    data = (mixed @ basis + 0.3 * rng.standard_normal((len(mixed), dimensions))).astype(np.float32)
    data /= np.linalg.norm(data, axis=1)[:, None]
    return data[:records], data[records:]


def _fill(collection: Collection, vectors: NDArray[np.float32]) -> None:
    for start in range(0, len(vectors), _BATCH):
        collection.upsert(
            Record(
                f"{number}",
                {"text": f"what is remembered as number {number}", "number": number},
                [vectors[number]],
                ("crew", f"{number % _SCOPES}"),
            )
            for number in range(start, min(start + _BATCH, len(vectors)))
        )


def _times(
    queries: NDArray[np.float32], search: Callable[[NDArray[np.float32]], object]
) -> dict[str, float]:
    """Return the median and the 95th percentile of the seconds of a search."""
    timings = []
    for query in queries:
        started = perf_counter()
        search(query)
        timings.append(perf_counter() - started)
    return {"p50": median(timings), "p95": quantiles(timings, n=20)[-1]}


def tables(rounds: Rounds, parameters: dict[str, Any]) -> list[Table]:
    """Return the search times, theirs divided by ours."""
    size = f"{parameters['records']:,} records of {parameters['dimensions']} dimensions"
    times = Table(
        f"Vectors: the 10 nearest of {size}",
        ["search", "", *(f"{kind} {part}" for kind in _SEARCHES for part in ("p50", "p95", "÷"))],
    )
    for name in rounds.results:
        cells = [_LABELS[name], ""]
        for kind in _SEARCHES:
            middle = at(kind, "p50")
            cells.append(seconds(rounds.median(name, middle)))
            cells.append(seconds(rounds.median(name, at(kind, "p95"))))
            cells.append(ratio(rounds.ratio(name, "ours", middle)))
        times.add(*cells)
    stored = Table(
        f"Vectors: {size} in a file, stored in batches of {_BATCH}",
        ["store", "", "saved per second", "file, MB", "first search", "clusters", "recall"],
    )
    if "ours" in rounds:
        stored.add(
            _LABELS["ours"],
            "",
            f"{rounds.median('ours', at('saved a second')):,.0f}",
            f"{rounds.median('ours', at('bytes')) / 1e6:,.0f}",
            seconds(rounds.median("ours", at("opened"))),
            seconds(rounds.median("ours", at("optimized"))),
            f"{rounds.median('ours', at('recall')):.4f}",
        )
    return [times, stored]

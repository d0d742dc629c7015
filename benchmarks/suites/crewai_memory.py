"""Memory under CrewAI: its default storage, LanceDB, and ours.

Both run in the environment of the CrewAI adapter; see `make crewai`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

from benchmarks.report import Table, megabytes, ratio, seconds
from benchmarks.rounds import Figure, Rounds, WrongResultError, at

if TYPE_CHECKING:
    import numpy as np
    from crewai.memory.storage.backend import StorageBackend
    from crewai.memory.types import MemoryRecord

    Vectors = np.ndarray[Any, np.dtype[np.float32]]

_Result = TypeVar("_Result")
_Kept = TypeVar("_Kept")

ENVIRONMENT = ".venv-crewai"
CONTENDER_NAMES = ("lancedb", "ours")
PARAMETERS: dict[str, Any] = {"records": 10_000, "dimensions": 384}
_LABELS = {"lancedb": "LanceDB (CrewAI's default)", "ours": "swarmstate, one file"}

_BATCH = 100
_QUERIES = 60
_LISTINGS = 20
_LIMIT = 10
_SCOPES = 10
_SCOPE_NUMBER = 3
_SCOPE = f"/team/{_SCOPE_NUMBER}"
_CATEGORIES = ("fact", "plan", "person", "place")
_NOW = datetime(2026, 1, 1)


def measure(contender: str, folder: Path, *, records: int, dimensions: int) -> dict[str, Any]:
    """Return the seconds and bytes of saving, searching, listing and deleting."""
    # Import CrewAI first, so that its memory is not attributed to the storage.
    import crewai.memory.unified_memory  # noqa: F401

    vectors, queries = _vectors(records + _QUERIES, dimensions, records)
    storage = _open(contender, folder)
    before = _forget_peak()
    saving = _save(storage, vectors)
    _close(contender)

    started = perf_counter()
    storage = _open(contender, folder)
    storage.search(queries[0].tolist(), limit=_LIMIT)
    reopening = perf_counter() - started
    searches = _search(storage, vectors, queries)
    listings = _list(storage, records)
    size = sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())
    deleting = _delete_scope(storage, records)
    _close(contender)
    return {
        "save": saving / records,
        "reopen": reopening,
        **searches,
        **listings,
        "delete": deleting,
        "disk": size,
        "memory": _status("VmHWM") - before,
    }


def _save(storage: StorageBackend, vectors: Vectors) -> float:
    """Save a record for each vector; return the seconds that this took."""
    saving = 0.0
    for batch in _batches(vectors):
        # Creating the records is CrewAI's work for any storage, so it is not timed.
        started = perf_counter()
        storage.save(batch)
        saving += perf_counter() - started
    return saving


def _search(storage: StorageBackend, vectors: Vectors, queries: Vectors) -> dict[str, Any]:
    """Search everything, one scope and one category; return the time of each."""
    embeddings = [query.tolist() for query in queries]
    everything = range(len(vectors))
    found, searching = _timed(
        lambda query: storage.search(query, limit=_LIMIT), embeddings, _scores
    )
    _check(found, vectors, queries, everything)
    found, scoping = _timed(
        lambda query: storage.search(query, scope_prefix=_SCOPE, limit=_LIMIT), embeddings, _scores
    )
    _check(found, vectors, queries, _in_scope(len(vectors)))
    planned, filtering = _timed(
        lambda query: storage.search(query, categories=["plan"], limit=_LIMIT),
        embeddings,
        lambda found: found and all("plan" in record.categories for record, _ in found),
    )
    if not all(planned):
        raise WrongResultError("expected every search to find only records of the category")
    return {"search": searching, "scoped": scoping, "filtered": filtering}


def _list(storage: StorageBackend, records: int) -> dict[str, Any]:
    """Count a scope and list the newest records; return the time of each."""
    counts, counting = _timed(lambda _: storage.count(_SCOPE), [None] * _QUERIES, int)
    lists, listing = _timed(
        lambda _: storage.list_records(limit=200),
        [None] * _LISTINGS,
        lambda listed: [record.id for record in listed],
    )
    newest = [f"memory-{number}" for number in reversed(range(records)[-200:])]
    if counts[0] != len(_in_scope(records)) or lists[0] != newest:
        raise WrongResultError("expected the count of the scope and the newest records")
    return {"count": counting, "list": listing}


def _delete_scope(storage: StorageBackend, records: int) -> float:
    """Delete the records of one scope; return the seconds that this took."""
    started = perf_counter()
    storage.delete(scope_prefix=_SCOPE)
    deleting = perf_counter() - started
    if storage.count() != records - len(_in_scope(records)):
        raise WrongResultError("expected only the records of the scope to be deleted")
    return deleting


def _in_scope(records: int) -> range:
    """Return the numbers of the records in the scope to search, count and delete."""
    return range(_SCOPE_NUMBER, records, _SCOPES)


def _open(contender: str, folder: Path) -> StorageBackend:
    if contender == "ours":
        from crewai_swarmstate import SwarmStateStorage

        return SwarmStateStorage(folder / "memory.db")
    from crewai.memory.storage.lancedb_storage import LanceDBStorage

    return LanceDBStorage(folder / "lancedb")


def _close(contender: str) -> None:
    if contender == "ours":
        from crewai_swarmstate import close_stores

        close_stores()


def _vectors(count: int, dimensions: int, records: int) -> tuple[Vectors, Vectors]:
    import numpy as np

    random = np.random.default_rng(7)
    # Clustered, like embeddings of texts.
    centres = random.standard_normal((64, dimensions))
    points = centres[random.integers(0, 64, count)] + random.standard_normal((count, dimensions))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    vectors = points.astype(np.float32)
    return vectors[:records], vectors[records:]


def _batches(vectors: Vectors) -> Iterator[list[MemoryRecord]]:
    for start in range(0, len(vectors), _BATCH):
        stop = min(start + _BATCH, len(vectors))
        yield [_record(number, vectors[number].tolist()) for number in range(start, stop)]


def _record(number: int, embedding: list[float]) -> MemoryRecord:
    from crewai.memory.types import MemoryRecord

    created = _NOW + timedelta(seconds=number)
    return MemoryRecord(
        id=f"memory-{number}",
        content=f"What was learned in step {number}, in a sentence of a usual length.",
        scope=f"/team/{number % _SCOPES}",
        categories=[_category(number)],
        metadata={"step": number},
        created_at=created,
        last_accessed=created,
        embedding=embedding,
    )


def _category(number: int) -> str:
    return _CATEGORIES[number // _SCOPES % len(_CATEGORIES)]


def _timed(
    call: Callable[[Any], _Result], arguments: list[Any], check: Callable[[_Result], _Kept]
) -> tuple[list[_Kept], dict[str, float]]:
    """Time a call with each argument; return what `check` returns for the results.

    The results themselves are dropped: embeddings as lists of Python floats would dominate the
    measured memory.
    """
    kept, timings = [], []
    for argument in arguments:
        started = perf_counter()
        result = call(argument)
        timings.append(perf_counter() - started)
        kept.append(check(result))
        del result
    return kept, {"p50": median(timings), "p95": quantiles(timings, n=20)[-1]}


def _scores(found: list[tuple[MemoryRecord, float]]) -> list[float]:
    return [score for _, score in found]


def _check(found: list[list[float]], vectors: Vectors, queries: Vectors, among: range) -> None:
    """Compare with a full scan of all vectors: both storages are exact at these sizes."""
    selected = vectors[among.start : among.stop : among.step]
    for found_scores, query in zip(found, queries, strict=True):
        distances = 2 - 2 * (selected @ query)
        nearest = sorted(distances)[:_LIMIT]
        scores = [1 / (1 + distance) for distance in nearest]
        if len(found_scores) != _LIMIT or any(
            abs(score - expected) > 1e-4
            for score, expected in zip(found_scores, scores, strict=True)
        ):
            raise WrongResultError("expected the nearest records, best first")


def _forget_peak() -> int:
    """Reset the peak memory of this process; return its current memory, in bytes.

    Linux only; see proc_pid_clear_refs(5).
    """
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith(f"{name}:")]
    return int(line.split()[1]) * 1024


_ROWS: tuple[tuple[str, Figure], ...] = (
    ("save a record, in batches of 100", at("save")),
    ("open and search once", at("reopen")),
    ("search, median", at("search", "p50")),
    ("search, p95", at("search", "p95")),
    ("search in one scope of ten, median", at("scoped", "p50")),
    ("search one category of four, median", at("filtered", "p50")),
    ("count a scope, median", at("count", "p50")),
    ("list the newest 200, median", at("list", "p50")),
    ("delete a scope", at("delete")),
)
_SIZES: tuple[tuple[str, Figure], ...] = (
    ("disk", at("disk")),
    ("memory used", at("memory")),
)


def tables(rounds: Rounds, parameters: dict[str, Any]) -> list[Table]:
    """Return the time of each operation, and the default's figure divided by ours."""
    table = Table(
        f"CrewAI memory: {parameters['records']:,} records of {parameters['dimensions']:,} "
        "dimensions",
        ["", *(_LABELS[name] for name in rounds.results), "LanceDB ÷ ours"],
    )
    for rows, shown in ((_ROWS, seconds), (_SIZES, megabytes)):
        for label, figure in rows:
            cells = [shown(rounds.median(name, figure)) for name in rounds.results]
            table.add(label, *cells, ratio(rounds.ratio("lancedb", "ours", figure)))
    return [table]

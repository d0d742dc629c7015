"""LangGraph's long-term memory: items of many users, with and without embeddings."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from langgraph.store.base import BaseStore, PutOp

from benchmarks import servers
from benchmarks.report import Table, ratio, seconds
from benchmarks.rounds import Rounds, WrongResultError, at
from benchmarks.text import text

CONTENDER_NAMES = (
    "in-memory",
    "ours",
    "sqlite",
    "ours-file",
    "postgres",
    "ours-postgres",
    "ours-postgres-index",
)
PARAMETERS = {"users": 1_000, "items": 10, "dimensions": 384, "calls": 50}

_BATCH = 100
_FOUND = 10

_PLAIN = {
    "put": "put",
    "get": "get",
    "search": "search a user's",
    "search_all": "search all",
    "list": "list namespaces",
}
_EMBEDDED = {
    "put": "put, in batches of 100",
    "search": "search a user's",
    "search_all": "search all",
}


class _Kind(NamedTuple):
    label: str
    keeps: str
    ours: str
    open: Callable[[Path, Any], AbstractContextManager[BaseStore]]
    # Whether it is also measured without embeddings, and whether this Python can give it
    # embeddings.
    is_plain: bool = True
    embeds: bool = True


@contextmanager
def _in_memory(folder: Path, index: Any) -> Iterator[BaseStore]:
    from langgraph.store.memory import InMemoryStore

    yield InMemoryStore(index=index)


@contextmanager
def _ours(folder: Path, index: Any) -> Iterator[BaseStore]:
    from langgraph.store.swarmstate import SwarmStateStore

    with SwarmStateStore(index=index) as store:
        yield store


@contextmanager
def _sqlite(folder: Path, index: Any) -> Iterator[BaseStore]:
    from langgraph.store.sqlite import SqliteStore

    with SqliteStore.from_conn_string(str(folder / "sqlite.db"), index=index) as store:
        store.setup()
        store.conn.execute("PRAGMA synchronous=FULL")
        yield store


@contextmanager
def _ours_file(folder: Path, index: Any) -> Iterator[BaseStore]:
    from langgraph.store.swarmstate import SwarmStateStore

    with SwarmStateStore(folder / "ours.db", index=index) as store:
        yield store


@contextmanager
def _postgres(folder: Path, index: Any) -> Iterator[BaseStore]:
    from langgraph.store.postgres import PostgresStore

    with (
        servers.postgres(folder) as server,
        PostgresStore.from_conn_string(server.url(), index=index) as store,
    ):
        store.setup()
        yield store


@contextmanager
def _ours_postgres(folder: Path, index: Any) -> Iterator[BaseStore]:
    from langgraph.store.swarmstate import SwarmStateStore

    with servers.postgres(folder) as server, SwarmStateStore(server.url(), index=index) as store:
        yield store


@contextmanager
def _ours_postgres_index(folder: Path, index: Any) -> Iterator[BaseStore]:
    from langgraph.store.swarmstate import SwarmStateStore
    from swarmstate_postgres import vector_index_sql

    with servers.postgres(folder) as server:
        with SwarmStateStore(server.url(), index=index) as store:
            # Creates the tables.
            store.put(("first",), "first", {"text": "first"})
            store.search((), query="first")
            store.delete(("first",), "first")
        server.execute(vector_index_sql("langgraph-vectors", index["dims"]))
        with SwarmStateStore(server.url(), index=index) as store:
            yield store


_KINDS = {
    "in-memory": _Kind("InMemoryStore", "memory", "ours", _in_memory),
    "ours": _Kind("swarmstate", "memory", "ours", _ours),
    "sqlite": _Kind("SqliteStore", "file, full", "ours-file", _sqlite, embeds=False),
    "ours-file": _Kind("swarmstate", "file, full", "ours-file", _ours_file),
    "postgres": _Kind("PostgresStore", "PostgreSQL", "ours-postgres", _postgres),
    "ours-postgres": _Kind("swarmstate", "PostgreSQL", "ours-postgres", _ours_postgres),
    "ours-postgres-index": _Kind(
        "swarmstate, vector_index_sql()",
        "PostgreSQL",
        "ours-postgres",
        _ours_postgres_index,
        is_plain=False,
    ),
}


def measure(
    contender: str, folder: Path, *, users: int, items: int, dimensions: int, calls: int
) -> dict[str, Any]:
    """Return the median seconds of each operation, with and without embeddings."""
    kind = _KINDS[contender]
    sizes = (users, items, calls)
    plain, embedded = folder / "plain", folder / "embedded"
    for each in (plain, embedded):
        each.mkdir(mode=0o755)
    measured = {}
    if kind.is_plain:
        with kind.open(plain, None) as store:
            measured["plain"] = _plain(store, *sizes)
    if kind.embeds:
        index = {"dims": dimensions, "embed": _embed(dimensions), "fields": ["text"]}
        with kind.open(embedded, index) as store:
            measured["embedded"] = _embedded(store, *sizes, dimensions)
    return measured


def _value(user: int, item: int) -> dict[str, Any]:
    return {"text": text(f"{user}/{item}", 160), "kind": ("fact", "habit")[item % 2], "n": item}


def _fill(store: BaseStore, users: int, items: int) -> None:
    puts = [
        PutOp(("users", f"user-{user}"), f"item-{item}", _value(user, item))
        for item in range(items)
        for user in range(users)
    ]
    for start in range(0, len(puts), _BATCH):
        store.batch(puts[start : start + _BATCH])


def _plain(store: BaseStore, users: int, items: int, calls: int) -> dict[str, float]:
    _fill(store, users, items)
    chosen = random.Random(1).sample(range(users), calls)
    spaces = [("users", f"user-{user}") for user in chosen]
    habits = sorted(f"item-{item}" for item in range(1, items, 2))[:_FOUND]
    return {
        "put": _timed(
            calls,
            lambda call: store.put(spaces[call], "item-0", _value(chosen[call], 0)),
            lambda call, _: store.get(spaces[call], "item-0") is not None,
        ),
        "get": _timed(
            calls,
            lambda call: store.get(spaces[call], "item-1"),
            lambda call, found: found.value == _value(chosen[call], 1),
        ),
        "search": _timed(
            calls,
            lambda call: store.search(spaces[call], filter={"kind": "habit"}, limit=_FOUND),
            lambda call, found: sorted(each.key for each in found) == habits,
        ),
        "search_all": _timed(
            calls // 5,
            lambda call: store.search(("users",), limit=_FOUND),
            lambda call, found: len(found) == _FOUND,
        ),
        "list": _timed(
            calls // 5,
            lambda call: store.list_namespaces(prefix=("users",), limit=_FOUND),
            lambda call, found: len(found) == min(users, _FOUND),
        ),
    }


def _embedded(
    store: BaseStore, users: int, items: int, calls: int, dimensions: int
) -> dict[str, float]:
    started = perf_counter()
    _fill(store, users, items)
    filling = (perf_counter() - started) / (users * items)
    embed = _embed(dimensions)
    places = [(f"user-{user}", f"item-{item}") for user in range(users) for item in range(items)]
    texts = [text(f"{user}/{item}", 160) for user in range(users) for item in range(items)]
    matrix = np.array(embed(texts))
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    queries = [text(f"query {number}", 60) for number in range(calls)]
    hits = {"mine": 0, "all": 0}

    def count(kind: str, call: int, found: list[Any]) -> bool:
        scores = matrix @ np.array(embed([queries[call]])[0])
        rows = range(call * items, (call + 1) * items) if kind == "mine" else range(len(places))
        nearest = {places[row] for row in sorted(rows, key=lambda row: -scores[row])[:_FOUND]}
        hits[kind] += len(nearest & {(each.namespace[1], each.key) for each in found})
        scores_found = [each.score for each in found]
        return scores_found == sorted(scores_found, reverse=True)

    measured = {
        "put": filling,
        "search": _timed(
            calls,
            lambda call: store.search(("users", f"user-{call}"), query=queries[call], limit=_FOUND),
            lambda call, found: count("mine", call, found),
        ),
        "search_all": _timed(
            calls,
            lambda call: store.search(("users",), query=queries[call], limit=_FOUND),
            lambda call, found: count("all", call, found),
        ),
    }
    return {
        **measured,
        "search_recall": hits["mine"] / (min(items, _FOUND) * calls),
        "search_all_recall": hits["all"] / (_FOUND * calls),
    }


@cache
def _embed(dimensions: int) -> Callable[[list[str]], list[list[float]]]:
    """Return embeddings that depend only on the text."""

    def embed(texts: list[str]) -> list[list[float]]:
        return [
            np.random.default_rng([*each.encode()]).standard_normal(dimensions).tolist()
            for each in texts
        ]

    return embed


def _timed(calls: int, call: Callable[[int], Any], is_right: Callable[[int, Any], bool]) -> float:
    """Return the median seconds of a call; checking the result is not timed."""
    timings = []
    for number in range(calls):
        started = perf_counter()
        found = call(number)
        timings.append(perf_counter() - started)
        if not is_right(number, found):
            raise WrongResultError(f"expected a memory to return what was put, found {found}")
    return median(timings)


def check(rounds: Rounds) -> None:
    """Check that ours finds all of the nearest items.

    Raises:
        WrongResultError: It does not. For the approximate indexes of others, the tables show the
            recall.
    """
    for name, kind in _KINDS.items():
        if name == kind.ours and name in rounds:
            for each in ("search_recall", "search_all_recall"):
                if rounds.median(name, at("embedded", each)) < 1:
                    raise WrongResultError(f"expected {name} to find all of the nearest")


def tables(rounds: Rounds, parameters: dict[str, Any]) -> list[Table]:
    """Return the results, each contender divided by our contender with the same `keeps`."""
    count = parameters["users"] * parameters["items"]
    of = f"{count:,} items of {parameters['users']:,} users"
    plain = Table(f"Long-term memory: {of}", ["memory", "keeps", *_headings(_PLAIN)])
    embedded = Table(
        f"Long-term memory by meaning: {of}, {parameters['dimensions']} dimensions",
        ["memory", "keeps", *_headings(_EMBEDDED), "recall, a user's", "recall, all"],
    )
    for name in rounds.results:
        kind = _KINDS[name]
        if kind.is_plain:
            plain.add(kind.label, kind.keeps, *_cells(rounds, name, "plain", _PLAIN))
        if kind.embeds:
            cells = _cells(rounds, name, "embedded", _EMBEDDED)
            recalls = [
                f"{rounds.median(name, at('embedded', f'{each}_recall')):.0%}"
                for each in ("search", "search_all")
            ]
            embedded.add(kind.label, kind.keeps, *cells, *recalls)
    return [plain, embedded]


def _headings(operations: dict[str, str]) -> list[str]:
    return [heading for each in operations.values() for heading in (each, "÷ ours")]


def _cells(rounds: Rounds, name: str, part: str, operations: dict[str, str]) -> list[str]:
    cells = []
    for operation in operations:
        figure = at(part, operation)
        cells.append(seconds(rounds.median(name, figure)))
        cells.append(ratio(rounds.ratio(name, _KINDS[name].ours, figure)))
    return cells

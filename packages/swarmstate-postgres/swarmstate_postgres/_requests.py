"""Queries and batches as arguments of the SQL functions, and rows as results."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from secrets import randbits
from typing import Any, NamedTuple, TypeVar

from swarmstate.base import Batch, Query, Result, prefix_end
from swarmstate.errors import ConflictError

__all__ = [
    "CopyOf",
    "Write",
    "conflict_of",
    "read_arguments",
    "renewals",
    "results_of",
    "write_arguments",
]

T = TypeVar("T")

# About 300 years: timestamps of PostgreSQL end somewhere.
_LONGEST_TTL = 1e10
_LARGEST_LIMIT = 2**63 - 1


class CopyOf(NamedTuple):
    """A change to one namespace: it is to hold exactly what another one holds."""

    namespace: str
    source: str


class Write(NamedTuple):
    """Changes of one caller.

    Attributes:
        changes: The changes.
        token: The number by which the server knows them if they come again; its sign says
            whether they were refused.
        weight: About how many bytes are sent for them.
    """

    changes: Sequence[Batch | CopyOf]
    token: int
    weight: int

    @classmethod
    def of(cls, changes: Sequence[Batch | CopyOf]) -> Write:
        """Return a write with a number of its own."""
        weight = 0
        for change in changes:
            weight += 100
            if isinstance(change, Batch):
                for values in (change.put, change.put_if_absent):
                    weight += sum(len(value) + 100 for value in values.values())
        return cls(changes, randbits(62) + 1, weight)


def read_arguments(queries: Sequence[Query]) -> list[Any]:
    """Return the arguments of the function that reads."""
    names: list[str] = []
    asks: list[int] = []
    key_queries: list[int] = []
    keys: list[str] = []
    ranges: list[tuple[int, str, str | None, bool, int | None, bool]] = []
    for number, query in enumerate(queries, 1):
        names.append(query.namespace)
        if query.ask_ttl:
            asks.append(number)
        key_queries += [number] * len(query.keys)
        keys += query.keys
        for start, stop, reverse, limit, keys_only in query.ranges:
            most = None if limit is None else min(limit, _LARGEST_LIMIT)
            ranges.append((number, start, stop, reverse, most, keys_only))
    return [names, asks, key_queries, keys, *_columns(ranges, 6)]


def results_of(queries: Sequence[Query], rows: Iterable[tuple[int, str, bytes]]) -> list[Result]:
    """Return the results of queries, given the rows of the function that reads."""
    values: list[bytes | None] = [None] * sum(len(query.keys) for query in queries)
    ranges: list[list[tuple[str, bytes]]] = [[] for query in queries for _ in query.ranges]
    ttls: dict[int, float] = {}
    points = len(values)
    for slot, key, value in rows:
        if slot > points:
            ranges[slot - points - 1].append((key, value))
        elif slot > 0:
            values[slot - 1] = value
        else:
            ttls[-slot] = float(key)
    if len(queries) == 1 and not ttls:
        return [Result(values, ranges)]
    results = []
    renewed: dict[str, float] = {}
    first_value = first_range = 0
    for number, query in enumerate(queries, 1):
        next_value, next_range = first_value + len(query.keys), first_range + len(query.ranges)
        if query.ttl is not None:
            renewed[query.namespace] = query.ttl
        # The function that renews and the one that reads see the same moment, before both.
        ttl = ttls.get(number)
        if ttl is not None:
            ttl = renewed.get(query.namespace, ttl)
        results.append(Result(values[first_value:next_value], ranges[first_range:next_range], ttl))
        first_value, first_range = next_value, next_range
    return results


def renewals(queries: Iterable[Query]) -> list[Any]:
    """Return the arguments of the function that renews times to live; empty if nothing to do."""
    # The last one counts where a namespace is named twice.
    ttls = {query.namespace: _capped(query.ttl) for query in queries if query.ttl is not None}
    return [list(ttls), list(ttls.values())] if ttls else []


def write_arguments(since: float | None, writes: Sequence[Write]) -> list[Any]:
    """Return the arguments of the function that writes.

    Args:
        since: A time of the server's before these writes were sent first; None if that is now.
        writes: At least one of them has a change.
    """
    locks: set[tuple[str, int]] = set()
    writers: list[int] = []
    names: list[str] = []
    clears: list[bool] = []
    ttls: list[float | None] = []
    sources: list[str | None] = []
    prefixes: list[str | None] = []
    prefix_ends: list[str | None] = []
    last_keys: list[str | None] = []
    range_counts: list[int] = []
    starts: list[str] = []
    stops: list[str | None] = []
    delete_counts: list[int] = []
    deletes: list[str] = []
    values, absents, puts = _Records(), _Records(), _Records()
    for writer, write in enumerate(writes, 1):
        for change in write.changes:
            name = change.namespace
            locks.add((name, writer))
            writers.append(writer)
            names.append(name)
            if isinstance(change, CopyOf):
                source, change = change.source, Batch(name, clear=True)
            else:
                source = None
            sources.append(source)
            clears.append(change.clear)
            ttls.append(_capped(change.ttl))
            expect = change.expect
            prefixes.append(None if expect is None else expect.prefix)
            prefix_ends.append(None if expect is None else prefix_end(expect.prefix))
            last_keys.append(None if expect is None else expect.last_key)
            values.add(change.expect_values)
            range_counts.append(len(change.delete_ranges))
            for start, stop in change.delete_ranges:
                starts.append(start)
                stops.append(stop)
            delete_counts.append(len(change.delete))
            deletes += change.delete
            absents.add(change.put_if_absent)
            puts.add(change.put)
    # The order of strings is that of their UTF-8 bytes.
    ordered = sorted(locks)
    return [
        since,
        [name for name, _ in ordered],
        [writer for _, writer in ordered],
        [writes[writer - 1].token for _, writer in ordered],
        writers,
        names,
        clears if True in clears else None,
        _unless_empty(ttls),
        _unless_empty(sources),
        *([prefixes, prefix_ends, last_keys] if _unless_empty(prefixes) else _NOTHING),
        *values.columns(),
        *([range_counts, starts, stops] if starts else _NOTHING),
        *([delete_counts, deletes] if deletes else _NOTHING[:2]),
        *absents.columns(),
        *puts.columns(),
    ]


_NOTHING = (None, None, None)


class _Records:
    """Records of batches, one after another, and how many each batch has."""

    def __init__(self) -> None:
        self._counts: list[int] = []
        self._keys: list[str] = []
        self._values: list[bytes | None] = []

    def add(self, records: Mapping[str, bytes | None]) -> None:
        self._counts.append(len(records))
        self._keys += records
        self._values += records.values()

    def columns(self) -> Sequence[Sequence[Any] | None]:
        return [self._counts, self._keys, self._values] if self._keys else _NOTHING


def _unless_empty(entries: list[T | None]) -> list[T | None] | None:
    return None if entries.count(None) == len(entries) else entries


def conflict_of(writes: Sequence[Write], refused: Sequence[Any]) -> tuple[int, ConflictError]:
    """Return which write was refused, counted from 0, and why, given a row of that function."""
    writer, batch, found, kind, _ = refused
    changes = [change for write in writes for change in write.changes]
    change = changes[batch - 1]
    expect = change.expect if isinstance(change, Batch) else None
    if kind == "last key" and expect is not None:
        wanted, is_now = ("none" if key is None else repr(key) for key in (expect.last_key, found))
        reason = (
            f"the last key that starts with {expect.prefix!r} was expected to be {wanted}, but it "
            f"is {is_now}"
        )
    elif kind == "value":
        reason = f"key {found!r} was expected to hold another value or none"
    else:
        reason = "an expectation did not hold"
    return writer - 1, ConflictError(
        f"in namespace {change.namespace!r}, {reason}; nothing of the batch was applied: read "
        "again and retry"
    )


def _capped(ttl: float | None) -> float | None:
    return ttl if ttl is None or ttl == math.inf else min(ttl, _LONGEST_TTL)


def _columns(rows: Sequence[Sequence[Any]], width: int) -> Sequence[Sequence[Any]]:
    return list(zip(*rows, strict=True)) if rows else [()] * width

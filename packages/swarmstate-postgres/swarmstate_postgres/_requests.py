"""Converts queries and batches to arguments of the SQL functions, and rows to results."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from secrets import randbits
from typing import Any, NamedTuple, TypeVar

from swarmstate.base import Batch, Expect, Query, Result, prefix_end
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

# About 300 years, well within the range of PostgreSQL's timestamps.
_LONGEST_TTL = 1e10
_LARGEST_LIMIT = 2**63 - 1


class CopyOf(NamedTuple):
    """A change that makes a namespace hold exactly what another one holds."""

    namespace: str
    source: str


class Write(NamedTuple):
    """The changes of one caller.

    Attributes:
        changes: The changes.
        token: The number by which the server recognizes a retry; the server stores it
            negated if the write was refused.
        weight: The approximate size in bytes.
    """

    changes: Sequence[Batch | CopyOf]
    token: int
    weight: int

    @classmethod
    def of(cls, changes: Sequence[Batch | CopyOf]) -> Write:
        """Return a write with a new token."""
        weight = 0
        for change in changes:
            weight += 100
            if isinstance(change, Batch):
                for values in (change.put, change.put_if_absent):
                    weight += sum(len(value) + 100 for value in values.values())
        return cls(changes, randbits(62) + 1, weight)


def read_arguments(queries: Sequence[Query]) -> list[Any]:
    """Return the arguments of the read function."""
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
            ranges.append((number, start, stop, bool(reverse), most, bool(keys_only)))
    return [names, asks, key_queries, keys, *_columns(ranges, 6)]


def results_of(queries: Sequence[Query], rows: Iterable[tuple[int, str, bytes]]) -> list[Result]:
    """Return the results of queries from the rows of the read function."""
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
        # The read function sees the snapshot from before the renewal.
        ttl = ttls.get(number)
        if ttl is not None:
            ttl = renewed.get(query.namespace, ttl)
        results.append(Result(values[first_value:next_value], ranges[first_range:next_range], ttl))
        first_value, first_range = next_value, next_range
    return results


def renewals(queries: Iterable[Query]) -> list[Any]:
    """Return the arguments of the renew function; empty if there is nothing to renew."""
    # If a namespace occurs twice, the last one wins.
    ttls = {query.namespace: _capped(query.ttl) for query in queries if query.ttl is not None}
    return [list(ttls), list(ttls.values())] if ttls else []


def write_arguments(since: float | None, writes: Sequence[Write]) -> list[Any]:
    """Return the arguments of the write function: columns with an entry for each change.

    Args:
        since: A server time before the first attempt; None if this is the first.
        writes: The writes; at least one of them has a change.
    """
    changes = [change for write in writes for change in write.changes]
    writers = [writer for writer, write in enumerate(writes, 1) for _ in write.changes]
    batches = [_batch_of(change) for change in changes]
    names = [batch.namespace for batch in batches]
    clears = [bool(batch.clear) for batch in batches]
    # Python sorts strings as their UTF-8 bytes, so all writers lock in the same order.
    locks = sorted(set(zip(names, writers, strict=True)))
    return [
        since,
        [name for name, _ in locks],
        [writer for _, writer in locks],
        [writes[writer - 1].token for _, writer in locks],
        writers,
        names,
        clears if True in clears else None,
        _unless_empty([_capped(batch.ttl) for batch in batches]),
        _unless_empty([each.source if isinstance(each, CopyOf) else None for each in changes]),
        *_expected([batch.expect for batch in batches]),
        *_records([batch.expect_values for batch in batches]),
        *_ranges([batch.delete_ranges for batch in batches]),
        *_keys([batch.delete for batch in batches]),
        *_records([batch.put_if_absent for batch in batches]),
        *_records([batch.put for batch in batches]),
    ]


def _batch_of(change: Batch | CopyOf) -> Batch:
    """Return the part of a change that is a batch: for a copy, clearing the target."""
    return Batch(change.namespace, clear=True) if isinstance(change, CopyOf) else change


_NOTHING = (None, None, None)


def _expected(expects: Sequence[Expect | None]) -> Sequence[Sequence[str | None] | None]:
    """Return the columns of expectations: prefixes, their ends, and last keys."""
    if not any(expects):
        return _NOTHING
    return [
        [None if each is None else each.prefix for each in expects],
        [None if each is None else prefix_end(each.prefix) for each in expects],
        [None if each is None else each.last_key for each in expects],
    ]


# In these columns, the first has the number of items of each change; the others list all items.


def _records(
    records: Sequence[Mapping[str, bytes | None]],
) -> Sequence[Sequence[Any] | None]:
    if not any(records):
        return _NOTHING
    return [
        [len(each) for each in records],
        [key for each in records for key in each],
        [value for each in records for value in each.values()],
    ]


def _ranges(
    ranges: Sequence[Sequence[tuple[str, str | None]]],
) -> Sequence[Sequence[Any] | None]:
    if not any(ranges):
        return _NOTHING
    return [
        [len(each) for each in ranges],
        [start for each in ranges for start, _ in each],
        [stop for each in ranges for _, stop in each],
    ]


def _keys(keys: Sequence[Sequence[str]]) -> Sequence[Sequence[Any] | None]:
    if not any(keys):
        return _NOTHING[:2]
    return [[len(each) for each in keys], [key for each in keys for key in each]]


def _unless_empty(entries: list[T | None]) -> list[T | None] | None:
    return None if entries.count(None) == len(entries) else entries


def conflict_of(writes: Sequence[Write], refused: Sequence[Any]) -> tuple[int, ConflictError]:
    """Return the index of a refused write and its error, from a row of the write function."""
    writer, batch, found, kind, _ = refused
    changes = [change for write in writes for change in write.changes]
    change = changes[batch - 1]
    expect = change.expect if isinstance(change, Batch) else None
    if kind == "last key" and expect is not None:
        wanted, is_now = ("none" if key is None else repr(key) for key in (expect.last_key, found))
        reason = (
            f"the last key starting with {expect.prefix!r} was expected to be {wanted}, but it "
            f"is {is_now}"
        )
    elif kind == "value":
        reason = f"key {found!r} was expected to have a different value or none"
    else:
        reason = "an expectation did not hold"
    return writer - 1, ConflictError(
        f"in namespace {change.namespace!r}, {reason}; nothing in the batch was applied: read "
        "again and retry"
    )


def _capped(ttl: float | None) -> float | None:
    return ttl if ttl is None or ttl == math.inf else min(ttl, _LONGEST_TTL)


def _columns(rows: Sequence[Sequence[Any]], width: int) -> Sequence[Sequence[Any]]:
    return list(zip(*rows, strict=True)) if rows else [()] * width

"""Move records from one store to another.

`copy_store` copies them byte for byte, whatever they mean. Other distributions offer
importers for the records of other programs, in the entry-point group
`swarmstate.importers`; see `Importer`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from secrets import token_hex
from typing import NamedTuple, Protocol

from swarmstate.base import BaseStore, Batch, Expect, Query, Range, check_store
from swarmstate.errors import ConflictError, StoreReadOnlyError

__all__ = [
    "CopyReport",
    "Importer",
    "Progress",
    "Report",
    "StoreSize",
    "are_one",
    "copy_store",
    "counted",
    "measure",
]

# How many namespaces are listed at a time.
_NAMESPACES = 500

# Records are read in pages of about this many bytes, the first one of this many records.
_PAGE_BYTES = 8 * 1024 * 1024
_FIRST_PAGE = 256
_LARGEST_PAGE = 10_000

# A namespace of up to this many bytes is written in one batch, and so atomically.
_BATCH_BYTES = 32 * 1024 * 1024

# How many seconds equal expiries may differ by: reading and setting them takes time.
_TOLERANCE = 5.0

# Namespaces whose keys index other namespaces: LangGraph's index over threads. Those of two stores
# are merged, since the entries of one are useful beside the other's threads, too. They are named
# here because stores are also copied where no adapter is installed.
_INDEXES = frozenset({"langgraph-index"})

# Where to leave a mark that shows whether two stores are the same, and its time to live.
_MARKS = "swarmstate-copy:"
_MARK_TTL = 60.0

Row = tuple[str, bytes]


def counted(count: int, what: str) -> str:
    """Return a count of things, for people: "1 record", "2,000 records"."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


class Progress(NamedTuple):
    """How far a task has progressed.

    Attributes:
        stage: The current stage, such as "copying".
        done: How many units are done.
        total: How many units there are.
        unit: The name of the unit, such as "namespaces".
    """

    stage: str
    done: int
    total: int
    unit: str


class Report(Protocol):
    """A report of what was moved; `str()` makes it readable for people."""

    @property
    def failures(self) -> Sequence[str]:
        """What could not be moved, or differs afterwards, and why."""


class Importer(Protocol):
    """Reads what another program stored, and stores it here.

    The object of an entry point in the group `swarmstate.importers`, whose name is what
    users call this kind of source.
    """

    def __call__(
        self,
        source: str,
        store: BaseStore,
        *,
        only: Sequence[str] = (),
        progress: Callable[[Progress], None] | None = None,
    ) -> Report:
        """Import everything, or only the named parts, and compare it afterwards.

        What already exists is not imported again, so an interrupted import can continue.
        If a part fails, the others are still imported, and the report names it.

        Args:
            source: A path or URL; never shown, since it may hold a password.
            store: The store to import into.
            only: Names of what to import, such as threads; all if empty.
            progress: Called occasionally.

        Raises:
            SwarmStateError: The source or the store cannot be used at all.
        """


class CopyReport(NamedTuple):
    """The result of `copy_store`.

    Attributes:
        namespaces: The number of namespaces in the source.
        records: The number of records in them.
        size: The size of their values.
        written: How many records were written; the others already existed, or are in
            namespaces that failed.
        failures: Why namespaces were not copied, or differ afterwards.
    """

    namespaces: int
    records: int
    size: int
    written: int
    failures: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the report as a line of text."""
        others = "already existed"
        if self.failures:
            others += f" or are in {counted(len(self.failures), 'namespace')} that failed"
        return (
            f"{counted(self.namespaces, 'namespace')}, {counted(self.records, 'record')}, "
            f"{counted(self.size, 'byte')}; {counted(self.written, 'record')} written, "
            f"{self.records - self.written:,} {others}"
        )


class StoreSize(NamedTuple):
    """The size of a store's content.

    Attributes:
        namespaces: The number of namespaces.
        records: The number of records.
        size: The size of their values; the storage takes more space.
    """

    namespaces: int
    records: int
    size: int


def copy_store(
    source: BaseStore,
    target: BaseStore,
    *,
    prefix: str = "",
    overwrite: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> CopyReport:
    """Copy all records, byte for byte and with the expiry of their namespaces, and compare them.

    The target may hold other namespaces. If it already has a namespace, equal records
    stay; so to continue an interrupted copy, call this again. Such a namespace takes over
    the source's expiry. The index over LangGraph's threads gains the records it lacks and
    keeps the others, even with `overwrite`.

    A namespace of up to 32 MiB is copied atomically; a larger one is written in several
    steps. Nothing should write to either store meanwhile: writes to the source may or may
    not be copied, and the comparison reports those that were not.

    Args:
        source: The store to copy from; it is only read.
        target: The store to copy to.
        prefix: Only namespaces that start with this.
        overwrite: Replace namespaces that hold other records in the target.
            Otherwise they are left unchanged, and reported.
        progress: Called after each namespace.

    Returns:
        What was copied; `failures` is empty if the target holds all of it.

    Raises:
        TypeError: One of the two is not a store.
        StoreError: A store cannot be read or written. What was copied stays; call this again
            to continue.
    """
    check_store(source)
    check_store(target)
    tell = progress or _ignore
    names = list(_names(source, prefix))
    failures: dict[str, str] = {}
    written = records = size = 0
    for done, name in enumerate(names, start=1):
        try:
            if name in _INDEXES:
                written += _merge(source, target, name)
            else:
                written += _copy(source, target, name, overwrite)
        except ConflictError as error:
            failures[name] = str(error)
        tell(Progress("copying", done, len(names), "namespaces"))
    for done, name in enumerate(names, start=1):
        found, bytes_found, difference = _compare(source, target, name)
        records += found
        size += bytes_found
        if difference is not None:
            failures.setdefault(name, f"namespace {name!r} does not match: {difference}")
        tell(Progress("comparing", done, len(names), "namespaces"))
    return CopyReport(len(names), records, size, written, tuple(failures.values()))


def are_one(source: BaseStore, target: BaseStore) -> bool:
    """Return whether writes to one store appear in the other, such as when both are one file.

    Addresses cannot show this: a file has many paths, and a server many names. So a mark is
    written to `target`, looked up in `source` and removed again. If the target cannot be
    written, the answer is False.
    """
    mark = f"{_MARKS}{token_hex(16)}"
    try:
        target.write([Batch(mark, put={"mark": b"\xc0"}, ttl=_MARK_TTL)])
    except StoreReadOnlyError:
        return False
    try:
        [found] = source.read([Query(mark, keys=["mark"])])
        return found.values[0] is not None
    finally:
        target.write([Batch(mark, clear=True)])


def measure(store: BaseStore, prefix: str = "") -> StoreSize:
    """Measure the namespaces of a store that start with `prefix`; reads all of them."""
    namespaces = records = size = 0
    for name in _names(store, prefix):
        namespaces += 1
        for page in _pages(store, name):
            records += len(page)
            size += _size(page)
    return StoreSize(namespaces, records, size)


def _names(store: BaseStore, prefix: str) -> Iterator[str]:
    page = store.namespaces(prefix, limit=_NAMESPACES)
    while page:
        yield from page
        page = store.namespaces(prefix, after=page[-1], limit=_NAMESPACES)


def _pages(store: BaseStore, name: str) -> Iterator[list[Row]]:
    """Yield all records of a namespace, in pages of about equal size."""
    start, limit = "", _FIRST_PAGE
    while True:
        [found] = store.read([Query(name, ranges=[Range(start, limit=limit)])])
        [page] = found.ranges
        if page:
            yield page
        if len(page) < limit:
            return
        # The least key above the last one.
        start = page[-1][0] + "\x01"
        mean = max(_size(page) // len(page), 1)
        limit = min(max(_PAGE_BYTES // mean, 1), _LARGEST_PAGE)


def _keys(store: BaseStore, name: str) -> set[str]:
    [found] = store.read([Query(name, ranges=[Range(keys_only=True)])])
    return {key for key, _ in found.ranges[0]}


def _size(rows: Sequence[Row]) -> int:
    return sum(len(value) for _, value in rows)


def _copy(source: BaseStore, target: BaseStore, name: str, overwrite: bool) -> int:
    """Copy a namespace and return how many records were written.

    Raises:
        ConflictError: The target has other records; nothing was written.
    """
    left = _keys(target, name)
    fresh = not left
    if left and not overwrite:
        _check_resumable(source, target, name, left)
    end = _end(source, name)
    rows: dict[str, bytes] = {}
    size = written = 0
    for page in _pages(source, name):
        missing = page if fresh else _other(target, name, page)
        left.difference_update(key for key, _ in page)
        rows.update(missing)
        size += _size(missing)
        if size >= _BATCH_BYTES:
            expect = Expect("", None) if fresh and not written else None
            target.write([Batch(name, put=rows, ttl=_ttl(end), expect=expect)])
            written += len(rows)
            rows, size = {}, 0
    if rows or left:
        expect = Expect("", None) if fresh and not written else None
        target.write([Batch(name, put=rows, delete=sorted(left), ttl=_ttl(end), expect=expect)])
        written += len(rows)
    # Even after a write, because it may have taken long.
    if _difference_of_ends(end, _end(target, name)) is not None:
        target.write([Batch(name, ttl=_ttl(end))])
    return written


def _merge(source: BaseStore, target: BaseStore, name: str) -> int:
    """Add the index records that the target lacks, and return their number."""
    there = _keys(target, name)
    written = 0
    for page in _pages(source, name):
        missing = {key: value for key, value in page if key not in there}
        if missing:
            # Another user of the target may have added them in the meantime.
            target.write([Batch(name, put_if_absent=missing)])
            written += len(missing)
    return written


def _end(store: BaseStore, name: str) -> float | None:
    """Return when a namespace expires, on the monotonic clock; None if it does not exist."""
    [found] = store.read([Query(name, ask_ttl=True)])
    return None if found.ttl is None else time.monotonic() + found.ttl


def _ttl(end: float | None) -> float | None:
    # If the source has expired in the meantime, the target must expire, too.
    return None if end is None else max(end - time.monotonic(), 0.001)


def _difference_of_ends(end: float | None, other: float | None) -> str | None:
    if end is None or other is None or math.isclose(end, other, rel_tol=0, abs_tol=_TOLERANCE):
        return None
    if math.inf in (end, other):
        return "it expires in only one store"
    return f"it expires {abs(other - end):,.0f} seconds too {'late' if other > end else 'early'}"


def _check_resumable(source: BaseStore, target: BaseStore, name: str, left: set[str]) -> None:
    """Raise ConflictError unless the target holds nothing but records of the source."""
    unknown = set(left)
    for page in _pages(source, name):
        there = [(key, value) for key, value in page if key in left]
        unknown.difference_update(key for key, _ in there)
        for key, _ in _other(target, name, there):
            raise ConflictError(
                f"namespace {name!r} in the target has a different value for key {key!r}; it was "
                "left unchanged: remove it, or overwrite it"
            )
    if unknown:
        raise ConflictError(
            f"namespace {name!r} in the target has {counted(len(unknown), 'record')} that the "
            f"source lacks, such as {min(unknown)!r}; it was left unchanged: remove it, or "
            "overwrite it"
        )


def _other(store: BaseStore, name: str, rows: Sequence[Row]) -> list[Row]:
    """Return those of `rows` that a store lacks, or holds with another value."""
    [found] = store.read([Query(name, keys=[key for key, _ in rows])])
    return [
        (key, value)
        for (key, value), there in zip(rows, found.values, strict=True)
        if value != there
    ]


def _compare(source: BaseStore, target: BaseStore, name: str) -> tuple[int, int, str | None]:
    """Return the number of records, their size, and the first difference in the target, if any."""
    records = size = 0
    difference: str | None = None
    there = _keys(target, name)
    is_index = name in _INDEXES
    left = set() if is_index else set(there)
    for page in _pages(source, name):
        records += len(page)
        size += _size(page)
        left.difference_update(key for key, _ in page)
        if is_index:
            other = [(key, value) for key, value in page if key not in there]
        else:
            other = _other(target, name, page)
        if other and difference is None:
            difference = f"{other[0][0]!r} is missing or different"
    if difference is None and left:
        difference = f"only the target has {min(left)!r}"
    if difference is None and records and not is_index:
        difference = _difference_of_ends(_end(source, name), _end(target, name))
    return records, size, difference


def _ignore(_progress: Progress) -> None:
    pass

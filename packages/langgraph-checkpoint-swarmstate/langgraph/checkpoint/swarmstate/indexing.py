"""Reading and writing the index over threads, even after a store has lost part of it.

The index is derived data. If a server has evicted part of it, or a disk has damaged it, it is
cleared and marked as lost: threads that it does not name are then found without it. A put never
fails because of the index.

A thread that expires leaves its entries behind, and a thread that is deleted during a write may
leave some. Listing all threads removes them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence

from swarmstate import Batch, Query, Range
from swarmstate.errors import (
    StoreFormatError,
    StoreIncompleteError,
    StoreReadOnlyError,
    StoreUnavailableError,
)
from swarmstate.operations import Namespaces, Operation, Read, Write, read_apart

from .layout import (
    CHECKPOINTS,
    INDEX,
    LOST,
    RUNS,
    THREADS,
    TIMES,
    parse_run_key,
    parse_time_key,
    run_prefix,
    thread_namespace,
)

logger = logging.getLogger(__name__)

_THREADS_AT_ONCE = 64
_PAGE = 1_000


def read_index(ranges: Sequence[Range]) -> Operation[list[list[str]] | None]:
    """Return the index keys in each range; None if the index cannot be read."""
    try:
        [answer] = yield Read([Query(INDEX, (), ranges)])
    except (StoreIncompleteError, StoreFormatError):
        return None
    return [[key for key, _ in found] for found in answer.ranges]


def write_indexed(batches: Sequence[Batch], index: Batch) -> Operation[None]:
    """Write batches, and then one to the index.

    If part of the index is missing or damaged, the index is started over and everything is
    written again. The batches must therefore be idempotent.
    """
    try:
        yield Write([*batches, index])
    except (StoreIncompleteError, StoreFormatError):
        if (yield from read_index((Range(keys_only=True),))) is not None:
            # The index is fine, so something else is incomplete.
            raise
        yield Write([Batch(INDEX, clear=True, put={LOST: b""})])
        yield Write([*batches, index])


def threads_of_runs(run_ids: Sequence[str]) -> Operation[dict[str, list[str]]]:
    """Return the threads that the runs may have written to, each with its index entries."""
    prefixes = [run_prefix(run_id) for run_id in run_ids]
    ranges = [Range.of_prefix(prefix, keys_only=True) for prefix in prefixes]
    found = yield from read_index([*ranges, Range.of_prefix(LOST, keys_only=True)])
    entries: dict[str, list[str]] = {}
    if found is not None:
        for prefix, keys in zip(prefixes, found, strict=False):
            for key in keys:
                # Skip a damaged entry that names no thread: the index is only derived.
                if thread := key[len(prefix) :]:
                    entries.setdefault(thread, []).append(key)
    if found is None or LOST in found[-1]:
        # The index may lack some threads, so ask the threads themselves.
        marks = [f"{RUNS}{run_id}" for run_id in run_ids]
        namespaces = yield Namespaces(THREADS)
        for start in range(0, len(namespaces), _THREADS_AT_ONCE):
            asked = namespaces[start : start + _THREADS_AT_ONCE]
            answers = yield Read([Query(namespace, marks) for namespace in asked])
            for namespace, answer in zip(asked, answers, strict=True):
                if namespace != THREADS and any(value is not None for value in answer.values):
                    entries.setdefault(namespace[len(THREADS) :], [])
    return entries


def forget_gone(alive: Collection[str]) -> Operation[None]:
    """Remove the index entries of threads that are not in `alive`.

    A thread may come back in the meantime. It exists before its entries do, so checking the
    threads whose entries were removed finds it, and its entries are put back.

    There may be many more entries of runs, so they are scanned only if a thread is gone.
    """
    try:
        if (yield from _forget_in(TIMES, parse_time_key, alive)):
            yield from _forget_in(RUNS, parse_run_key, alive)
    except (StoreReadOnlyError, StoreUnavailableError):
        # The caller has its list of threads; a store that is read-only must not spoil that.
        logger.debug("index entries of missing threads are kept: the store cannot be written to")


def _forget_in(
    area: str, parse: Callable[[str], tuple[str, str]], alive: Collection[str]
) -> Operation[bool]:
    """Remove the entries of missing threads from an area; return whether there were any."""
    forgotten = False
    page = Range.of_prefix(area, limit=_PAGE, keys_only=True)
    while (found := (yield from read_index((page,)))) is not None and found[0]:
        page = page._replace(start=found[0][-1] + "\x01")
        named = ((key, parse(key)[1]) for key in found[0])
        gone = {key: thread for key, thread in named if thread not in alive}
        if gone:
            forgotten = True
            yield Write([Batch(INDEX, delete=[*gone])])
            back = yield from _existing({*gone.values()})
            kept = [key for key, thread in gone.items() if thread in back]
            if kept:
                yield Write([Batch(INDEX, put_if_absent=dict.fromkeys(kept, b""))])
    return forgotten


def _existing(threads: Collection[str]) -> Operation[set[str]]:
    """Return the threads that have a checkpoint, or that the store has lost part of."""
    first = (Range.of_prefix(CHECKPOINTS, limit=1, keys_only=True),)
    names = sorted(thread for thread in threads if thread)
    existing: set[str] = set()
    for start in range(0, len(names), _THREADS_AT_ONCE):
        asked = names[start : start + _THREADS_AT_ONCE]
        queries = [Query(thread_namespace(name), (), first) for name in asked]
        answers = yield from read_apart(queries)
        for name, answer in zip(asked, answers, strict=True):
            if isinstance(answer, Exception) or answer.ranges[0]:
                existing.add(name)
    return existing

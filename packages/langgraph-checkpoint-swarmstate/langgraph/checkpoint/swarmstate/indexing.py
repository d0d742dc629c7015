"""How the index over threads is read and written, also where a store has lost a part of it.

The index is derived. Where a server has evicted a part, or a disk has damaged it, it is
cleared and a mark says so: threads that it does not name are found without it. No put
may fail for it.

A thread that expires leaves its entries, since nobody is there who would remove them, and one that
is deleted while it is written to may leave some. Who lists all threads removes them.
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
    """Return the keys of the index in each range; None if there is nothing that can be read."""
    try:
        [answer] = yield Read([Query(INDEX, (), ranges)])
    except (StoreIncompleteError, StoreFormatError):
        return None
    return [[key for key, _ in found] for found in answer.ranges]


def write_indexed(batches: Sequence[Batch], index: Batch) -> Operation[None]:
    """Write batches and then one to the index.

    Where a part of the index is missing or damaged it is begun anew, and everything is written
    again. So the batches must not mind being applied twice.
    """
    try:
        yield Write([*batches, index])
    except (StoreIncompleteError, StoreFormatError):
        if (yield from read_index((Range(keys_only=True),))) is not None:
            # Something else is incomplete.
            raise
        yield Write([Batch(INDEX, clear=True, put={LOST: b""})])
        yield Write([*batches, index])


def threads_of_runs(run_ids: Sequence[str]) -> Operation[dict[str, list[str]]]:
    """Return the threads that runs may have written to, each with its entries in the index."""
    prefixes = [run_prefix(run_id) for run_id in run_ids]
    ranges = [Range.of_prefix(prefix, keys_only=True) for prefix in prefixes]
    found = yield from read_index([*ranges, Range.of_prefix(LOST, keys_only=True)])
    entries: dict[str, list[str]] = {}
    if found is not None:
        for prefix, keys in zip(prefixes, found, strict=False):
            for key in keys:
                # An entry that names no thread is damaged, and the index is only derived.
                if thread := key[len(prefix) :]:
                    entries.setdefault(thread, []).append(key)
    if found is None or LOST in found[-1]:
        # The index may lack some. The threads themselves know.
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
    """Remove what the index says of threads that are gone; `alive` are those that are not.

    A thread may come back meanwhile. It is there before its entries are, so a look at those
    whose entries were removed finds it, and they are put back.

    Entries of runs, of which there may be many more, are looked at only if a thread is gone.
    """
    try:
        if (yield from _forget_in(TIMES, parse_time_key, alive)):
            yield from _forget_in(RUNS, parse_run_key, alive)
    except (StoreReadOnlyError, StoreUnavailableError):
        # Which threads there are is known, and can be read where nothing can be written.
        logger.debug("entries of threads that are gone stay in the index: nothing can be written")


def _forget_in(
    area: str, parse: Callable[[str], tuple[str, str]], alive: Collection[str]
) -> Operation[bool]:
    """Remove the entries of threads that are gone from an area; return whether there were any."""
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
    """Return those threads that have a checkpoint, or of which the store has lost a part."""
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

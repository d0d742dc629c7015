"""How the index over threads is read and written, also where a store has lost a part of it.

The index is derived. Where a server has evicted a part, or a disk has damaged it, it is
cleared and a mark says so: threads that it does not name are found without it. No put
may fail for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from swarmstate import Batch, Query, Range
from swarmstate.errors import StoreFormatError, StoreIncompleteError
from swarmstate.operations import Namespaces, Operation, Read, Write

from .layout import INDEX, LOST, RUNS, THREADS, run_prefix

_THREADS_AT_ONCE = 64


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

"""Records appended in order, such as the history of a flow or of a branch.

Their keys end in a ten-digit number, one more than that of the previous record. The number comes
from the store, not from a clock, so the newest record is the one written last, whichever process
wrote it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from swarmstate.base import BaseStore, Batch, Expect, Query, Range
from swarmstate.errors import ConflictError
from swarmstate.operations import Operation, Read, Write, adrive, drive

__all__ = ["Records", "aappend", "append", "newest"]

# Takes the key of the appended record and returns all records of its batch. Called on each attempt,
# after every earlier record of the sequence was written.
Records = Callable[[str], Mapping[str, bytes]]


def newest(prefix: str, limit: int | None = 1, *, keys_only: bool = False) -> Range:
    """Return the range of the newest records under `prefix`."""
    return Range.of_prefix(prefix, reverse=True, limit=limit, keys_only=keys_only)


def append(store: BaseStore, namespace: str, prefix: str, records: Records) -> str:
    """Write a record after the newest one under `prefix`; return its key.

    Args:
        store: Where to write.
        namespace: The namespace.
        prefix: The prefix of the sequence's keys.
        records: Returns the appended record and those to write with it.
    """
    return drive(store, _append(namespace, prefix, records))


async def aappend(store: BaseStore, namespace: str, prefix: str, records: Records) -> str:
    """Append as `append` does."""
    return await adrive(store, _append(namespace, prefix, records))


def _append(namespace: str, prefix: str, records: Records) -> Operation[str]:
    while True:
        [result] = yield Read([Query(namespace, ranges=[newest(prefix, keys_only=True)])])
        last = next((key for key, _ in result.ranges[0]), None)
        number = 0 if last is None else int(last[len(prefix) :]) + 1
        key = f"{prefix}{number:010d}"
        try:
            yield Write([Batch(namespace, put=records(key), expect=Expect(prefix, last))])
        except ConflictError:
            continue  # Another writer was first: append after its record.
        return key

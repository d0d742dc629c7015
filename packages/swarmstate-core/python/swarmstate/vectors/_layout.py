"""The records of a collection in its namespace.

    meta                          marks the namespace as a collection, with its format
    dimensions/{n}                the embeddings have n dimensions
    item/{id}                     a record; see `docs/formats.md`
    log/{lane}/{number}-{token}   the ids that one write changed

Every write appends one entry to one lane of the log, and expects the lane's last
entry to be the one it knows. So the entries of a lane form a chain, and a lane never
forks. There are several lanes so that writers seldom collide. Tokens are random, so a
chain that replaces another one, by clearing, restoring or copying, is never mistaken
for it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence

from swarmstate._plane import Batch, Expect, Query, Range
from swarmstate.codec import dumps

FORMAT = 1
LANES = range(8)
META = "meta"
ITEM = "item/"
DIMENSIONS = "dimensions/"

# How many entries of a lane are kept for readers that are behind; a reader further behind
# reads all records again. The lane is trimmed every `TRIMMED` entries.
KEPT = 2048
TRIMMED = 64
# An index is saved after this many entries, so that a process that loads it is not too far behind.
SAVED = KEPT // 4


def lane_prefix(lane: int) -> str:
    return f"log/{lane}/"


def entry_key(lane: int, number: int) -> str:
    return f"{lane_prefix(lane)}{number:012x}-{secrets.token_hex(6)}"


def are_tails(keys: Sequence[str]) -> bool:
    """Return whether there is an entry for each lane."""
    return len(keys) == len(LANES) and all(
        re.fullmatch(r"[0-9a-f]{12,}-[0-9a-f]{12}", key.removeprefix(lane_prefix(lane)))
        for lane, key in zip(LANES, keys, strict=True)
    )


def entry_number(key: str) -> int:
    return int(key.rpartition("/")[2].partition("-")[0], 16)


def following(lane: int, last: str) -> tuple[str, list[tuple[str, str | None]]]:
    """Return the key of the entry after `last`, and the key ranges to trim with it."""
    number = entry_number(last) + 1
    trim: list[tuple[str, str | None]] = []
    if number > KEPT and number % TRIMMED == 0:
        prefix = lane_prefix(lane)
        trim.append((prefix, f"{prefix}{number - KEPT:012x}"))
    return entry_key(lane, number), trim


def head_query(namespace: str) -> Query:
    """Return the query for the head: format, dimension, and the last entry of each lane."""
    return Query(
        namespace,
        keys=[META],
        ranges=[
            Range.of_prefix(DIMENSIONS, limit=1, keys_only=True),
            *(
                Range.of_prefix(lane_prefix(lane), reverse=True, limit=1, keys_only=True)
                for lane in LANES
            ),
        ],
    )


def creation(namespace: str, dimensions: int | None) -> Batch:
    """Return the batch that turns an empty namespace into a collection."""
    put = {META: dumps({"v": FORMAT})}
    put |= {entry_key(lane, 0): dumps([]) for lane in LANES}
    if dimensions is not None:
        put[f"{DIMENSIONS}{dimensions}"] = dumps(None)
    return Batch(namespace, put=put, expect=Expect("", None))


def first_dimension(namespace: str, dimensions: int | None) -> Batch:
    """Return the batch that sets the dimension of a collection that has none."""
    put = {f"{DIMENSIONS}{dimensions}": dumps(None)}
    return Batch(namespace, put=put, expect=Expect(DIMENSIONS, None))

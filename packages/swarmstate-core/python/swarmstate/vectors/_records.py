"""The types that a collection takes and returns."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

__all__ = ["Embedding", "Match", "Metric", "Record", "Stats", "SupportsArray"]

Metric: TypeAlias = Literal["cosine", "dot", "l2"]


@runtime_checkable
class SupportsArray(Protocol):
    """What numpy can take for an array; it must also have a buffer."""

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """Describe the array's memory."""


Embedding: TypeAlias = "Sequence[float] | array[float] | bytes | memoryview | SupportsArray"


class Record(NamedTuple):
    """A record of a collection.

    Attributes:
        id: Its id: a nonempty str without NUL or lone surrogates.
        value: Its contents, by field; anything the codec supports.
        embeddings: The vectors that searches compare: none, one or several, all of one
            dimension (1 to 65,536). Each is a sequence of numbers, an array with
            one axis, or bytes of little-endian float32; they are stored as
            float32. Read from a collection, they are `array("f")`, and present only
            if you asked for them.
        scope: Where it belongs, as segments from the root down.
        categories: Labels, in no particular order; sorted when read.
    """

    id: str
    value: Mapping[str, Any]
    embeddings: Sequence[Embedding] = ()
    scope: Sequence[str] = ()
    categories: Sequence[str] = ()


class Match(NamedTuple):
    """A record that a search found.

    Attributes:
        record: The record.
        score: How near it is; a higher score is nearer. With the metric
            "cosine", the cosine of the angle, from -1 to 1, and 0 if a vector
            is zero; with "dot", the inner product; with "l2", the negative
            Euclidean distance. Computed in double precision.
    """

    record: Record
    score: float


class Stats(NamedTuple):
    """The contents of a collection, and what its searches use.

    Attributes:
        searched_by: "index", or the store's name for its own search, such as
            "pgvector".
        records: How many records there are.
        vectors: How many embeddings they have.
        dimensions: The dimension of the embeddings; None if there are none yet.
        clusters: How many clusters approximate searches choose from; None while
            all searches are exact.
        made_of: What the index was built from when first needed; None if the
            store searches.
        snapshot: The file that the index is saved to, if any.
        snapshot_bytes: Its size when last read or written here; None if
            that has not happened yet.
        problem: Why the store cannot search although it offers to, or why the file
            could not be used or written the last time, if so. Searches find the
            same either way.
    """

    searched_by: str
    records: int
    vectors: int
    dimensions: int | None
    clusters: int | None = None
    made_of: Literal["records", "snapshot"] | None = None
    snapshot: Path | None = None
    snapshot_bytes: int | None = None
    problem: str | None = None

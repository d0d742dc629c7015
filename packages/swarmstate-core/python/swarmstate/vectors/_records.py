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
        id: Its id: a non-empty str without NUL and without lone surrogates.
        value: What it holds, by field; anything the codec takes.
        embeddings: The vectors it is found by: none, one or several, all of one
            dimension (1 to 65,536). Each is a sequence of numbers, an array with
            one axis, or bytes of little-endian float32; they are stored as
            float32. Read from a collection they are `array("f")`, and only there
            if they were asked for.
        scope: Where it belongs, as segments from the root down.
        categories: Labels, in no order; sorted when they are read.
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
        score: How near it is; a greater score is nearer. With the metric
            "cosine" the cosine of the angle, from -1 to 1, and 0 where a vector
            is zero; with "dot" the inner product; with "l2" the negative
            Euclidean distance. Computed in double precision.
    """

    record: Record
    score: float


class Stats(NamedTuple):
    """What a collection has, and what its searches use.

    Attributes:
        searched_by: "index", or what the store calls what searches in it, such as
            "pgvector".
        records: How many records there are.
        vectors: How many embeddings they have.
        dimensions: Of the embeddings; None before there is one.
        clusters: How many clusters approximate searches choose from; None while
            all searches are exact.
        made_of: What the index was made of when it was first needed; None if the
            store searches.
        snapshot: The file that the index is saved to, if it is.
        snapshot_bytes: Its size when it was last read or written here; None if
            it was not yet.
        problem: Why the store cannot search although it offers to, or why the file
            could not be used or written the last time, if so. Searches find the
            same in any case.
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

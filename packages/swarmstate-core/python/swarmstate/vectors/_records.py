"""The types that a collection accepts and returns."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

__all__ = ["Embedding", "Match", "Metric", "Record", "Stats", "SupportsArray"]

Metric: TypeAlias = Literal["cosine", "dot", "l2"]


@runtime_checkable
class SupportsArray(Protocol):
    """An array that numpy understands; it must also support the buffer protocol."""

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """Describe the array's memory."""


Embedding: TypeAlias = "Sequence[float] | array[float] | bytes | memoryview | SupportsArray"


class Record(NamedTuple):
    """A record of a collection.

    Attributes:
        id: A non-empty str without NUL and without lone surrogates.
        value: The fields of the record; anything the codec supports.
        embeddings: The vectors it is found by: none, one or several, all of the same
            dimension (1 to 65,536). Each is a sequence of numbers, an array with
            one axis, or bytes of little-endian float32; they are stored as
            float32. A collection returns them as `array("f")`, and only if they
            were requested.
        scope: Where it belongs, as segments from the root down.
        categories: Labels, in no order; returned sorted.
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
        score: How near it is; a greater score is nearer. For the metric "cosine",
            the cosine of the angle, from -1 to 1, or 0 if a vector is zero; for
            "dot", the inner product; for "l2", the negative Euclidean distance.
            Computed in double precision.
    """

    record: Record
    score: float


class Stats(NamedTuple):
    """What a collection holds, and what its searches use.

    Attributes:
        searched_by: "index", or the name of the store's own search, such as
            "pgvector".
        records: The number of records.
        vectors: The number of their embeddings.
        dimensions: The dimension of the embeddings; None until there is one.
        clusters: The number of clusters that approximate searches choose from; None
            while all searches are exact.
        made_of: What the index was first built from; None if the store searches.
        snapshot: The file that the index is saved to, if any.
        snapshot_bytes: Its size when it was last read or written here; None if
            it has not been.
        problem: Why the store cannot search although it offers to, or why the file
            could not be used or written the last time, if so. Searches find the
            same records in any case.
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

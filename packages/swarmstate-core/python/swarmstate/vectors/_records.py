"""What a collection takes and gives."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

__all__ = ["UNKNOWN", "Embedding", "Match", "Metric", "Record", "SupportsArray"]

UNKNOWN: Final = ...
"""Stands, in a value or in a filter, for what is too large or too secret to be there.

It is Python's `...`. Whatever a filter compares with it holds, `$ne` included, and so
does any condition on a field below it. So a filter selects at least the records that
it would select if everything were known, and whoever uses this looks at what was left
out of those that are found.
"""

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

"""Search over embeddings where the records are, which a store may offer to collections.

Most stores do not offer it; then each process has its own index in memory. A store that
does sets `BaseStore.vector_search`. Its vector data is derived from the records by
collections, and may be lost. The store does not know how collections follow the log.

`VectorSearch.ask` answers each request in one transaction.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

__all__ = [
    "Answer",
    "ApplyVectors",
    "CountVectors",
    "FindVectors",
    "OpenVectors",
    "Request",
    "VectorRow",
    "VectorSearch",
    "VectorState",
    "VectorWhere",
]


class VectorState(NamedTuple):
    """What a store keeps for a collection.

    Attributes:
        cursors: How far the data was derived, as set by `ApplyVectors`; None if there is none.
        dimensions: The dimension of its embeddings; None if there are none.
        problem: Why the store cannot search this collection, or any; None if it can.
    """

    cursors: Sequence[str] | None
    dimensions: int | None
    problem: str | None


class VectorRow(NamedTuple):
    """The data derived from one record.

    Attributes:
        key: The record's key.
        embeddings: Its embeddings, float32. None of them has a norm that overflows
            float32 or underflows to 0.
        scope: Its scope, as segments from the root down.
        categories: Its categories.
        facts: Its value as far as it is plain data: None, bools, ints of up to
            2^53, floats, texts that are valid UTF-8, and lists and dicts of these,
            with such texts as keys. `UNKNOWN` (Python's `...`) stands for anything
            else, or for the whole value.
        rest: The record without its embeddings, encoded.
    """

    key: str
    embeddings: Sequence[array[float]]
    scope: Sequence[str]
    categories: Sequence[str]
    facts: Any
    rest: bytes


class VectorWhere(NamedTuple):
    """A selection of records; see `swarmstate.vectors.Where`.

    The answer must contain every matching record. It may contain others that fail only
    `filter`: the caller checks that again.
    """

    scope: Sequence[str] = ()
    categories: Sequence[str] = ()
    filter: Mapping[str, Any] | None = None


class OpenVectors(NamedTuple):
    """A request to set up the store for vectors as needed; the answer is a `VectorState`."""

    namespace: str


class ApplyVectors(NamedTuple):
    """A request to apply changes; the answer is whether `before` was current, so that they were.

    Attributes:
        namespace: The namespace.
        before: The cursors of the state that this changes; None to start over.
        after: The cursors of the state after it.
        rows: Rows to add; they replace those with equal keys.
        gone: Keys of rows to remove.
        problem: Why this collection cannot be searched from now on, if so.
    """

    namespace: str
    before: Sequence[str] | None
    after: Sequence[str]
    rows: Sequence[VectorRow] = ()
    gone: Sequence[str] = ()
    problem: str | None = None


class FindVectors(NamedTuple):
    """A request for `(key, record)` of the selected records; None if the store keeps no data.

    Attributes:
        namespace: The namespace.
        where: The selection.
        embedding: If given, return only records with embeddings, nearest first; a
            record is as near as the nearest of its embeddings.
        metric: The measure of nearness; see `swarmstate.vectors.Collection`.
        limit: At most this many records; None is all of them.
        whole: Return records as they are stored now, instead of without embeddings.
        exact: Compare all of them, even if the store could search approximately.
    """

    namespace: str
    where: VectorWhere
    embedding: array[float] | None = None
    metric: Literal["cosine", "dot", "l2"] = "cosine"
    limit: int | None = None
    whole: bool = True
    exact: bool = False


class CountVectors(NamedTuple):
    """A request for the numbers of `(records, embeddings)`; None if the store keeps no data."""

    namespace: str


Answer: TypeAlias = Any
Request: TypeAlias = OpenVectors | ApplyVectors | FindVectors | CountVectors


class VectorSearch(Protocol):
    """Searches embeddings of collections.

    Attributes:
        name: The name of the search engine, such as "pgvector".
    """

    name: str

    def ask(self, request: Request) -> Answer:
        """Answer a request as its class says."""

    async def aask(self, request: Request) -> Answer:
        """Answer a request as `ask` does."""

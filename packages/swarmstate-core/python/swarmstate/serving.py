"""What a store may offer to collections: searching embeddings where the records are.

Most stores do not: then each process has an index of its own, in memory. A store that
does has `BaseStore.vector_search`. What it keeps for that is derived from the records,
by collections, and may be lost; it knows nothing of how they keep up with the log.

Requests are answered by `VectorSearch.ask`, each in one transaction.
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
        cursors: How far it was derived, as `ApplyVectors` said; None if nothing is kept.
        dimensions: Of its embeddings; None if there are none.
        problem: Why the store cannot search this collection, or any, if so.
    """

    cursors: Sequence[str] | None
    dimensions: int | None
    problem: str | None


class VectorRow(NamedTuple):
    """What is derived from one record.

    Attributes:
        key: The record's key.
        embeddings: Its embeddings, float32, none of them with a norm that float32
            cannot hold, or only as 0.
        scope: Its scope, as segments from the root down.
        categories: Its categories.
        facts: Its value as far as it is plain data: None, bools, ints of up to
            2^53, floats, texts that are UTF-8, lists and dicts with such keys;
            `UNKNOWN` (Python's `...`) stands for all else, or for all of it.
        rest: The record without its embeddings, encoded.
    """

    key: str
    embeddings: Sequence[array[float]]
    scope: Sequence[str]
    categories: Sequence[str]
    facts: Any
    rest: bytes


class VectorWhere(NamedTuple):
    """What selects records; see `swarmstate.vectors.Where`.

    At least the records that meet it are to be answered. More may be, as far as that
    depends on the filter: whoever asks looks at it again.
    """

    scope: Sequence[str] = ()
    categories: Sequence[str] = ()
    filter: Mapping[str, Any] | None = None


class OpenVectors(NamedTuple):
    """Answered with a `VectorState`; makes what the store needs for vectors at all."""

    namespace: str


class ApplyVectors(NamedTuple):
    """Answered with whether it was applied: nothing is, if `before` is not what is kept.

    Attributes:
        namespace: The namespace.
        before: The cursors of the state that this changes; None to begin anew.
        after: The cursors from then on.
        rows: What replaces rows of equal keys.
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
    """Answered with `(key, record)` of the selected records, or None if nothing is kept.

    Attributes:
        namespace: The namespace.
        where: What selects them.
        embedding: If given, only records with embeddings, the nearest first by the
            nearest of them.
        metric: How near is measured; see `swarmstate.vectors.Collection`.
        limit: At most so many; None is all of them.
        whole: Records as they are stored now; otherwise without embeddings.
        exact: Compare all of them, also if the store could look at some only.
    """

    namespace: str
    where: VectorWhere
    embedding: array[float] | None = None
    metric: Literal["cosine", "dot", "l2"] = "cosine"
    limit: int | None = None
    whole: bool = True
    exact: bool = False


class CountVectors(NamedTuple):
    """Answered with `(records, embeddings)` that are kept, or None if nothing is."""

    namespace: str


Answer: TypeAlias = Any
Request: TypeAlias = OpenVectors | ApplyVectors | FindVectors | CountVectors


class VectorSearch(Protocol):
    """Searches embeddings of collections.

    Attributes:
        name: What searches, such as "pgvector".
    """

    name: str

    def ask(self, request: Request) -> Answer:
        """Answer a request as its class says."""

    async def aask(self, request: Request) -> Answer:
        """Answer a request as `ask` does."""

"""The HNSW index of pgvector that somebody may make over the embeddings of a collection."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Literal

from ._schema import Names, quoted

__all__ = [
    "LEAST_SCOPE",
    "MOST_INDEXED",
    "MOST_NEAREST",
    "can_go_on_looking",
    "efforts",
    "index_name",
    "settings_sql",
    "vector_index_sql",
]

# What an index of this kind takes; see pgvector's documentation.
MOST_INDEXED = 2_000
_CLASSES = {"cosine": "vector_cosine_ops", "dot": "vector_ip_ops", "l2": "vector_l2_ops"}
_LEAST_EFFORT, _MOST_EFFORT = 100, 1_000
# So many times as many are looked at, at most.
_PATIENCE = 10
# More are found faster by comparing all.
MOST_NEAREST = _MOST_EFFORT // 2
# Of fewer embeddings all are compared in the time that an index takes.
LEAST_SCOPE = 2_000

# Embeddings of other dimensions, which the collection may have once it was cleared, are left alone.
_CREATE = (
    "-- Where this was interrupted, an index that is not valid is left: then begin with\n"
    "-- DROP INDEX CONCURRENTLY {schema}.{index};\n"
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS {index} ON {vectors} "
    "USING hnsw ((embedding::vector({dimensions})) {operators}) "
    "WHERE namespace = {namespace} AND vector_dims(embedding) = {dimensions};\n"
)


def vector_index_sql(
    namespace: str,
    dimensions: int,
    *,
    metric: Literal["cosine", "dot", "l2"] = "cosine",
    schema: str = "public",
    prefix: str = "swarmstate",
) -> str:
    """Return the SQL that creates an index (HNSW) over the embeddings of a collection.

    Stores that open the collection afterwards search with it, unless a search is to be exact. It
    needs pgvector 0.8 or newer, in a schema of the `search_path`, and runs outside of a
    transaction, alongside writers. Embeddings written from then on enter the index with the next
    search, at a few milliseconds each.

    Args:
        namespace: The collection's; "langgraph-vectors" is that of LangGraph's long-term memory.
        dimensions: The number of dimensions of its embeddings, 1 to 2,000; an index with other
            dimensions, or for another metric, is not used.
        metric: The collection's metric.
        schema: The store's.
        prefix: The store's.

    Raises:
        ValueError: There is no such index.
    """
    if metric not in _CLASSES:
        raise ValueError(f"expected metric to be one of {sorted(_CLASSES)}, found {metric!r}")
    if not 1 <= dimensions <= MOST_INDEXED:
        raise ValueError(f"expected 1 to {MOST_INDEXED} dimensions, found {dimensions}")
    names = Names.of(schema, prefix)
    return names.fill_in(
        _CREATE,
        index=quoted(index_name(names, namespace, dimensions, metric)),
        dimensions=str(dimensions),
        operators=_CLASSES[metric],
        namespace=_literal(namespace),
    )


def index_name(names: Names, namespace: str, dimensions: int, metric: str) -> str:
    """Return the name of a collection's index, which has room for 63 bytes."""
    said = f"{metric} {dimensions} {namespace}"
    digest = blake2b(said.encode(), digest_size=5).hexdigest()
    return f"{names.prefix}_vector_near_{digest}"


def can_go_on_looking(release: str | None) -> bool:
    """Tell whether an index of this release of pgvector goes on where a filter leaves too few."""
    # Some services add words of their own to the numbers.
    numbers = re.match(r"(\d+)\.(\d+)", release or "")
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= (0, 8)


def efforts(limit: int) -> tuple[int, ...]:
    """Return how many embeddings to look at for so many records, and how many if that fails.

    Some records may have many embeddings near to each other.
    """
    return tuple(sorted({max(2 * limit, _LEAST_EFFORT), _MOST_EFFORT}))


def settings_sql(effort: int) -> str:
    """Return what a transaction needs to find so many embeddings with an index.

    Where a filter leaves too few, the index goes on looking for a while; where it leaves very
    few, comparing all of them is faster. The plan is made for the namespace that is searched,
    since the index is for one alone, and takes the index whatever is known about the table.
    """
    return (
        f"SET LOCAL hnsw.ef_search = {effort}; "
        "SET LOCAL hnsw.iterative_scan = strict_order; "
        f"SET LOCAL hnsw.max_scan_tuples = {_PATIENCE * effort}; "
        "SET LOCAL plan_cache_mode = force_custom_plan; "
        "SET LOCAL enable_sort = off"
    )


def _literal(text: str) -> str:
    """Return a text as an SQL literal, whatever `standard_conforming_strings` is."""
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"E'{escaped}'"

"""The optional HNSW index of pgvector over the embeddings of a collection."""

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

# The most dimensions that an HNSW index takes; see pgvector's documentation.
MOST_INDEXED = 2_000
_CLASSES = {"cosine": "vector_cosine_ops", "dot": "vector_ip_ops", "l2": "vector_l2_ops"}
_LEAST_EFFORT, _MOST_EFFORT = 100, 1_000
# A filtered scan looks at up to this many times the effort.
_PATIENCE = 10
# To find more, comparing all embeddings is faster.
MOST_NEAREST = _MOST_EFFORT // 2
# Comparing fewer embeddings than this takes no longer than using an index.
LEAST_SCOPE = 2_000

# Skips embeddings of other dimensions, which the collection may have after it was cleared.
_CREATE = (
    "-- If this was interrupted, it left an invalid index: then start with\n"
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
    """Return the SQL that creates an HNSW index over the embeddings of a collection.

    Stores that open the collection afterwards use the index, except for exact searches. It needs
    pgvector 0.8 or newer, in a schema of the `search_path`. Run the SQL outside of a transaction;
    it does not block writers. Later embeddings enter the index with the next search, which takes
    some milliseconds for each.

    Args:
        namespace: The collection's namespace; LangGraph's long-term memory has
            "langgraph-vectors".
        dimensions: The dimensions of its embeddings, 1 to 2,000. An index with other
            dimensions or another metric is not used.
        metric: The collection's metric.
        schema: The store's schema.
        prefix: The store's prefix.

    Raises:
        ValueError: pgvector has no such index.
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
    """Return the name of a collection's index, at most 63 bytes long."""
    said = f"{metric} {dimensions} {namespace}"
    digest = blake2b(said.encode(), digest_size=5).hexdigest()
    return f"{names.prefix}_vector_near_{digest}"


def can_go_on_looking(release: str | None) -> bool:
    """Return whether this pgvector release keeps scanning an index if a filter leaves too few."""
    # Some services append text to the numbers.
    numbers = re.match(r"(\d+)\.(\d+)", release or "")
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= (0, 8)


def efforts(limit: int) -> tuple[int, ...]:
    """Return how many embeddings to look at for `limit` records, and how many if that fails.

    The first number is too small if some records have many embeddings near each other.
    """
    return tuple(sorted({max(2 * limit, _LEAST_EFFORT), _MOST_EFFORT}))


def settings_sql(effort: int) -> str:
    """Return the settings for a transaction that finds this many embeddings with an index.

    If a filter leaves too few, the index scan continues for a while; if it leaves very few,
    comparing all of them is faster. The plan is made for the searched namespace, since the
    index covers only that one, and uses the index whatever the table's statistics say.
    """
    return (
        f"SET LOCAL hnsw.ef_search = {effort}; "
        "SET LOCAL hnsw.iterative_scan = strict_order; "
        f"SET LOCAL hnsw.max_scan_tuples = {_PATIENCE * effort}; "
        "SET LOCAL plan_cache_mode = force_custom_plan; "
        "SET LOCAL enable_sort = off"
    )


def _literal(text: str) -> str:
    """Return a text as an SQL literal, valid with any `standard_conforming_strings`."""
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"E'{escaped}'"

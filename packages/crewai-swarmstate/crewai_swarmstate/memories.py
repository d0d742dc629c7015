"""Convert CrewAI's memories to records of a collection, and back.

    id          the memory's id
    scope       the segments of its scope
    categories  its categories
    value       content, metadata, importance, created_at, last_accessed, source, private,
                and the scope and categories where the fields above do not preserve them
    embeddings  its embedding, if it has one

Times are ISO 8601 in UTC with microseconds, so that they sort as text.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import datetime, timezone
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from swarmstate.errors import InvalidFilterError
from swarmstate.vectors import Record, Where

from .plain import plain

if TYPE_CHECKING:
    from array import array
    from collections.abc import Mapping, Sequence

    from crewai.memory.types import MemoryRecord
    from swarmstate.vectors import Embedding

__all__ = ["from_memory", "path_of", "segments", "selection", "time_text", "to_memory"]


def segments(scope: str | None) -> tuple[str, ...]:
    """Return the segments of a scope; None, "" and "/" have none."""
    return tuple([each for each in scope.split("/") if each]) if scope else ()


def path_of(scope: Sequence[str]) -> str:
    """Return the path of a scope."""
    return "/" + "/".join(scope)


def from_memory(memory: MemoryRecord) -> Record:
    """Return the record of a memory.

    Raises:
        EncodeError: Its metadata holds a value with no plain form.
    """
    value = {
        "content": memory.content,
        "metadata": plain(memory.metadata, "metadata", strict=True),
        "importance": memory.importance,
        "created_at": time_text(memory.created_at),
        "last_accessed": time_text(memory.last_accessed),
        "source": memory.source,
        "private": memory.private,
    }
    embeddings = [_packed(memory.embedding)] if memory.embedding else []
    scope, categories = segments(memory.scope), memory.categories
    # The memory must come back with the scope as it was written, even if it is not normalized.
    if path_of(scope) != memory.scope:
        value["scope"] = memory.scope
    if len(categories) > 1 and sorted(set(categories)) != categories:
        value["categories"] = categories
    return Record(memory.id, value, embeddings, scope, categories)


def to_memory(record: Record) -> MemoryRecord:
    """Return the memory of a record, with its embedding if the record was read with it."""
    from crewai.memory.types import MemoryRecord

    value: Mapping[str, Any] = record.value
    return MemoryRecord(
        id=record.id,
        content=value["content"],
        scope=value.get("scope", path_of(record.scope)),
        categories=list(value.get("categories", record.categories)),
        metadata=value["metadata"],
        importance=value["importance"],
        created_at=datetime.fromisoformat(value["created_at"]),
        last_accessed=datetime.fromisoformat(value["last_accessed"]),
        embedding=_numbers(record.embeddings),
        source=value["source"],
        private=value["private"],
    )


def _packed(embedding: Sequence[float]) -> Embedding:
    # Faster than having the collection convert the numbers one by one.
    try:
        return _packer(len(embedding))(*embedding)
    except (struct.error, OverflowError):
        # The collection raises an error that says what is wrong with the embedding.
        return embedding


@lru_cache
def _packer(dimensions: int) -> Callable[..., bytes]:
    return struct.Struct(f"<{dimensions}f").pack


def _numbers(embeddings: Sequence[Embedding]) -> list[float] | None:
    # Embeddings read from a collection are always arrays, whatever type was written.
    return cast("array[float]", embeddings[0]).tolist() if embeddings else None


def time_text(time: datetime) -> str:
    """Return the stored form of a time; a naive one is taken as UTC, as CrewAI does.

    Raises:
        ValueError: In UTC, it is outside the years 1 to 9999.
        TypeError: It is not a datetime.
    """
    if not isinstance(time, datetime):
        raise TypeError(f"expected a datetime, found {time!r}, a {type(time).__name__}")
    if time.tzinfo is not None:
        try:
            time = time.astimezone(timezone.utc).replace(tzinfo=None)
        except OverflowError:
            raise ValueError(
                f"expected a time from the years 1 to 9999 in UTC, found {time}"
            ) from None
    text = time.isoformat()
    return text if time.microsecond else f"{text}.000000"


def selection(
    scope_prefix: str | None = None,
    categories: Sequence[str] | None = None,
    metadata_filter: Mapping[str, Any] | None = None,
    older_than: datetime | None = None,
) -> Where:
    """Return the filter for the records that meet all given criteria.

    Raises:
        InvalidFilterError: A key of the metadata begins with `$`, as operators do.
        EncodeError: A value has no plain form, so no metadata can equal it.
    """
    conditions: dict[str, Any] = {}
    if metadata_filter:
        for key in metadata_filter:
            if isinstance(key, str) and key.startswith("$"):
                raise InvalidFilterError(
                    f"expected a filter by metadata keys without a leading $, found {key!r}: it "
                    "would be taken for an operator"
                )
        # With an explicit operator, so that no value is mistaken for one.
        conditions["metadata"] = {
            key: {"$eq": plain(value, f"metadata[{key!r}]", strict=True)}
            for key, value in metadata_filter.items()
        }
    if older_than is not None:
        conditions["created_at"] = {"$lt": time_text(older_than)}
    return Where(
        scope=segments(scope_prefix), categories=list(categories or ()), filter=conditions or None
    )

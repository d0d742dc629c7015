"""CrewAI's memory on a swarmstate store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final, Literal

from swarmstate.base import check_name
from swarmstate.errors import DimensionError, InvalidNameError

from .handles import canonical_uri, shared_collection
from .memories import from_memory, path_of, segments, selection, time_text, to_memory

if TYPE_CHECKING:
    import os

    from crewai.memory.types import MemoryRecord, ScopeInfo
    from swarmstate.vectors import Collection, Match, Metric, Record, Where

__all__ = ["Scoring", "SwarmStateStorage"]

Scoring = Literal["lancedb", "cosine"]

# The metric of each scoring, and how its measure becomes a score.
_SCORINGS: Final[dict[str, tuple[Metric, Callable[[float], float]]]] = {
    "lancedb": ("l2", lambda nearness: 1 / (1 + nearness * nearness)),
    "cosine": ("cosine", lambda nearness: nearness),
}


class SwarmStateStorage:
    """A CrewAI `StorageBackend`: memories in a collection of a swarmstate store.

    Storages with the same URI and namespace share one index in a process, and each call sees what
    other processes have written. All methods may be called from any thread and event loop.

    Scopes are compared by segment; None, "" and "/" mean everything. Scope, category and metadata
    filters apply before the limit. Saving an existing id replaces that memory. Times are naive UTC,
    as everywhere in CrewAI.

    CrewAI's checkpoints keep a memory's storage only if a string names it: `install(uri)` and
    `Memory()`, or `Memory(storage="swarmstate:" + uri)`.

    Args:
        uri: The store: what `swarmstate.open` takes, or the path of a file.
        namespace: The namespace of the memories.
        scoring: "lancedb": 1 / (1 + squared distance), which CrewAI's thresholds
            are tuned to. "cosine": the cosine of the angle.

    Raises:
        ValueError: `scoring` is neither of these.
    """

    def __init__(
        self,
        uri: str | os.PathLike[str],
        *,
        namespace: str = "crewai-memory",
        scoring: Scoring = "lancedb",
    ) -> None:
        if scoring not in _SCORINGS:
            raise ValueError(f"expected scoring to be 'lancedb' or 'cosine', found {scoring!r}")
        self.uri = canonical_uri(uri)
        self.namespace = namespace
        self.scoring = scoring

    def __repr__(self) -> str:
        """Return the class, the namespace and the scoring."""
        return f"{type(self).__name__}({self.namespace!r}, scoring={self.scoring!r})"

    @property
    def _collection(self) -> Collection:
        return shared_collection(self.uri, self.namespace, _SCORINGS[self.scoring][0])

    def save(self, records: list[MemoryRecord]) -> None:
        """Store memories atomically; a memory whose id exists is replaced.

        Raises:
            EmbeddingDimensionMismatchError: An embedding's dimension differs from that of the
                stored ones; nothing is stored.
            EncodeError: The metadata holds a value with no plain form; nothing is stored.
            ValidationError: (a ValueError) A field is invalid; nothing is stored.
        """
        with _dimensions():
            self._collection.upsert(map(_record, records))

    async def asave(self, records: list[MemoryRecord]) -> None:
        """Store memories as `save` does."""
        with _dimensions():
            await self._collection.aupsert(map(_record, records))

    def search(
        self,
        query_embedding: list[float],
        scope_prefix: str | None = None,
        categories: list[str] | None = None,
        metadata_filter: dict[str, Any] | None = None,
        limit: int = 10,
        min_score: float = 0.0,
    ) -> list[tuple[MemoryRecord, float]]:
        """Return the most similar memories with their scores, best first.

        Args:
            query_embedding: The embedding to search for.
            scope_prefix: Only memories in this scope and below.
            categories: Only memories with at least one of these.
            metadata_filter: Only memories that match all of these.
            limit: The maximum number of results.
            min_score: Only memories with at least this score.

        Raises:
            EmbeddingDimensionMismatchError: The stored embeddings have another
                dimension.
        """
        where = selection(scope_prefix, categories, metadata_filter)
        with _dimensions():
            found = self._collection.search(
                query_embedding, limit=max(limit, 0), embeddings=True, **where
            )
        return self._scored(found, min_score)

    async def asearch(
        self,
        query_embedding: list[float],
        scope_prefix: str | None = None,
        categories: list[str] | None = None,
        metadata_filter: dict[str, Any] | None = None,
        limit: int = 10,
        min_score: float = 0.0,
    ) -> list[tuple[MemoryRecord, float]]:
        """Return the most similar memories as `search` does."""
        where = selection(scope_prefix, categories, metadata_filter)
        with _dimensions():
            found = await self._collection.asearch(
                query_embedding, limit=max(limit, 0), embeddings=True, **where
            )
        return self._scored(found, min_score)

    def _scored(self, found: Sequence[Match], min_score: float) -> list[tuple[MemoryRecord, float]]:
        score = _SCORINGS[self.scoring][1]
        scored = [(each.record, score(each.score)) for each in found]
        return [(to_memory(record), value) for record, value in scored if value >= min_score]

    def delete(
        self,
        scope_prefix: str | None = None,
        categories: list[str] | None = None,
        record_ids: list[str] | None = None,
        older_than: datetime | None = None,
        metadata_filter: dict[str, Any] | None = None,
    ) -> int:
        """Delete the memories that meet all given criteria; return how many were deleted.

        Args:
            scope_prefix: Memories in this scope and below.
            categories: Memories with at least one of these.
            record_ids: Memories with one of these ids; an empty list matches none.
            older_than: Memories created before this time.
            metadata_filter: Memories that match all of these.
        """
        where = selection(scope_prefix, categories, metadata_filter, older_than)
        if record_ids is None:
            return self._collection.delete_where(**where)
        if not _selects_some(where):
            return self._collection.delete(_possible(record_ids))
        selected = {each.id for each in self._collection.select(**where)}
        return self._collection.delete([each for each in record_ids if each in selected])

    async def adelete(
        self,
        scope_prefix: str | None = None,
        categories: list[str] | None = None,
        record_ids: list[str] | None = None,
        older_than: datetime | None = None,
        metadata_filter: dict[str, Any] | None = None,
    ) -> int:
        """Delete memories as `delete` does."""
        where = selection(scope_prefix, categories, metadata_filter, older_than)
        if record_ids is None:
            return await self._collection.adelete_where(**where)
        if not _selects_some(where):
            return await self._collection.adelete(_possible(record_ids))
        selected = {each.id for each in await self._collection.aselect(**where)}
        return await self._collection.adelete([each for each in record_ids if each in selected])

    def update(self, record: MemoryRecord) -> None:
        """Replace the memory with this id; if there is none, store it.

        Raises:
            ValidationError: (a ValueError) A field is invalid; nothing is changed.
            EmbeddingDimensionMismatchError: The stored embeddings have another
                dimension; nothing is changed.
        """
        self.save([record])

    def touch_records(self, record_ids: list[str]) -> None:
        """Set `last_accessed` of these memories to now; unknown ids are ignored."""
        now = time_text(datetime.now(timezone.utc))
        self._collection.modify(
            _possible(record_ids),
            lambda record: record._replace(value={**record.value, "last_accessed": now}),
        )

    def get_record(self, record_id: str) -> MemoryRecord | None:
        """Return a memory with its embedding, or None if there is none."""
        found = self._collection.get(_possible([record_id]))
        return to_memory(found[0]) if found and found[0] else None

    def list_records(
        self, scope_prefix: str | None = None, limit: int = 200, offset: int = 0
    ) -> list[MemoryRecord]:
        """Return the memories in a scope and below, newest first, with their embeddings."""
        if limit <= 0 or offset < 0:
            return []
        found = self._collection.select(
            order_by="created_at",
            descending=True,
            limit=limit,
            offset=offset,
            embeddings=True,
            **selection(scope_prefix),
        )
        return [to_memory(each) for each in found]

    def get_scope_info(self, scope: str) -> ScopeInfo:
        """Return the count, categories, dates and children of a scope and all those below it."""
        from crewai.memory.types import ScopeInfo

        where = selection(scope)

        def created_at(*, descending: bool) -> datetime | None:
            found = self._collection.select(
                order_by="created_at", descending=descending, limit=1, **where
            )
            return to_memory(found[0]).created_at if found else None

        return ScopeInfo(
            path=path_of(segments(scope)),
            record_count=self._collection.count(**where),
            categories=list(self.list_categories(scope)),
            oldest_record=created_at(descending=False),
            newest_record=created_at(descending=True),
            child_scopes=self.list_scopes(scope),
        )

    def list_scopes(self, parent: str = "/") -> list[str]:
        """Return the paths of the scopes immediately below `parent`, in order."""
        above = segments(parent)
        below = self._collection.scopes(**selection(parent))
        length = len(above) + 1
        return sorted({path_of(each[:length]) for each in below if len(each) >= length})

    def list_categories(self, scope_prefix: str | None = None) -> dict[str, int]:
        """Return the categories in a scope and below, and how many memories have each."""
        return self._collection.categories(**selection(scope_prefix))

    def count(self, scope_prefix: str | None = None) -> int:
        """Return how many memories there are in a scope and below."""
        return self._collection.count(**selection(scope_prefix))

    def reset(self, scope_prefix: str | None = None) -> None:
        """Delete the memories in a scope and below.

        Without a scope, delete all memories and forget the dimension of their embeddings.
        """
        if segments(scope_prefix):
            self._collection.delete_where(**selection(scope_prefix))
        else:
            self._collection.clear()

    def close(self) -> None:
        """Do nothing: the store is shared; see `close_stores`."""


def _record(memory: MemoryRecord) -> Record:
    """Return the record of a memory, after checking that it can be read back."""
    from crewai.memory.types import MemoryRecord

    # Pydantic does not validate fields that were changed after the memory was made, as CrewAI's
    # updates do. A record that cannot be read back would break every search that finds it.
    valid = MemoryRecord.model_validate({**vars(memory), "embedding": None})
    valid.embedding = memory.embedding
    return from_memory(valid)


def _possible(record_ids: list[str]) -> list[str]:
    """Return the valid ids among these; models that consolidate memories invent some."""
    possible: list[str] = []
    for each in record_ids:
        with suppress(InvalidNameError):
            check_name(each)
            possible.append(each)
    return possible


def _selects_some(where: Where) -> bool:
    return any(where.values())


@contextmanager
def _dimensions() -> Iterator[None]:
    """Raise CrewAI's own error for a wrong dimension, if this CrewAI version has one."""
    try:
        yield
    except DimensionError as error:
        try:
            from crewai.memory.storage.backend import EmbeddingDimensionMismatchError
        except ImportError:
            raise error from None
        raise EmbeddingDimensionMismatchError(error.stored, error.given) from error

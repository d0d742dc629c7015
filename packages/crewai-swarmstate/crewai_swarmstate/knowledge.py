"""CrewAI's knowledge on a swarmstate store."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from crewai.knowledge.storage.base_knowledge_storage import BaseKnowledgeStorage
from pydantic import Field, PrivateAttr
from swarmstate.errors import EmbeddingError
from swarmstate.vectors import Match, Record

from .fields import StoreUri
from .handles import shared_collection
from .memories import selection

if TYPE_CHECKING:
    from collections.abc import Callable

    from crewai.rag.types import SearchResult
    from swarmstate.vectors import Collection

    Embed = Callable[[list[str]], Sequence[Sequence[float]]]

__all__ = ["SwarmStateKnowledgeStorage"]

# CrewAI's own default embedder.
_DEFAULT_EMBEDDER = {"provider": "openai", "config": {"model_name": "text-embedding-3-small"}}

# CrewAI's own storage uses the same batch size: services limit the size of a request.
_BATCH = 100


class SwarmStateKnowledgeStorage(BaseKnowledgeStorage):
    """Documents in a collection of a swarmstate store, searched by meaning.

    A document's id is the hash of its text: saving a document again changes nothing and does not
    embed it again. Texts are embedded in batches of a hundred. Scores are (1 + cosine) / 2, as in
    CrewAI's own storage. Errors are raised, whereas that storage logs them and continues.

    Args:
        uri: The store: what `swarmstate.open` takes, or the path of a file.
        collection_name: The name of the collection, whose namespace is
            `crewai-knowledge:{collection_name}`.
        embedder: An embedder configuration as CrewAI takes it, or a callable that maps texts to
            embeddings. If None, OpenAI's text-embedding-3-small.
    """

    uri: StoreUri
    collection_name: str | None = None
    embedder: Any = Field(default=None, exclude=True)
    _embed: Embed | None = PrivateAttr(default=None)

    def save(self, documents: list[str]) -> None:
        """Store the documents that are not stored yet, atomically.

        Raises:
            EmbeddingError: The embedder returned no embedding for some text, or an invalid one.
        """
        ids = _by_id(documents)
        missing = _missing(ids, self._collection.get(ids))
        if missing:
            self._collection.upsert(self._records(missing))

    async def asave(self, documents: list[str]) -> None:
        """Store documents as `save` does; embed them in a thread."""
        ids = _by_id(documents)
        missing = _missing(ids, await self._collection.aget(ids))
        if missing:
            await self._collection.aupsert(await asyncio.to_thread(self._records, missing))

    def search(
        self,
        query: list[str],
        limit: int = 5,
        metadata_filter: dict[str, Any] | None = None,
        score_threshold: float = 0.6,
    ) -> list[SearchResult]:
        """Return the documents nearest to `query`, best first.

        Args:
            query: Texts, joined into one.
            limit: The maximum number of results.
            metadata_filter: Only documents that match all of these.
            score_threshold: Only documents with at least this score, from 0 to 1.

        Raises:
            ValueError: `query` is empty.
        """
        where = selection(metadata_filter=metadata_filter)
        found = self._collection.search(self._embed_query(query), limit=limit, **where)
        return _scored(found, score_threshold)

    async def asearch(
        self,
        query: list[str],
        limit: int = 5,
        metadata_filter: dict[str, Any] | None = None,
        score_threshold: float = 0.6,
    ) -> list[SearchResult]:
        """Return documents as `search` does; embed the query in a thread."""
        where = selection(metadata_filter=metadata_filter)
        embedding = await asyncio.to_thread(self._embed_query, query)
        found = await self._collection.asearch(embedding, limit=limit, **where)
        return _scored(found, score_threshold)

    def reset(self) -> None:
        """Delete all documents."""
        self._collection.clear()

    async def areset(self) -> None:
        """Delete all documents."""
        await self._collection.aclear()

    @property
    def _collection(self) -> Collection:
        namespace = f"crewai-knowledge:{self.collection_name or ''}"
        return shared_collection(self.uri, namespace, "cosine")

    def _embed_query(self, query: list[str]) -> Sequence[float]:
        if not query:
            raise ValueError("expected one or more strings to query, found none")
        [embedding] = self._embeddings([" ".join(query)])
        return embedding

    def _records(self, documents: Mapping[str, str]) -> list[Record]:
        embeddings = self._embeddings(list(documents.values()))
        return [
            Record(identity, {"content": text, "metadata": {}}, [embedding])
            for (identity, text), embedding in zip(documents.items(), embeddings, strict=True)
        ]

    def _embeddings(self, texts: list[str]) -> list[Sequence[float]]:
        if self._embed is None:
            self._embed = _embedder(self.embedder or _DEFAULT_EMBEDDER)
        embeddings: list[Sequence[float]] = []
        for start in range(0, len(texts), _BATCH):
            batch = texts[start : start + _BATCH]
            found = list(self._embed(batch))
            if len(found) != len(batch):
                raise EmbeddingError(
                    f"expected one embedding per text, found {len(found)} for {len(batch)}: the "
                    "embedder must return one for each text it gets"
                )
            embeddings += found
        return embeddings


def _embedder(given: Any) -> Embed:
    from crewai.rag.embeddings.factory import build_embedder

    if callable(given):
        return cast("Embed", given)
    return cast("Embed", build_embedder(given))


def _by_id(documents: list[str]) -> dict[str, str]:
    encoded = [(each, each.encode("utf-8", "surrogatepass")) for each in documents]
    return {hashlib.sha256(data).hexdigest(): each for each, data in encoded}


def _missing(ids: dict[str, str], found: list[Record | None]) -> dict[str, str]:
    pairs = zip(ids.items(), found, strict=True)
    return {identity: text for (identity, text), record in pairs if record is None}


def _scored(found: list[Match], threshold: float) -> list[SearchResult]:
    results: list[SearchResult] = [
        {
            "id": each.record.id,
            "content": each.record.value["content"],
            "metadata": each.record.value["metadata"],
            "score": (1 + each.score) / 2,
        }
        for each in found
    ]
    return [each for each in results if each["score"] >= threshold]

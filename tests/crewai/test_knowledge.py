"""Knowledge in a swarmstate store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
import pytest
from crewai.knowledge.knowledge import Knowledge
from crewai.knowledge.source.string_knowledge_source import StringKnowledgeSource
from crewai.rag.embeddings.providers.custom.embedding_callable import CustomEmbeddingFunction
from crewai_swarmstate import SwarmStateKnowledgeStorage, close_stores, shared_store
from swarmstate.errors import EmbeddingError

from tests.crewai.helpers.offline import embed

DOCUMENTS = ["The harbour lighthouse is green", "Bread is baked at dawn", "Cats sleep all day"]


class Counting:
    """An embedder that counts the texts it was given."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, texts: list[str]) -> Sequence[Sequence[float]]:
        self.texts.extend(texts)
        return embed(texts)


@pytest.fixture
def embedder() -> Counting:
    return Counting()


@pytest.fixture
def storage(tmp_path: Path, embedder: Counting) -> SwarmStateKnowledgeStorage:
    uri = str(tmp_path / "knowledge.db")
    return SwarmStateKnowledgeStorage(uri=uri, collection_name="facts", embedder=embedder)


def test_the_nearest_documents_are_found(storage: SwarmStateKnowledgeStorage) -> None:
    storage.save(DOCUMENTS)
    [best, *rest] = storage.search(["harbour", "lighthouse"], limit=3, score_threshold=0)
    assert best["content"] == DOCUMENTS[0]
    assert 0.5 < best["score"] <= 1
    assert [each["score"] for each in rest] == sorted((r["score"] for r in rest), reverse=True)
    assert [each["content"] for each in storage.search(["harbour lighthouse"])] == [DOCUMENTS[0]]


def test_a_search_is_limited(storage: SwarmStateKnowledgeStorage) -> None:
    storage.save([f"fact {number}" for number in range(8)])
    for given, number in (({}, 5), ({"limit": 1}, 1), ({"metadata_filter": {"k": 1}}, 0)):
        options: dict[str, Any] = {"score_threshold": 0, **given}
        assert len(storage.search(["fact"], **options)) == number
        assert len(asyncio.run(storage.asearch(["fact"], **options))) == number


def test_a_document_is_stored_and_embedded_once(
    storage: SwarmStateKnowledgeStorage, embedder: Counting
) -> None:
    storage.save(DOCUMENTS)
    storage.save([*DOCUMENTS, "One more", "One more"])
    assert embedder.texts == [*DOCUMENTS, "One more"]
    asyncio.run(storage.asave([*DOCUMENTS, "Yet another"]))
    assert embedder.texts == [*DOCUMENTS, "One more", "Yet another"]
    assert len(storage.search(["x"], limit=10, score_threshold=0)) == 5
    storage.search(["harbour", "lighthouse"])
    assert embedder.texts[-1] == "harbour lighthouse"


def test_a_document_may_hold_a_lone_surrogate(storage: SwarmStateKnowledgeStorage) -> None:
    storage.save(["cut off \ud83d"])
    [found] = storage.search(["cut off"], score_threshold=0)
    assert found["content"] == "cut off \ud83d"


def test_collections_are_apart_and_outlive_the_process(
    storage: SwarmStateKnowledgeStorage, embedder: Counting
) -> None:
    storage.save(DOCUMENTS)
    close_stores()
    again = storage.model_copy()
    other = SwarmStateKnowledgeStorage(uri=storage.uri, collection_name="other", embedder=embedder)
    assert other.search(["lighthouse"], score_threshold=0) == []
    assert len(again.search(["lighthouse"], score_threshold=0)) == 3
    other.reset()
    assert len(again.search(["lighthouse"], score_threshold=0)) == 3
    again.reset()
    assert again.search(["lighthouse"], score_threshold=0) == []


def test_the_async_methods_do_the_same(storage: SwarmStateKnowledgeStorage) -> None:
    async def use() -> list[str]:
        await storage.asave(DOCUMENTS)
        found = await storage.asearch(["harbour lighthouse"])
        await storage.areset()
        return [each["content"] for each in found]

    assert asyncio.run(use()) == [DOCUMENTS[0]]
    assert storage.search(["lighthouse"], score_threshold=0) == []


def test_errors_are_raised(storage: SwarmStateKnowledgeStorage) -> None:
    with pytest.raises(ValueError, match="query"):
        storage.search([])
    storage.save(DOCUMENTS)
    wrong = SwarmStateKnowledgeStorage(
        uri=storage.uri, collection_name="facts", embedder=lambda texts: [[1.0]] * len(texts)
    )
    with pytest.raises(ValueError, match="64 dimensions"):
        wrong.search(["x"])


def test_an_embedder_is_given_no_more_texts_than_services_take(tmp_path: Path) -> None:
    given: list[int] = []

    def embedder(texts: list[str]) -> Sequence[Sequence[float]]:
        given.append(len(texts))
        return embed(texts)

    uri = str(tmp_path / "knowledge.db")
    storage = SwarmStateKnowledgeStorage(uri=uri, embedder=embedder)
    storage.save([f"fact number {index}" for index in range(250)])
    assert max(given) <= 100
    [best, *_] = storage.search(["fact number 249"])
    assert best["content"] == "fact number 249"


def test_an_embedder_that_leaves_texts_out_is_named(tmp_path: Path) -> None:
    uri = str(tmp_path / "knowledge.db")
    storage = SwarmStateKnowledgeStorage(uri=uri, embedder=lambda texts: embed(texts)[1:])
    with pytest.raises(EmbeddingError, match="found 2 for 3: the embedder"):
        storage.save(DOCUMENTS)
    with pytest.raises(EmbeddingError, match="found 0 for 1"):
        storage.search(["lighthouse"])


class Configured(CustomEmbeddingFunction):
    def __call__(self, input: Any) -> Any:
        return [numpy.array(each, dtype=numpy.float32) for each in embed(input)]


def test_an_embedder_may_be_configured() -> None:
    configured = {"provider": "custom", "config": {"embedding_callable": Configured}}
    storage = SwarmStateKnowledgeStorage(uri="memory://", embedder=configured)
    storage.save(DOCUMENTS)
    assert [each["content"] for each in storage.search(["harbour lighthouse"])] == [DOCUMENTS[0]]


def test_openai_embeds_if_nothing_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ValueError, match="OPENAI_API_KEY"):
        SwarmStateKnowledgeStorage(uri="memory://").save(DOCUMENTS)


def test_knowledge_of_no_collection_is_apart(embedder: Counting, tmp_path: Path) -> None:
    uri = str(tmp_path / "knowledge.db")
    SwarmStateKnowledgeStorage(uri=uri, embedder=embedder).save(DOCUMENTS)
    assert shared_store(uri).namespaces() == ["crewai-knowledge:"]


def test_knowledge_of_crewai_uses_it(storage: SwarmStateKnowledgeStorage) -> None:
    source = StringKnowledgeSource(content=DOCUMENTS[0])
    knowledge = Knowledge(collection_name="facts", sources=[source], storage=storage)
    knowledge.add_sources()
    [found] = knowledge.query(["harbour lighthouse"])
    assert found["content"] == DOCUMENTS[0]

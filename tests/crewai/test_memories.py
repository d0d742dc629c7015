"""How CrewAI's memories are stored, and which are refused."""

from __future__ import annotations

import math
import re
from array import array
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from crewai.memory.storage import backend
from crewai.memory.types import MemoryRecord
from crewai_swarmstate import SwarmStateStorage, shared_store
from pydantic import BaseModel
from swarmstate.errors import DimensionError, EmbeddingError, EncodeError, InvalidFilterError
from swarmstate.vectors import Collection


def test_a_memory_is_a_record_of_a_collection(tmp_path: Path) -> None:
    created = datetime(2026, 1, 2, 3, 4, 5)
    memory = MemoryRecord(
        id="id",
        content="text",
        scope="/a/b",
        categories=["x"],
        created_at=created,
        last_accessed=created.replace(microsecond=600),
        embedding=[0.5, -2],
    )
    SwarmStateStorage(tmp_path / "memory.db").save([memory])
    [record] = Collection(shared_store(tmp_path / "memory.db"), "crewai-memory").get(["id"])
    assert record is not None
    assert record.value == {
        "content": "text",
        "metadata": {},
        "importance": 0.5,
        "created_at": "2026-01-02T03:04:05.000000",
        "last_accessed": "2026-01-02T03:04:05.000600",
        "source": None,
        "private": False,
    }
    assert (record.scope, record.categories) == (("a", "b"), ("x",))
    assert record.embeddings == (array("f", [0.5, -2.0]),)


@pytest.mark.parametrize(
    ("embedding", "reason"),
    [
        ([1.0, math.nan], "NaN at position 1"),
        ([1e300, 1.0], "inf at position 0"),
        (["a", "b"], "contains str instead of a number"),
    ],
)
def test_what_is_no_embedding_is_refused(embedding: list[Any], reason: str) -> None:
    storage = SwarmStateStorage("memory://")
    good = MemoryRecord(id="good", content="text", embedding=[1.0, 2.0])
    bad = MemoryRecord.model_construct(**{**good.model_dump(), "id": "bad", "embedding": embedding})
    with pytest.raises(EmbeddingError, match=reason):
        storage.save([good, bad])
    assert storage.count() == 0


def test_a_time_that_utc_does_not_have_is_refused() -> None:
    storage = SwarmStateStorage("memory://")
    east, west = (timezone(timedelta(hours=hours)) for hours in (2, -2))
    for time in (datetime(1, 1, 1, 1, 59, tzinfo=east), datetime(9999, 12, 31, 22, tzinfo=west)):
        memory = MemoryRecord(id="id", content="text", created_at=time, embedding=[1.0])
        with pytest.raises(ValueError, match=f"9999 in UTC, found {re.escape(str(time))}"):
            storage.save([memory])
        with pytest.raises(ValueError, match="years 1 to 9999 in UTC"):
            storage.delete(older_than=time)
    with pytest.raises(TypeError, match=r"a datetime, found datetime\.date\(2026, 1, 2\), a date"):
        storage.delete(older_than=date(2026, 1, 2))  # type: ignore[arg-type]
    assert storage.count() == 0


class Model(BaseModel):
    held: Any


@dataclass
class Data:
    held: Any


def test_metadata_without_a_plain_form_is_refused() -> None:
    storage = SwarmStateStorage("memory://")
    memory = MemoryRecord(id="id", content="text", metadata={"by": [object()]}, embedding=[1.0])
    with pytest.raises(EncodeError, match=r"metadata\['by'\]\[0\], a object: expected plain data"):
        storage.save([memory])
    with pytest.raises(EncodeError, match=r"metadata\['by'\]"):
        storage.search([1.0], metadata_filter={"by": object()})
    for holder in (Model(held=object()), Data(object())):
        memory = MemoryRecord(id="id", content="text", metadata={"by": holder}, embedding=[1.0])
        with pytest.raises(EncodeError, match=r"metadata\['by'\]\['held'\], a object"):
            storage.save([memory])
    assert storage.count() == 0


def test_scores_are_cosines_if_asked_for() -> None:
    storage = SwarmStateStorage("memory://", scoring="cosine")
    storage.save([MemoryRecord(id="id", content="text", embedding=[2.0, 0.0])])
    [(_, score)] = storage.search([1.0, 1.0])
    assert score == pytest.approx(math.sqrt(0.5))
    assert storage.search([1.0, 1.0], min_score=0.8) == []
    with pytest.raises(ValueError, match="'cosine'"):
        SwarmStateStorage("memory://", scoring="dot")  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["$eq", "$ref"])
def test_metadata_that_looks_like_an_operator_is_no_filter(key: str) -> None:
    storage = SwarmStateStorage("memory://")
    storage.save([MemoryRecord(id="id", content="text", metadata={key: 1}, embedding=[1.0])])
    with pytest.raises(InvalidFilterError, match="operator"):
        storage.search([1.0], metadata_filter={key: 1})
    [(found, _)] = storage.search([1.0])
    assert found.metadata == {key: 1}


def test_a_filter_by_what_is_no_key_is_refused() -> None:
    storage = SwarmStateStorage("memory://")
    with pytest.raises(InvalidFilterError, match="must be field names or operators, not 1"):
        storage.search([1.0], metadata_filter={1: "a"})  # type: ignore[dict-item]


def test_a_crewai_without_an_error_of_its_own_for_dimensions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(backend, "EmbeddingDimensionMismatchError", raising=False)
    storage = SwarmStateStorage("memory://")
    storage.save([MemoryRecord(id="id", content="text", embedding=[1.0, 2.0])])
    assert [found.id for found, _ in storage.search([1.0, 2.0])] == ["id"]
    with pytest.raises(DimensionError, match="2 dimensions"):
        storage.search([1.0])

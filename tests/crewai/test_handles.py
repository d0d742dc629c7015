"""URIs and the handles they share."""

from __future__ import annotations

from pathlib import Path

import pytest
from crewai_swarmstate import (
    SwarmStateCacheHandler,
    SwarmStateCheckpointProvider,
    SwarmStateFlowPersistence,
    SwarmStateKnowledgeStorage,
    SwarmStateStorage,
    close_stores,
    shared_store,
)
from crewai_swarmstate.handles import canonical_uri, shared_collection


def test_a_path_names_the_same_store_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "odd %41 name?#.db"
    monkeypatch.chdir(tmp_path)
    uris = {
        canonical_uri(name),
        canonical_uri(Path(name)),
        canonical_uri(tmp_path / name),
        canonical_uri(f"disk://{canonical_uri(name).rpartition('/')[2]}"),
    }
    assert len(uris) == 1
    shared_store(name).set("n", "k", 1)
    assert (tmp_path / name).exists()
    assert canonical_uri("redis://host/0") == "redis://host/0"


def test_a_uri_is_opened_once_until_it_is_closed(tmp_path: Path) -> None:
    store = shared_store(tmp_path / "a.db")
    assert shared_store(str(tmp_path / "a.db")) is store
    assert shared_store(tmp_path / "b.db") is not store
    collection = shared_collection(tmp_path / "a.db", "n", "l2")
    assert collection.store is store
    assert shared_collection(tmp_path / "a.db", "n", "l2") is collection
    close_stores()
    again = shared_store(tmp_path / "a.db")
    assert again is not store
    assert shared_collection(tmp_path / "a.db", "n", "l2").store is again


def test_no_repr_shows_a_password() -> None:
    uri = "redis://:secret@host/0"
    for named in (
        SwarmStateCacheHandler(uri=uri),
        SwarmStateCheckpointProvider(uri=uri),
        SwarmStateFlowPersistence(uri),
        SwarmStateKnowledgeStorage(uri=uri),
        SwarmStateStorage(uri),
    ):
        assert named.uri == uri
        assert "secret" not in f"{named!r} {named}"

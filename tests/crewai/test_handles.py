"""URIs and the handles they share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from crewai_swarmstate import (
    SwarmStateCacheHandler,
    SwarmStateCheckpointProvider,
    SwarmStateFlowPersistence,
    SwarmStateKnowledgeStorage,
    SwarmStateStorage,
    close_stores,
    install,
    shared_store,
)
from crewai_swarmstate.handles import canonical_uri, shared_collection
from swarmstate import Store


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


@pytest.mark.parametrize("named", [None, b"agents.db", Store()])
def test_what_names_no_store_is_refused(named: Any) -> None:
    for take in (
        install,
        shared_store,
        SwarmStateStorage,
        lambda uri: SwarmStateCacheHandler(uri=uri),
    ):
        with pytest.raises(TypeError, match="expected a store's URI or a file path, found"):
            take(named)


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


def test_a_password_is_not_shown() -> None:
    uri = "redis://:secret@host/0"
    for each in (
        SwarmStateCacheHandler(uri=uri),
        SwarmStateCheckpointProvider(uri=uri),
        SwarmStateFlowPersistence(uri),
        SwarmStateKnowledgeStorage(uri=uri),
        SwarmStateStorage(uri),
    ):
        assert each.uri == uri
        assert type(each).__name__ in repr(each)
        assert "secret" not in f"{each!r} {each}"


FORKED = """
import os, signal, sys, threading, warnings
from crewai_swarmstate import shared_store
import swarmstate

# What is tested is just what Python warns of from 3.12 on.
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)


opening, go_on = threading.Event(), threading.Event()
opened = swarmstate.open


def open_slowly(uri):
    opening.set()
    go_on.wait()
    return opened(uri)


swarmstate.open = open_slowly
thread = threading.Thread(target=shared_store, args=(sys.argv[1],))
thread.start()
opening.wait()
process = os.fork()
if process == 0:
    signal.alarm(10)  # Ends a child that waits for ever.
    go_on.set()
    shared_store(sys.argv[1]).set("n", "k", 1)
    os._exit(0)
go_on.set()
thread.join()
sys.exit(os.waitpid(process, 0)[1] or shared_store(sys.argv[1]).get("n", "k") != 1)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_child_may_be_forked_while_a_thread_opens_a_store(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FORKED, str(tmp_path / "a.db")]
    assert subprocess.run(command, check=False).returncode == 0

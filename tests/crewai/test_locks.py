"""CrewAI's locks, held in a swarmstate store."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from crewai_core import lock_store
from crewai_swarmstate import LockTimeoutError, lock_backend, shared_store
from swarmstate.base import Batch
from swarmstate.errors import StoreError

PROCESS = Path(__file__).parent / "helpers" / "lock_process.py"


def test_processes_take_turns(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    command = [sys.executable, str(PROCESS), str(tmp_path / "locks.db"), str(counter), "25"]
    processes = [subprocess.Popen(command) for _ in range(4)]
    assert [process.wait() for process in processes] == [0, 0, 0, 0]
    assert counter.read_text() == "100"


def test_a_held_lock_times_out_and_is_named(tmp_path: Path) -> None:
    lock = lock_backend(tmp_path / "locks.db")
    with lock("name"):
        with pytest.raises(LockTimeoutError, match="'name'"), lock("name", timeout=0.01):
            raise AssertionError("two hold the lock")
        with lock("other", timeout=0):
            pass
    with lock("name", timeout=0):
        pass


def test_a_lock_is_free_after_an_error(tmp_path: Path) -> None:
    lock = lock_backend(tmp_path / "locks.db")
    with pytest.raises(RuntimeError), lock("name"):
        raise RuntimeError
    with lock("name", timeout=0):
        pass
    assert shared_store(tmp_path / "locks.db").namespaces() == []
    assert not [each for each in threading.enumerate() if each.name == "crewai-swarmstate-lock"]


def test_the_lock_of_a_dead_holder_becomes_free(tmp_path: Path) -> None:
    uri = tmp_path / "locks.db"
    # What a process leaves that was killed while it held the lock.
    shared_store(uri).write([Batch("crewai-lock:name", put={"holder": b"dead"}, ttl=0.05)])
    with lock_backend(uri)("name", timeout=30):
        pass


def test_a_living_holder_keeps_its_lock_beyond_the_lease(tmp_path: Path) -> None:
    lock = lock_backend(tmp_path / "locks.db", lease=0.3)
    with lock("name"), pytest.raises(LockTimeoutError), lock("name", timeout=1):
        raise AssertionError("two hold the lock")


def test_losing_a_lock_is_reported(tmp_path: Path) -> None:
    lock = lock_backend(tmp_path / "locks.db")
    with pytest.raises(StoreError, match="longer than its lease"), lock("name"):
        shared_store(tmp_path / "locks.db").clear("crewai-lock:name")


def test_crewai_uses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_store, "_backend", lock_backend(tmp_path / "locks.db"))
    with (
        lock_store.lock("name"),
        pytest.raises(LockTimeoutError),
        lock_store.lock("name", timeout=0),
    ):
        raise AssertionError("two hold the lock")
    with pytest.raises(ValueError, match="lease"):
        lock_backend("memory://", lease=0)

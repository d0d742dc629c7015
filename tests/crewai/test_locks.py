"""CrewAI's locks, held in a swarmstate store."""

from __future__ import annotations

import logging
import math
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from crewai_core import lock_store
from crewai_swarmstate import LockTimeoutError, close_stores, lock_backend, shared_store
from swarmstate.base import Batch
from swarmstate.errors import StoreError

PROCESS = Path(__file__).parent / "helpers" / "lock_process.py"

# Renewed after a third of the lease, so a busy machine may be late by seconds.
LEASE = 4.0

# Another process, because file locks only work against other processes.
BLOCK = """
import sqlite3, sys

connection = sqlite3.connect(sys.argv[1])
connection.execute("BEGIN IMMEDIATE")
sys.stdin.read()
"""


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


def test_a_held_lock_is_a_value_that_any_program_reads(tmp_path: Path) -> None:
    with lock_backend(tmp_path / "locks.db")("name"):
        [(key, value)] = shared_store(tmp_path / "locks.db").items("crewai-lock:name")
    assert key == "holder"
    assert len(value) == 32


def test_a_lock_is_free_after_an_error(tmp_path: Path) -> None:
    lock = lock_backend(tmp_path / "locks.db")
    with pytest.raises(RuntimeError), lock("name"):
        raise RuntimeError
    with lock("name", timeout=0):
        pass
    assert shared_store(tmp_path / "locks.db").namespaces() == []
    assert not [each for each in threading.enumerate() if each.name == "crewai-swarmstate-lock"]


def test_a_lock_is_free_when_it_could_not_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    lock = lock_backend(tmp_path / "locks.db")
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError, match="new thread"), lock("name"):
            raise AssertionError("nobody renews the lock")
    with lock("name", timeout=0):
        pass


def test_the_lock_of_a_dead_holder_becomes_free(tmp_path: Path) -> None:
    uri = tmp_path / "locks.db"
    # The record left by a process that was killed while it held the lock.
    shared_store(uri).write([Batch("crewai-lock:name", put={"holder": b"dead"}, ttl=0.05)])
    with lock_backend(uri)("name", timeout=30):
        pass


def test_a_living_holder_keeps_its_lock_beyond_the_lease(tmp_path: Path) -> None:
    lock = lock_backend(tmp_path / "locks.db", lease=LEASE)
    with lock("name"), pytest.raises(LockTimeoutError), lock("name", timeout=LEASE + 1):
        raise AssertionError("two hold the lock")


class Notice(logging.Handler):
    """Lets a test wait for a log message."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.arrived.set()


@pytest.fixture
def notice() -> Iterator[Notice]:
    handler = Notice()
    logger = logging.getLogger("crewai_swarmstate.locks")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def test_a_holder_keeps_its_lock_when_the_store_was_away(tmp_path: Path, notice: Notice) -> None:
    lock = lock_backend(f"disk://{tmp_path}/locks.db?timeout=0.01", lease=LEASE)
    with lock("name"):
        command = [sys.executable, "-c", BLOCK, str(tmp_path / "locks.db")]
        with subprocess.Popen(command, stdin=subprocess.PIPE):
            assert notice.arrived.wait(60)
        with pytest.raises(LockTimeoutError), lock("name", timeout=LEASE + 1):
            raise AssertionError("two hold the lock")


def test_a_lock_is_held_and_freed_when_the_stores_were_closed(tmp_path: Path) -> None:
    lock = lock_backend(tmp_path / "locks.db", lease=LEASE)
    with lock("name"):
        close_stores()
        with pytest.raises(LockTimeoutError), lock("name", timeout=LEASE + 1):
            raise AssertionError("two hold the lock")
        close_stores()
    with lock("name", timeout=0):
        pass


def test_losing_a_lock_is_reported(tmp_path: Path) -> None:
    lock = lock_backend(tmp_path / "locks.db")
    with pytest.raises(StoreError, match="longer than its lease"), lock("name"):
        shared_store(tmp_path / "locks.db").clear("crewai-lock:name")


def test_a_lost_lock_does_not_hide_the_error_of_its_holder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def lose_and_fail() -> None:
        with lock_backend(tmp_path / "locks.db")("name"):
            shared_store(tmp_path / "locks.db").clear("crewai-lock:name")
            raise RuntimeError("of the holder")

    with pytest.raises(RuntimeError, match="of the holder"):
        lose_and_fail()
    assert "could not release lock 'name'" in caplog.text
    assert "longer than its lease" in caplog.text


def test_crewai_uses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_store, "_backend", lock_backend(tmp_path / "locks.db"))
    with (
        lock_store.lock("name"),
        pytest.raises(LockTimeoutError),
        lock_store.lock("name", timeout=0),
    ):
        raise AssertionError("two hold the lock")
    for lease in (0, math.inf):
        with pytest.raises(ValueError, match="lease"):
            lock_backend("memory://", lease=lease)

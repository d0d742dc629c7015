"""A full disk, a process out of file handles: the errors are temporary, and nothing is lost."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from swarmstate.base import Batch
from swarmstate.disk import DiskStore

from tests.core.scripts import run


def test_a_full_disk_is_an_error_that_passes(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="file size limits are a matter of POSIX")
    path = tmp_path / "state.db"
    script = """
import resource, sys
from swarmstate import Batch, DiskStore
from swarmstate.errors import StoreUnavailableError

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

with DiskStore(sys.argv[1]) as store:
    store.set("n", "before", 1)
    limit(300_000)
    written = 0
    try:
        while True:
            store.write([Batch("n", put={f"{written:04}": bytes(1000), f"b{written:04}": b""})])
            written += 1
    except StoreUnavailableError as error:
        assert sys.argv[1] in str(error), error
    assert 0 < written < 300
    assert len(store) == 1 + 2 * written
    limit(resource.RLIM_INFINITY)
    store.set("n", "after", bytes(1_000_000))
    assert len(store) == 2 + 2 * written
"""
    run(script, path)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    with DiskStore(path) as store:
        assert store.get("n", "after") == bytes(1_000_000)


def test_what_is_deleted_is_reclaimed_later_where_there_is_little_room(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="file size limits are a matter of POSIX")
    script = """
import os, resource, sys
from swarmstate import Batch, DiskStore

path = sys.argv[1]
with DiskStore(path) as store:
    store.write([Batch("n", put={f"{index:03}": bytes(1000) for index in range(900)})])
    log = os.path.getsize(path + "-wal")
    resource.setrlimit(resource.RLIMIT_FSIZE, (log + 80_000, resource.RLIM_INFINITY))
    store.clear("n")
    assert store.namespaces() == []
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert store.vacuum() > 500_000
"""
    run(script, tmp_path / "state.db")


def test_without_room_to_reclaim_what_is_deleted_a_vacuum_ends(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="file size limits are a matter of POSIX")
    script = """
import resource, sys
from swarmstate import DiskStore
from swarmstate.errors import StoreUnavailableError

with DiskStore(sys.argv[1]) as store:
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
    try:
        store.vacuum()
    except StoreUnavailableError as error:
        assert sys.argv[1] in str(error), error
    else:
        raise AssertionError("expected no room")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert store.vacuum() > 500_000
"""
    with DiskStore(tmp_path / "state.db") as store:
        store.write([Batch("n", put={f"{index:03}": bytes(1000) for index in range(900)})])
        store.clear("n")
    run(script, tmp_path / "state.db")


def test_without_room_to_open_a_file_the_message_says_so(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="file size limits are a matter of POSIX")
    script = """
import resource, sys
from swarmstate import DiskStore
from swarmstate.errors import StoreUnavailableError

resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
try:
    DiskStore(sys.argv[1])
except StoreUnavailableError as error:
    assert "32 kB beside it" in str(error), error
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
with DiskStore(sys.argv[1]) as store:
    assert store.get("n", "k") == 1
"""
    with DiskStore(tmp_path / "state.db") as store:
        store.set("n", "k", 1)
    run(script, tmp_path / "state.db")


@pytest.mark.parametrize("left", [0, 1, 2])
def test_without_files_to_open_it_a_file_is_not_taken_for_one_that_can_only_be_read(
    tmp_path: Path, left: int
) -> None:
    pytest.importorskip("resource", reason="limits of open files are a matter of POSIX")
    script = """
import os, resource, sys
from contextlib import suppress
from swarmstate import DiskStore
from swarmstate.errors import StoreUnavailableError

resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
held = []
with suppress(OSError):
    while True:
        held.append(os.open(os.devnull, os.O_RDONLY))
for _ in range(int(sys.argv[2])):
    os.close(held.pop())
try:
    DiskStore(sys.argv[1])
except StoreUnavailableError as error:
    assert "files" in str(error), error
else:
    raise AssertionError("expected no store")
for each in held:
    os.close(each)
with DiskStore(sys.argv[1]) as store:
    store.set("n", "k", store.get("n", "k") + 1)
"""
    with DiskStore(tmp_path / "state.db") as store:
        store.set("n", "k", 1)
    run(script, tmp_path / "state.db", left)
    with DiskStore(tmp_path / "state.db") as store:
        assert store.get("n", "k") == 2

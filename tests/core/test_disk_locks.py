"""The locks of an open file, its other names, and what happens when it is moved."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from swarmstate.disk import DiskStore
from swarmstate.errors import StoreUnavailableError

from tests.core.scripts import run

# The bytes of the file that SQLite keeps locked while a store is open.
IS_LOCKED = """
import fcntl, sys

with open(sys.argv[1], "r+b") as file:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 510, 0x40000002)
    except BlockingIOError:
        sys.exit(0)
sys.exit("the file is not locked")
"""


@pytest.mark.parametrize("name", ["state.db", "a link", "a link that was there before the file"])
def test_a_second_store_of_a_path_keeps_the_locks_of_the_first(tmp_path: Path, name: str) -> None:
    """In POSIX, closing any handle on a file releases the locks of the whole process."""
    pytest.importorskip("fcntl", reason="locks of this kind are a matter of POSIX")
    path, first = tmp_path / "state.db", tmp_path / "state.db"
    second = tmp_path / name
    if name != "state.db":
        second.symlink_to("state.db")
    if name == "a link that was there before the file":
        first = second
    with DiskStore(first) as store:
        assert store.path == path.resolve()
        store.set("n", "k", 1)
        run(IS_LOCKED, path)
        with DiskStore(second) as other:
            assert other.get("n", "k") == 1
        run(IS_LOCKED, path)


def test_a_closed_store_that_goes_later_keeps_the_locks_of_the_next(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="locks of this kind are a matter of POSIX")
    path = tmp_path / "state.db"
    store = DiskStore(path)
    store.close()
    # Rebinding the name drops the first store only after the second is open.
    store = DiskStore(path)
    with store, DiskStore(path):
        run(IS_LOCKED, path)


def test_a_file_is_not_opened_under_a_second_name_meanwhile(tmp_path: Path) -> None:
    """Each name has its own WAL, which the other store would not see."""
    pytest.importorskip("fcntl", reason="locks of this kind are a matter of POSIX")
    path, second = tmp_path / "state.db", tmp_path / "second.db"
    with DiskStore(path) as store:
        store.set("n", "k", 1)
        os.link(path, second)
        with pytest.raises(StoreUnavailableError, match=r"same file as .*state\.db"):
            DiskStore(second)
        run(IS_LOCKED, path)
        store.set("n", "k", 2)
    with DiskStore(second) as store:
        assert store.get("n", "k") == 2


def remove(path: Path) -> None:
    path.unlink()


def replace(path: Path) -> None:
    with DiskStore(path.with_name("other.db")) as other:
        other.set("n", "k", "another file's")
    path.with_name("other.db").replace(path)


def rename_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows lets nobody move open files")
@pytest.mark.parametrize("move", [remove, replace, rename_folder])
def test_a_file_that_was_moved_takes_no_more_writes(
    tmp_path: Path, move: Callable[[Path], None]
) -> None:
    path = tmp_path / "folder" / "state.db"
    path.parent.mkdir()
    with DiskStore(path) as store:
        store.set("n", "k", "first")
        move(path)
        # The store notices only after a moment.
        with suppress(StoreUnavailableError):
            while True:
                store.set("n", "lost", 1)
        for call in (
            lambda: store.set("n", "k", "lost"),
            lambda: asyncio.run(store.aset("n", "k", "lost")),
            lambda: store.vacuum(),
        ):
            with pytest.raises(StoreUnavailableError, match="removed, renamed or replaced"):
                call()
        assert store.get("n", "k") == "first"
        if move is rename_folder:
            path.parent.with_name("elsewhere").rename(path.parent)
            store.set("n", "k", "second")
    if move is replace:
        for suffix in ("-wal", "-shm"):
            path.with_name(f"{path.name}{suffix}").unlink()
    expected: dict[Callable[[Path], None], str | None] = {
        remove: None,
        replace: "another file's",
        rename_folder: "second",
    }
    with DiskStore(path) as store:
        assert store.get("n", "k") == expected[move]


@pytest.mark.skipif(sys.platform == "win32", reason="alarms are a matter of POSIX")
def test_a_signal_while_a_lock_is_waited_for_is_raised_before_the_error(tmp_path: Path) -> None:
    script = """
import signal, sys
from swarmstate import DiskStore

signal.signal(signal.SIGALRM, signal.default_int_handler)
with DiskStore(sys.argv[1], timeout=1) as store:
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        store.set("n", "k", 1)
    except KeyboardInterrupt:
        sys.exit()
"""
    path = tmp_path / "state.db"
    DiskStore(path).close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    run(script, path)
    connection.close()

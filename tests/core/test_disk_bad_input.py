"""Files and paths that a disk store cannot use: one clear error, and nothing is touched."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from swarmstate.disk import DiskStore
from swarmstate.errors import StoreFormatError, StoreUnavailableError

FORMAT_1 = Path(__file__).parent / "data" / "format-1.sqlite"


def other_database(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE mine (value)")
    connection.commit()
    connection.close()


def other_database_with_a_log(path: Path) -> None:
    other_database(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = wal")
    connection.close()


def newer_format(path: Path) -> None:
    DiskStore(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def truncated(path: Path) -> None:
    path.write_bytes(FORMAT_1.read_bytes()[:99])


FOREIGN = {
    "text": lambda path: path.write_text("Dear diary,\n" * 1000),
    "one byte": lambda path: path.write_bytes(b"S"),
    "zeros": lambda path: path.write_bytes(bytes(8192)),
    "a header alone": lambda path: path.write_bytes(b"SQLite format 3\0"),
    "truncated": truncated,
    "another database": other_database,
    "another database with a log": other_database_with_a_log,
    "a newer format": newer_format,
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_files_are_refused_and_left_as_they_are(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "state.db"
    FOREIGN[kind](path)
    content, changed = path.read_bytes(), path.stat().st_mtime_ns
    for _ in range(2):
        with pytest.raises(StoreFormatError) as raised:
            DiskStore(path)
        assert str(path) in str(raised.value)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (content, changed)
    assert os.listdir(tmp_path) == ["state.db"]


def test_a_newer_format_says_what_to_do(tmp_path: Path) -> None:
    newer_format(tmp_path / "state.db")
    with pytest.raises(StoreFormatError, match=r"format 99.*up to 1; upgrade swarmstate-core"):
        DiskStore(tmp_path / "state.db")


def test_a_file_of_format_1_is_read_and_written(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    shutil.copy(FORMAT_1, path)
    with DiskStore(path, clock=lambda: 1_700_000_000.0) as store:
        assert store.namespaces() == ["expiring", "langgraph:1", "ünï/cödé"]
        assert store.items("langgraph:1") == [("a", "first"), ("b", [1, 2.5, None])]
        assert store.items("ünï/cödé") == [("é", "é" * 5000)]
        store.set("langgraph:1", "c", 3)
    with DiskStore(path, clock=lambda: 2_000_000_000.0) as store:
        assert store.namespaces() == ["langgraph:1", "ünï/cödé"]
        assert store.keys("langgraph:1") == ["a", "b", "c"]


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.touch()
    with DiskStore(path) as store:
        store.set("n", "k", 1)
    with DiskStore(path) as store:
        assert store.get("n", "k") == 1


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "empty"),
        (":memory:", r"use Store\(\)"),
        ("missing/state.db", "create it first"),
        ("~/state.db", r"os\.path\.expanduser"),
        ("disk://state.db", r"swarmstate\.open\(\) for a URL"),
        (".", "is a directory"),
        ("file/state.db", "file"),
        ("pipe", "not a regular file"),
        ("n" * 300, "cannot open"),
        ("nul\0.db", "cannot open"),
        ("\ud800.db", "not a valid file name"),
    ],
)
def test_unusable_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("text")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StoreUnavailableError, match=message):
        DiskStore(path)
    assert sorted(os.listdir(tmp_path)) == ["file", "pipe"]


def test_a_url_that_is_taken_for_a_path_keeps_its_password() -> None:
    with pytest.raises(StoreUnavailableError, match="postgresql://; use") as caught:
        DiskStore("postgresql://ada:s3cret@localhost/agents")
    assert "s3cret" not in str(caught.value)

"""The `swarmstate` command as people run it."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest
from swarmstate import DiskStore

from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer

COMMAND = [str(Path(sys.executable).with_name("swarmstate"))]
PASSWORD = "hunter2-and-more"


def run(*arguments: str | Path, code: int = 0) -> str:
    """Run the command, check its exit code against `code`, and return its output."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
    )
    printed = done.stdout + done.stderr
    assert done.returncode == code, printed
    assert "Traceback" not in printed
    assert PASSWORD not in printed
    return printed


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.db"
    with DiskStore(path) as store:
        for number in range(3):
            store.set_many(f"n{number}", {f"{index}": index for index in range(10)})
    return path


def test_info(source: Path) -> None:
    printed = run("info", source)
    assert printed.split() == ["namespaces", "3", "records", "30", "bytes", "30"]
    assert "1" in run("info", f"disk://{source}", "--prefix", "n1").split()


def test_copy_and_copy_again(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target.db"
    assert "30 records written, 0 already existed" in run("copy", source, f"disk://{target}")
    again = run("copy", source, target)
    assert "0 records written, 30 already existed" in again
    assert "compared: no differences" in again
    with DiskStore(target) as store:
        assert store.get("n2", "7") == 7


def test_a_store_is_not_copied_onto_itself(
    source: Path, tmp_path: Path, redis_server: RedisServer, postgres_server: PostgresServer
) -> None:
    (tmp_path / "link.db").symlink_to(source)
    run("copy", source, redis_server.url())
    run("copy", source, f"{postgres_server.url()}?schema=one")
    pairs: list[tuple[str | Path, str | Path]] = [
        (source, source),
        (source, f"disk://{tmp_path}/../{tmp_path.name}/source.db"),
        (tmp_path / "link.db", source),
        (redis_server.url(), f"{redis_server.url()}?prefix=swarmstate"),
        (
            f"{postgres_server.url()}?schema=one",
            f"{postgres_server.url()}?schema=one&prefix=swarmstate",
        ),
    ]
    for one, same in pairs:
        for options in ([], ["--overwrite"]):
            assert "are the same; nothing" in run("copy", one, same, *options, code=1)
    with DiskStore(source) as store:
        assert store.namespaces() == ["n0", "n1", "n2"]
    # Other prefixes and schemas on the same server are different stores.
    run("copy", redis_server.url(), f"{redis_server.url()}?prefix=other")
    run("copy", f"{postgres_server.url()}?schema=one", f"{postgres_server.url()}?schema=two")
    back = run("copy", f"{redis_server.url()}?prefix=other", redis_server.url())
    assert "30 already existed" in back


def test_a_target_with_other_records_is_left_alone(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target.db"
    with DiskStore(target) as store:
        store.set("n1", "mine", "precious")
    printed = run("copy", source, target, code=1)
    assert "'n1'" in printed
    assert "mine" in printed
    with DiskStore(target) as store:
        assert store.items("n1") == [("mine", "precious")]
        assert store.namespaces() == ["n0", "n1", "n2"]
    run("copy", source, target, "--overwrite")
    with DiskStore(target) as store:
        assert not store.contains("n1", "mine")


def test_names_are_shown_as_they_are(tmp_path: Path) -> None:
    """The terminal library would interpret words between colons or in brackets."""
    name, key = "user:key:1", "[red]:book:"
    for path in (source := tmp_path / "a:key:.db", target := tmp_path / "target.db"):
        with DiskStore(path) as store:
            store.set(name, key, path.name)
    printed = run("copy", source, target, code=1)
    assert f"{name!r} in the target has a different value for key {key!r}" in printed
    source.unlink()
    assert str(source) in run("info", source, code=1)


def test_a_killed_copy_goes_on(tmp_path: Path) -> None:
    source, target = tmp_path / "source.db", tmp_path / "target.db"
    with DiskStore(source, durability="normal") as store:
        for number in range(400):
            store.set(f"n{number:03}", "k", b"v" * 20_000)
    process = subprocess.Popen([*COMMAND, "copy", str(source), str(target)])
    deadline = time.monotonic() + 60
    copied = 0
    while not copied and process.poll() is None:
        assert time.monotonic() < deadline
        if target.exists() and target.stat().st_size:
            with DiskStore(target) as store:
                # Ignore the marker that the command writes first, to detect if both URLs name the
                # same store.
                copied = len(store.namespaces("n"))
    process.send_signal(signal.SIGKILL)
    process.wait()
    printed = run("copy", source, target)
    assert "400 records" in printed
    with DiskStore(source) as one, DiskStore(target) as other:
        assert one.snapshot().diff(other.snapshot()) == {"added": [], "changed": [], "removed": []}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["info", "missing.db"], "the file does not exist"),
        (["copy", "disk://missing.db", "memory://"], "the file does not exist"),
        (["info", f"nosuch://user:{PASSWORD}@host/db"], "no installed store opens nosuch://"),
        (["import", "langgraph-sqlite", "missing.db", "memory://"], "found none"),
        (
            [
                "import",
                "langgraph-postgres",
                f"postgresql://u:{PASSWORD}@127.0.0.1:1/d",
                "memory://",
            ],
            "cannot connect to the PostgreSQL server",
        ),
        (
            ["import", "langgraph-postgres", f"u:{PASSWORD}@127.0.0.1:1/d", "memory://"],
            "connection string",
        ),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], expected: str, tmp_path: Path) -> None:
    printed = run(*arguments, code=1)
    assert expected in printed
    assert printed.startswith("error: ")


def test_a_file_of_another_kind_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("These are my notes, and no database.")
    commands: list[list[str | Path]] = [
        ["info", path],
        ["import", "langgraph-sqlite", path, "memory://"],
    ]
    for arguments in commands:
        assert "notes.txt" in run(*arguments, code=1)
    assert path.read_text() == "These are my notes, and no database."


@pytest.mark.parametrize("name", ["missing.sqlite", "notes.txt", "empty.sqlite"])
def test_no_target_is_made_for_a_source_that_cannot_be_used(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.txt").write_text("These are my notes, and no database.")
    (tmp_path / "empty.sqlite").touch()
    target = tmp_path / "target.db"
    assert name in run("import", "langgraph-sqlite", tmp_path / name, target, code=1)
    run("copy", tmp_path / name, target, code=1)
    assert not target.exists()


def test_no_target_is_made_for_a_server_that_cannot_be_reached(tmp_path: Path) -> None:
    target = tmp_path / "target.db"
    server = f"redis://:{PASSWORD}@127.0.0.1:1?retry_for=0"
    assert "cannot be reached" in run("copy", server, target, code=1)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_is_no_store_to_look_into(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    path.touch()
    assert "the file is empty" in run("info", path, code=1)
    assert "the file is empty" in run("copy", f"disk://{path}", "memory://", code=1)
    assert path.stat().st_size == 0
    assert [each.name for each in tmp_path.iterdir()] == ["empty.db"]


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_database_without_tables_is_no_store_to_look_into(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "empty.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute(f"PRAGMA journal_mode = {mode}")
    content = path.read_bytes()
    assert content
    assert "with no tables" in run("info", path, code=1)
    assert "with no tables" in run("copy", f"disk://{path}", "memory://", code=1)
    assert path.read_bytes() == content
    assert [each.name for each in tmp_path.iterdir()] == ["empty.db"]


def test_a_store_of_which_all_is_in_the_log_is_one(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        with DiskStore(path) as store:
            store.set("n", "k", 1)
            assert "records     1" in run("info", path)


def test_unknown_kinds_are_named(tmp_path: Path) -> None:
    printed = run("import", "nothing", "x", "memory://", code=2)
    assert "langgraph-postgres, langgraph-sqlite" in printed


def test_version_names_what_is_installed() -> None:
    lines = run("--version").splitlines()
    assert lines[0] == f"swarmstate-core {version('swarmstate-core')}"
    name = "langgraph-checkpoint-swarmstate"
    assert f"{name} {version(name)}" in lines


def test_version_leaves_out_what_is_not_installed() -> None:
    code = """
import swarmstate.cli._commands as commands
commands.DISTRIBUTIONS += ("swarmstate-on-a-system-nobody-has",)
commands.app(["--version"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "nobody-has" not in done.stdout


@pytest.mark.parametrize("argument", ["--version", "--help"])
def test_the_module_is_the_command(argument: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "swarmstate", argument],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == run(argument)


def test_the_module_without_typer_says_what_to_install() -> None:
    code = """
import runpy, sys
sys.modules["typer"] = None
runpy.run_module("swarmstate", run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert "pip install 'swarmstate-core[cli]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_typer_it_says_what_to_install() -> None:
    blocked = "import sys; sys.modules['typer'] = None; from swarmstate.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", blocked], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "pip install 'swarmstate-core[cli]'" in done.stderr
    assert "Traceback" not in done.stderr

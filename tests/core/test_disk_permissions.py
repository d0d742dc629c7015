"""Files and folders that a process may not write, or not even read."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from swarmstate.disk import DiskStore

from tests.core.scripts import run

# Makes the script below run as a user who is subject to permissions, whoever runs the tests.
DROP = """
import asyncio, os, sys
from swarmstate import DiskStore, Query
from swarmstate.errors import StoreReadOnlyError, StoreUnavailableError

if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)

def fails(error, call):
    try:
        call()
    except error as raised:
        return str(raised)
    raise AssertionError(f"no {error.__name__}")
"""


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that other users can enter, unlike pytest's."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    with DiskStore(directory / "state.db") as store:
        store.set("n", "k", "v")
    yield directory
    directory.chmod(0o755)
    shutil.rmtree(directory)


READ_ONLY = """
with DiskStore(sys.argv[1]) as store:
    for _ in range(3):
        assert store.get("n", "k") == "v"
    assert asyncio.run(store.aget("n", "k")) == "v"
    assert store.namespaces() == ["n"]
    for call in (
        lambda: store.set("n", "k", 1),
        lambda: asyncio.run(store.aset("n", "k", 1)),
        lambda: store.copy("n", "m"),
        lambda: store.vacuum(),
        lambda: store.read([Query("n", ttl=5)]),
    ):
        assert "write permission" in fails(StoreReadOnlyError, call)
    assert store.items("n") == [("k", "v")]
"""


def test_a_read_only_file_can_be_read(public: Path) -> None:
    path = public / "state.db"
    public.chmod(0o777)
    path.chmod(0o444)
    content = path.read_bytes()
    run(DROP + READ_ONLY, path)
    assert path.read_bytes() == content
    assert os.listdir(public) == ["state.db"]


def test_a_read_only_file_can_have_any_name(public: Path) -> None:
    path = (public / "state.db").rename(public / "50%41?mode=rw#é.db")
    path.chmod(0o444)
    run(DROP + READ_ONLY, path)


def test_a_file_in_a_read_only_directory_can_be_read(public: Path) -> None:
    path = public / "state.db"
    path.chmod(0o666)
    public.chmod(0o555)
    content = path.read_bytes()
    run(DROP + READ_ONLY, path)
    assert path.read_bytes() == content


def test_a_reader_without_permission_sees_what_others_write(public: Path) -> None:
    path = public / "state.db"
    reader = """
with DiskStore(sys.argv[1]) as store:
    for line in sys.stdin:
        print(store.get("n", "k"), flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", DROP + reader, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def seen() -> str:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        assert seen() == "v"
        with DiskStore(path) as store:
            for number in range(5):
                store.set("n", "k", number)
                assert seen() == str(number)
        assert seen() == "4"
        with DiskStore(path) as store:
            store.set("n", "k", "last")
        assert seen() == "last"
        process.communicate()
    assert process.returncode == 0


@pytest.mark.parametrize("with_index", [True, False])
def test_a_log_left_by_a_killed_writer_in_a_read_only_directory(
    public: Path, with_index: bool
) -> None:
    path = public / "state.db"
    killed = """
import os, sys
from swarmstate import DiskStore

store = DiskStore(sys.argv[1])
store.set("n", "k", "newest")
os._exit(0)
"""
    run(killed, path)
    if not with_index:
        (public / "state.db-shm").unlink()
    public.chmod(0o555)
    if with_index:
        run(DROP + 'assert DiskStore(sys.argv[1]).get("n", "k") == "newest"', path)
    else:
        refused = "fails(StoreUnavailableError, lambda: DiskStore(sys.argv[1]))"
        run(f'{DROP}assert "not closed cleanly" in {refused}', path)
    public.chmod(0o755)
    DiskStore(path).close()
    public.chmod(0o555)
    run(DROP + 'assert DiskStore(sys.argv[1]).get("n", "k") == "newest"', path)


def test_places_without_permission(public: Path) -> None:
    (public / "secret.db").touch(mode=0o000)
    run(
        DROP
        + """
directory = sys.argv[1]
assert "permission" in fails(StoreUnavailableError, lambda: DiskStore(directory + "/secret.db"))
assert "permission" in fails(StoreUnavailableError, lambda: DiskStore(directory + "/new.db"))
""",
        public,
    )
    assert sorted(os.listdir(public)) == ["secret.db", "state.db"]

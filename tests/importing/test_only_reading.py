"""Importing only reads, so it works where nothing may be written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from langgraph.checkpoint.swarmstate.testing import graphs
from swarmstate import Store

from tests.importing import stock
from tests.importing.sources import sqlite_source


def test_only_reading(tmp_path: Path) -> None:
    source = sqlite_source(tmp_path)
    with source.saver() as saver:
        stock.old_format(saver)
    before = Path(source.url).read_bytes()
    Path(source.url).chmod(0o444)
    assert source.importer(f"sqlite:///{source.url}", Store()).failures == ()
    assert Path(source.url).read_bytes() == before


# Makes the script run as a user who is subject to permissions, whoever runs the tests.
DROP = """
import os, sys
from langgraph.checkpoint.swarmstate.importing import import_sqlite
from swarmstate import Store
from swarmstate.errors import StoreUnavailableError

if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)

def failure():
    try:
        import_sqlite(sys.argv[1], Store())
    except StoreUnavailableError as error:
        return str(error)
"""


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that other users can enter, unlike pytest's."""
    directory = Path(tempfile.mkdtemp())
    yield directory
    directory.chmod(0o755)
    shutil.rmtree(directory)


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are those of POSIX")
@pytest.mark.parametrize(
    ("state", "check"),
    [
        ("closed", "assert import_sqlite(sys.argv[1], Store()).added == 5"),
        ("killed", "assert '-wal file' in failure()"),
        ("secret", "assert 'cannot be read' in failure()"),
    ],
)
def test_a_folder_without_write_permission(public: Path, state: str, check: str) -> None:
    source = sqlite_source(public)
    with source.saver() as saver:
        graphs.counter(saver).invoke({"n": 0}, {"configurable": {"thread_id": "t"}})
        log = Path(f"{source.url}-wal").read_bytes()
    if state == "killed":
        Path(f"{source.url}-wal").write_bytes(log)
    Path(source.url).chmod(0o000 if state == "secret" else 0o444)
    public.chmod(0o555)
    before = sorted(os.listdir(public))
    done = subprocess.run(
        [sys.executable, "-c", DROP + check, source.url], capture_output=True, text=True
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert sorted(os.listdir(public)) == before

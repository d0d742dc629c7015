"""The saver on a file: read-only files, full disks, and what stays open."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from langgraph.checkpoint.swarmstate.testing import Driver
from langgraph.checkpoint.swarmstate.testing.checkpoints import (
    Branch,
    at,
    make_checkpoint,
    make_metadata,
)
from swarmstate.errors import StoreReadOnlyError, StoreUnavailableError

from tests.langgraph.helpers import crash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def _in_process(target: Callable[..., Any], *arguments: Any) -> Any:
    """Run `target` in its own process and return its result."""
    reader, writer = crash.context.Pipe(duplex=False)
    process = crash.context.Process(target=_report, args=(writer, target, *arguments))
    process.start()
    writer.close()
    with reader:
        found = reader.recv()
    process.join()
    assert process.exitcode == 0
    return found


def _report(connection: crash.Connection, target: Callable[..., Any], *arguments: Any) -> None:
    connection.send(target(*arguments))
    connection.close()


def _filled(path: Path) -> dict[str, Any]:
    saver = SwarmStateSaver(path)
    branch = Branch(Driver(saver, "sync"))
    for n in range(5):
        saver.put_writes(branch.put(n=n, log=["x" * 1000] * n), [("n", n)], "task")
    saver.close()
    return branch.values


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that every user may enter, unlike `tmp_path`."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def _read_as_nobody(path: Path) -> tuple[Any, int, str]:
    os.setuid(65534)
    saver = SwarmStateSaver(path)
    found = saver.get_tuple(at())
    assert found is not None
    count = len([*saver.list(at())])
    try:
        saver.put(at(), make_checkpoint(), make_metadata(), {})
    except StoreReadOnlyError as error:
        return found.checkpoint["channel_values"], count, str(error)
    finally:
        saver.close()
    return found.checkpoint["channel_values"], count, "was written"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_read_only_file_can_be_read(shared_folder: Path) -> None:
    path = shared_folder / "agents.db"
    values = _filled(path)
    before = path.read_bytes()
    path.chmod(0o444)
    found, count, refusal = _in_process(_read_as_nobody, path)
    assert found == values
    assert count == 5
    assert "agents.db" in refusal
    assert path.read_bytes() == before


def _fill_up(path: Path, limit: int) -> tuple[list[str], str, bool]:
    """Put until the file may not grow any more; return what was acknowledged, and the error."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    saver = SwarmStateSaver(path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    stored, error = [], ""
    try:
        for n in range(1000):
            values = {"n": n, "log": os.urandom(20_000)}
            config = saver.put(at(), make_checkpoint(values), make_metadata(n), {"n": 1, "log": 1})
            stored.append(config["configurable"]["checkpoint_id"])
    except StoreUnavailableError as raised:
        error = str(raised)
    readable = len([*saver.list(at())]) == len(stored)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    config = saver.put(at(), make_checkpoint({"n": -1}), make_metadata(), {"n": 1})
    stored.append(config["configurable"]["checkpoint_id"])
    saver.close()
    return stored, error, readable


def test_a_full_disk_is_a_clear_error_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "agents.db"
    _filled(path)
    SwarmStateSaver(path).delete_thread("t")
    stored, error, readable = _in_process(_fill_up, path, 2_000_000)
    assert "agents.db" in error
    assert readable
    assert len(stored) > 10
    saver = SwarmStateSaver(path)
    assert [item.checkpoint["id"] for item in saver.list(at())] == stored[::-1]
    saver.close()
    crash.survey(path, [], [])


def test_closing_leaves_no_file_open(tmp_path: Path) -> None:
    path = tmp_path / "agents.db"

    def opened() -> list[str]:
        folder = Path("/proc/self/fd")
        links = [folder / name for name in os.listdir(folder)]
        return [os.readlink(link) for link in links if link.is_symlink()]

    async def use(saver: SwarmStateSaver) -> None:
        await saver.aput(at(), make_checkpoint({"a": 1}), make_metadata(), {"a": 1})
        assert [item async for item in saver.alist(at())]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    for _ in range(3):
        saver = SwarmStateSaver(path)
        asyncio.run(use(saver))
        assert any(str(path) in name for name in opened())
        saver.close()
        assert not any(str(path) in name for name in opened())
    assert sorted(item.name for item in tmp_path.iterdir()) == ["agents.db"]

"""The disk store across processes: killed writers, many writers, forks."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from swarmstate.base import Query, Range
from swarmstate.disk import DiskStore

# Three threads write batches of two namespaces each, and report them once acknowledged.
WRITER = """
import os, sys
from threading import Thread
from swarmstate import Batch, DiskStore

path, durability, first = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = DiskStore(path, durability=durability)

def write(thread):
    for index in range(first, first + 100_000):
        key = f"{thread}-{index:08}"
        size = 300_000 if index % 50 == 0 else 1000
        value = b"%d" % index
        store.write([
            Batch("thread", put={f"a/{key}": value, f"b/{key}": value + bytes(size)}),
            Batch("index", put={f"{thread}": value}),
        ])
        os.write(1, f"{key}\\n".encode())

for thread in range(3):
    Thread(target=write, args=(thread,)).start()
"""

# Appends numbered entries to a log, each only if nobody else has appended meanwhile.
APPENDER = """
import sys
from swarmstate import Batch, DiskStore, Expect, Query, Range
from swarmstate.errors import ConflictError

with DiskStore(sys.argv[1]) as store:
    added = 0
    while added < 100:
        [result] = store.read([Query("log", ranges=[Range(reverse=True, limit=1)])])
        last = result.ranges[0][0][0] if result.ranges[0] else None
        key = f"{0 if last is None else int(last) + 1:06}"
        try:
            store.write([
                Batch("log", put={key: sys.argv[2].encode()}, expect=Expect("", last)),
                Batch(f"own-{sys.argv[2]}", put={key: b""}),
            ])
        except ConflictError:
            continue
        added += 1
"""

FORK = """
import os, sys
from swarmstate import Batch, DiskStore, Query
from swarmstate.errors import StoreUnavailableError

path = sys.argv[1]
store = DiskStore(path)
store.write([Batch("n", put={"before": b"v"})])
store.read([Query("n", keys=["before"])])
child = os.fork()
if child == 0:
    refused = 0
    for attempt in (
        lambda: store.read([Query("n", keys=["before"])]),
        lambda: store.write([Batch("n", put={"child": b"v"})]),
        lambda: DiskStore(path),
    ):
        try:
            attempt()
        except StoreUnavailableError as error:
            refused += "fork" in str(error)
    with DiskStore(path + ".other") as other:
        other.write([Batch("n", put={"child": b"v"})])
    store.close()
    sys.exit(refused)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
store.write([Batch("n", put={"after": b"v"})])
store.close()
child = os.fork()
if child == 0:
    with DiskStore(path) as again:
        again.write([Batch("n", put={"reopened": b"v"})])
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
with DiskStore(path) as store:
    print(*store.keys("n"))
"""


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_killed_writers_lose_nothing_that_was_acknowledged(tmp_path: Path, durability: str) -> None:
    path = tmp_path / "state.db"
    moments = random.Random(durability)
    acknowledged: set[str] = set()
    for attempt in range(25):
        first = attempt * 100_000
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, path, durability, str(first)], stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None
            for _ in range(moments.randrange(100)):
                acknowledged.add(writer.stdout.readline().decode().strip())
            writer.kill()
            # A truncated line was acknowledged too, but does not say what.
            lines = writer.stdout.read().decode().splitlines(keepends=True)
            acknowledged.update(line.strip() for line in lines if line.endswith("\n"))
        check_killed(path, acknowledged)
    assert len(acknowledged) > 500


def check_killed(path: Path, acknowledged: set[str]) -> None:
    if not path.exists():
        assert not acknowledged
        return
    with DiskStore(path) as store:
        results = store.read(
            [
                Query("thread", ranges=[Range.of_prefix("a/"), Range.of_prefix("b/")]),
                Query("index", ranges=[Range()]),
            ]
        )
    first, second = ({key[2:]: value for key, value in part} for part in results[0].ranges)
    assert acknowledged <= first.keys()
    assert first.keys() == second.keys()
    assert all(second[key].startswith(value) for key, value in first.items())
    newest = {key[0]: value for key, value in sorted(first.items())}
    assert dict(results[1].ranges[0]) == newest
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_four_processes_write_one_file_and_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    # They also create the file concurrently.
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", APPENDER, path, name], stderr=subprocess.PIPE, text=True
        )
        for name in "abcd"
    ]
    for writer in writers:
        _, errors = writer.communicate()
        assert (writer.returncode, errors) == (0, "")
    with DiskStore(path) as store:
        log = dict(store.read([Query("log", ranges=[Range()])])[0].ranges[0])
        assert list(log) == [f"{index:06}" for index in range(400)]
        for name in "abcd":
            assert store.keys(f"own-{name}") == [
                key for key, value in log.items() if value == name.encode()
            ]
    assert os.listdir(tmp_path) == ["state.db"]


def test_two_processes_see_each_other_at_once(tmp_path: Path) -> None:
    echo = """
import sys
from swarmstate import DiskStore

with DiskStore(sys.argv[1]) as store:
    for line in sys.stdin:
        assert store.get("ping", "n") == int(line)
        store.set("pong", "n", int(line))
        print(line, end="", flush=True)
"""
    path = tmp_path / "state.db"
    with (
        DiskStore(path) as store,
        subprocess.Popen(
            [sys.executable, "-c", echo, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as other,
    ):
        assert other.stdin is not None
        assert other.stdout is not None
        for number in range(50):
            store.set("ping", "n", number)
            other.stdin.write(f"{number}\n")
            other.stdin.flush()
            assert other.stdout.readline() == f"{number}\n"
            assert store.get("pong", "n") == number
        other.communicate()
        assert other.returncode == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_fork_is_refused_what_its_parent_has_open(tmp_path: Path) -> None:
    forked = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK, tmp_path / "state.db"],
        capture_output=True,
        text=True,
    )
    assert (forked.stderr, forked.returncode) == ("", 0)
    assert forked.stdout == "after before reopened\n"

"""The disk store's async methods: no blocking, no lost event loops, no threads left behind."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest
from swarmstate.base import Batch, Expect, Query
from swarmstate.disk import DiskStore
from swarmstate.errors import ConflictError, StoreClosedError, StoreUnavailableError

LOCKER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
connection.execute("COMMIT")
connection.close()
print("released", flush=True)
"""


class Locker:
    """Another process that holds the write lock until it is told to release it."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", LOCKER, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "locked\n"

    def release(self) -> None:
        self.process.communicate("\n")


@contextmanager
def locked(path: Path) -> Iterator[Locker]:
    locker = Locker(path)
    try:
        yield locker
    finally:
        if locker.process.poll() is None:
            locker.release()


def get(store: DiskStore, key: str) -> bytes | None:
    return store.read([Query("n", keys=[key])])[0].values[0]


def test_the_loop_runs_while_another_process_holds_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "state.db"

    async def main() -> None:
        async with DiskStore(path) as store:
            with locked(path) as locker:
                write = asyncio.create_task(store.awrite([Batch("n", put={"k": b"v"})]))
                copy = asyncio.create_task(store.acopy("n", "m"))
                for _ in range(1000):
                    await asyncio.sleep(0)
                # Readers do not wait for writers.
                assert (await store.aread([Query("n", keys=["k"])]))[0].values == [None]
                assert not write.done()
                locker.release()
                await write
                await copy
            assert await store.anamespaces() == ["m", "n"]

    asyncio.run(main())


def test_many_writes_at_once_share_commits_and_start_few_threads(tmp_path: Path) -> None:
    async def main() -> None:
        async with DiskStore(tmp_path / "state.db") as store:
            before = thread_count()
            await asyncio.gather(
                *(store.awrite([Batch("n", put={f"{index:03}": b"v"})]) for index in range(200))
            )
            reads = [store.aread([Query("n", keys=[f"{index:03}"])]) for index in range(200)]
            assert all(result[0].values == [b"v"] for result in await asyncio.gather(*reads))
            writes, commits = store.commits()
            assert writes == 200
            assert commits < 100
            # Four readers, one writer, and one that notifies the event loop.
            assert thread_count() <= before + 6

    asyncio.run(main())


def test_cancelling_leaves_the_store_usable(tmp_path: Path) -> None:
    path = tmp_path / "state.db"

    async def main() -> None:
        async with DiskStore(path) as store:
            with locked(path) as locker:
                write = asyncio.create_task(store.awrite([Batch("n", put={"k": b"v"})]))
                await asyncio.sleep(0)
                write.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await write
                locker.release()
            await store.awrite([Batch("n", put={"next": b"v"})])
            assert get(store, "next") == b"v"

    asyncio.run(main())


def test_a_loop_that_ended_meanwhile_disturbs_nobody(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = DiskStore(path)

    async def give_up() -> None:
        write = asyncio.create_task(store.awrite([Batch("n", put={"k": b"v"})]))
        await asyncio.sleep(0)
        assert not write.done()

    with locked(path) as locker:
        asyncio.run(give_up())
        locker.release()
    asyncio.run(store.awrite([Batch("n", put={"next": b"v"})]))
    assert get(store, "next") == b"v"
    store.close()


def test_several_loops_and_threads_use_one_store(tmp_path: Path) -> None:
    async def work(number: int) -> None:
        for index in range(20):
            await store.awrite([Batch("n", put={f"{number}-{index}": b"v"})])
            assert get(store, f"{number}-{index}") == b"v"

    with DiskStore(tmp_path / "state.db") as store:
        threads = [Thread(target=lambda n=n: asyncio.run(work(n))) for n in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(store) == 100


def test_sync_methods_work_inside_a_running_loop(tmp_path: Path) -> None:
    async def main() -> None:
        with DiskStore(tmp_path / "state.db") as store:
            pending = asyncio.create_task(store.awrite([Batch("n", put={"a": b"v"})]))
            await asyncio.sleep(0)
            store.write([Batch("n", put={"b": b"v"})])
            assert get(store, "b") == b"v"
            await pending
            assert get(store, "a") == b"v"

    asyncio.run(main())


def test_errors_reach_the_caller(tmp_path: Path) -> None:
    path = tmp_path / "state.db"

    async def main() -> None:
        async with DiskStore(path, timeout=0.05) as store:
            conflict = Batch("n", put={"k": b"v"}, expect=Expect("", "absent"))
            with pytest.raises(ConflictError):
                await store.awrite([conflict])
            with locked(path), pytest.raises(StoreUnavailableError, match="locked"):
                await store.awrite([Batch("n", put={"k": b"v"})])
            await store.awrite([Batch("n", put={"k": b"v"})])
        with pytest.raises(StoreClosedError):
            await store.awrite([])

    asyncio.run(main())


def test_closing_waits_for_what_was_started(tmp_path: Path) -> None:
    path = tmp_path / "state.db"

    async def main() -> None:
        store = DiskStore(path)
        writes = [
            asyncio.create_task(store.awrite([Batch("n", put={f"{index}": b"v"})]))
            for index in range(50)
        ]
        await asyncio.sleep(0)
        await store.aclose()
        await asyncio.gather(*writes)

    asyncio.run(main())
    with DiskStore(path) as store:
        assert len(store) == 50
    assert thread_count("swarmstate") == 0


@pytest.mark.parametrize("end", ["", "raise SystemExit(0)", "del store"])
def test_the_interpreter_ends_with_an_unclosed_store(tmp_path: Path, end: str) -> None:
    path = tmp_path / "state.db"
    script = f"""
import asyncio
from swarmstate.base import Batch, Query
from swarmstate.disk import DiskStore

store = DiskStore({str(path)!r})

async def main():
    await store.awrite([Batch("n", put={{"k": b"v"}})])
    await store.aread([Query("n", keys=["k"])])
    for index in range(100):
        asyncio.ensure_future(store.awrite([Batch("n", put={{f"{{index}}": b"v"}})]))
    await asyncio.sleep(0)

asyncio.run(main())
{end}
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    if not end.startswith("del"):
        assert os.listdir(tmp_path) == ["state.db"]
    with DiskStore(path) as store:
        assert get(store, "k") == b"v"


def test_the_interpreter_waits_for_a_callback_that_is_running(tmp_path: Path) -> None:
    script = f"""
import threading
from swarmstate.base import Batch
from swarmstate.disk import DiskStore

store = DiskStore({str(tmp_path / "state.db")!r})
called = threading.Event()

def done(result, error):
    called.set()
    while threading.main_thread().is_alive():
        pass
    # The interpreter ends; this goes on for longer than a thread keeps the GIL unasked.
    for _ in range(1_000_000):
        pass
    print("finished", flush=True)

store.submit_write([Batch("n", put={{"k": b"v"}})], done)
called.wait()
del store
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "finished\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_a_fork_does_not_wait_for_callbacks_of_its_parent(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    script = f"""
import os, sys, threading
from swarmstate.base import Batch
from swarmstate.disk import DiskStore

store = DiskStore({str(path)!r})
written = threading.Event()
store.submit_write([Batch("n", put={{"k": b"v"}})], lambda result, error: written.set())
child = os.fork()
if child == 0:
    sys.exit(0)
_, status = os.waitpid(child, 0)
print("ended", status, flush=True)
sys.stdin.readline()
written.wait()
"""
    DiskStore(path).close()
    with locked(path) as locker:
        parent = subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ended 0\n"
        locker.release()
    parent.communicate("\n")
    assert parent.returncode == 0


def thread_count(prefix: str = "") -> int:
    if sys.platform != "linux":
        pytest.skip("threads are listed through /proc")
    names = [task.joinpath("comm").read_text() for task in Path("/proc/self/task").iterdir()]
    return sum(name.startswith(prefix) for name in names)

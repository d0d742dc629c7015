"""Event loops, threads, forks and background expiry leave nothing behind."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import subprocess
import sys
import threading

import pytest
from swarmstate.base import Batch, Expect, Query
from swarmstate.errors import StoreUnavailableError
from swarmstate_postgres import PostgresStore

from tests.servers.postgres import PostgresServer
from tests.servers.waiting import wait_until

SESSIONS = (
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND application_name = 'swarmstate'"
)


def sessions(server: PostgresServer, url: str) -> int:
    [(count,)] = server.execute(SESSIONS, url=url)
    found: int = count
    return found


def sockets() -> int:
    return sum(
        os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
        for name in os.listdir("/proc/self/fd")
        if os.path.islink(f"/proc/self/fd/{name}")
    )


def test_closing_leaves_no_session_thread_task_or_socket(postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database()
    threads, opened = set(threading.enumerate()), sockets()

    async def use(store: PostgresStore) -> None:
        await asyncio.gather(*(store.aset("n", f"{number}", number) for number in range(50)))
        store.get("n", "1")

    async def main() -> None:
        async with PostgresStore(url, sweep_interval=0.01) as store:
            await use(store)
            store.set("brief", "a", 1, ttl=60)
            assert sessions(postgres_server, url) > 0
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
    store = PostgresStore(url)
    asyncio.run(use(store))
    store.close()
    gc.collect()
    wait_until(lambda: sessions(postgres_server, url) == 0, "the sessions end")
    assert set(threading.enumerate()) <= threads
    assert sockets() == opened


def test_a_connection_that_could_not_be_begun_counts_no_more(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError(errno.EMFILE, "too many open files")

    with PostgresStore(postgres_server.new_database(), max_size=1) as store:
        with monkeypatch.context() as patched:
            patched.setattr("swarmstate_postgres._lanes.HandLoop", fail)
            for _ in range(2):
                with pytest.raises(StoreUnavailableError, match="too many"):
                    store.set("n", "key", 1)
        store.set("n", "key", 2)
        assert store.get("n", "key") == 2


def test_a_loop_that_ends_takes_its_connections_with_it(postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database()
    with PostgresStore(url) as store:
        for number in range(5):
            asyncio.run(store.aset("n", f"{number}", number))
        wait_until(lambda: sessions(postgres_server, url) == 0, "the sessions end")
        assert len(store.keys("n")) == 5


def test_loops_whose_sockets_only_show_themselves(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Like those of uvloop, which web servers run."""

    def refuse(*_: object) -> None:
        raise TypeError("transport sockets do not support shutdown() method")

    url = postgres_server.new_database()
    monkeypatch.setattr("asyncio.trsock.TransportSocket.shutdown", refuse)
    store = PostgresStore(url)
    still = asyncio.new_event_loop()
    still.run_until_complete(store.aset("n", "a", 1))
    assert sessions(postgres_server, url) == 1
    store.close()
    wait_until(lambda: sessions(postgres_server, url) == 0, "the sessions end")
    still.run_until_complete(still.shutdown_asyncgens())
    # When it runs again, it closes them in its own task.
    while tasks := asyncio.all_tasks(still):
        still.run_until_complete(asyncio.wait(tasks))
    still.close()


def test_tasks_share_round_trips_and_few_connections(postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database()

    async def main() -> None:
        async with PostgresStore(url, max_size=4) as store:
            await asyncio.gather(*(store.aset(f"n{number}", "a", 1) for number in range(500)))
            found = await asyncio.gather(*(store.aget(f"n{number}", "a") for number in range(500)))
            assert found == [1] * 500
            assert sessions(postgres_server, url) <= 4

    asyncio.run(main())
    [(transactions,)] = postgres_server.execute(
        "SELECT count(DISTINCT xmin::text) FROM swarmstate_record", url=url
    )
    assert transactions < 50


def test_a_conflict_among_shared_writes_is_its_own(postgres_server: PostgresServer) -> None:
    async def main() -> None:
        async with PostgresStore(postgres_server.new_database()) as store:
            writes = [
                store.awrite(
                    [
                        Batch(f"n{number % 10}", put={f"{number:02}": b"v"}),
                        Batch("log", put={"first": b"%d" % number}, expect=Expect("", None)),
                        Batch(f"n{number % 10}", put={f"{number:02}": b"last"}),
                    ]
                )
                for number in range(40)
            ]
            outcomes = await asyncio.gather(*writes, return_exceptions=True)
            [winner] = [number for number, outcome in enumerate(outcomes) if outcome is None]
            for number in range(40):
                [result] = await store.aread([Query(f"n{number % 10}", keys=[f"{number:02}"])])
                assert result.values == [b"last" if number == winner else b"v"]
            [result] = await store.aread([Query("log", keys=["first"])])
            assert result.values == [b"%d" % winner]

    asyncio.run(main())


FORKED = """
import os, sys
from swarmstate_postgres import PostgresStore
store = PostgresStore(sys.argv[1], sweep_interval=0.01)
store.set("n", "parent", 1, ttl=600)
pid = os.fork()
if pid == 0:
    store.set("n", "child", store.get("n", "parent") + 1)
    store.close()
    os._exit(0)
_, status = os.waitpid(pid, 0)
assert status == 0
store.set("n", "later", 3)
assert store.keys("n") == ["child", "later", "parent"]
store.close()
"""


def test_a_fork_has_connections_of_its_own(postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORKED, url], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_interpreter_ends_with_an_unclosed_store(postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database()
    script = (
        "import sys; from swarmstate_postgres import PostgresStore;"
        "store = PostgresStore(sys.argv[1]); store.set('n', 'a', 1, ttl=60)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, url], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")

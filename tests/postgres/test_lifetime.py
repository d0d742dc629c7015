"""Loops, threads, forks, expiry in the background: and nothing is left behind."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from random import Random

import asyncpg
import pytest
from swarmstate.base import Batch, Expect, Query
from swarmstate.errors import InvalidNameError, StoreError, StoreUnavailableError
from swarmstate_postgres import PostgresStore

from tests.servers.postgres import PostgresServer

SESSIONS = (
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND application_name = 'swarmstate'"
)


def sessions(server: PostgresServer, url: str) -> int:
    [(count,)] = server.execute(SESSIONS, url=url)
    found: int = count
    return found


def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():
        threading.Event().wait(0.01)


def sockets() -> int:
    return sum(
        os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
        for name in os.listdir("/proc/self/fd")
        if os.path.islink(f"/proc/self/fd/{name}")
    )


def test_closing_leaves_no_session_thread_task_or_socket(postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database()
    threads, opened = threading.active_count(), sockets()

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
    wait_until(lambda: sessions(postgres_server, url) == 0)
    assert threading.active_count() == threads
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
                with pytest.raises(OSError, match="too many"):
                    store.set("n", "key", 1)
        store.set("n", "key", 2)
        assert store.get("n", "key") == 2


def test_a_loop_that_ends_takes_its_connections_with_it(postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database()
    with PostgresStore(url) as store:
        for number in range(5):
            asyncio.run(store.aset("n", f"{number}", number))
        wait_until(lambda: sessions(postgres_server, url) == 0)
        assert len(store.keys("n")) == 5


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


def test_what_expired_is_removed_in_the_background(postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database()
    left = "SELECT count(*) FROM swarmstate_record"
    with PostgresStore(url, sweep_interval=0.02) as store:
        store.set("lasting", "a", 1)
        store.set_many("brief", {"a": 1, "b": 2}, ttl=0.01)
        wait_until(lambda: postgres_server.execute(left, url=url) == [(1,)])


def test_what_expired_is_removed_by_the_server_itself(postgres_server: PostgresServer) -> None:
    """As pg_cron would: by the function alone, and in steps of some namespaces."""
    url = postgres_server.new_database()
    with PostgresStore(url, sweep_interval=None) as store:
        for number in range(5):
            store.set(f"brief{number}", "a", 1, ttl=0.001)
        store.set("lasting", "a", 1, ttl=600)
        wait_until(lambda: store.namespaces() == ["lasting"])
        sweep = "SELECT swarmstate_sweep(3)"
        assert [postgres_server.execute(sweep, url=url)[0][0] for _ in range(3)] == [3, 2, 0]
        assert postgres_server.execute("SELECT count(*) FROM swarmstate_record", url=url) == [(1,)]
        assert store.sweep() == 0
        # Rows of ended namespaces are there for a while, and then they are not.
        ended = "SELECT count(*) FROM swarmstate_namespace WHERE emptied_at IS NOT NULL"
        assert postgres_server.execute(ended, url=url) == [(5,)]
        postgres_server.execute(
            "UPDATE swarmstate_namespace SET emptied_at = now() - interval '11 minutes' "
            "WHERE emptied_at IS NOT NULL",
            url=url,
        )
        store.sweep()
        assert postgres_server.execute(ended, url=url) == [(0,)]
        assert store.get("lasting", "a") == 1


def test_a_pool_that_was_handed_in(postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database()

    async def main() -> None:
        async with asyncpg.create_pool(url, min_size=1, max_size=3) as pool:
            store = PostgresStore(pool=pool)
            await store.aset("n", "a", 1)
            await asyncio.gather(*(store.aset("n", f"{number}", number) for number in range(20)))
            # From other threads and loops the calls come here.
            assert await asyncio.to_thread(store.get, "n", "a") == 1
            assert await asyncio.to_thread(asyncio.run, store.aget("n", "7")) == 7
            with pytest.raises(StoreError, match="would wait for itself"):
                store.get("n", "a")
            await store.aclose()
            assert await pool.fetchval("SELECT 1") == 1
            unused = PostgresStore(pool=pool, prefix="other", timeout=0.2)
        with pytest.raises(StoreUnavailableError, match="pool is closed"):
            await unused.aget("n", "a")
        await unused.aclose()

    asyncio.run(main())
    with pytest.raises(ValueError, match="loop to run"):
        PostgresStore(pool=object())  # type: ignore[arg-type]


def test_a_key_that_is_too_long_for_the_index_is_refused(postgres_server: PostgresServer) -> None:
    random = Random(1)
    long = "".join(chr(random.randrange(0x4E00, 0x9FFF)) for _ in range(1_200))
    with PostgresStore(postgres_server.new_database()) as store:
        store.set("n", "a", 1)
        with pytest.raises(InvalidNameError, match=r"2,\d00 bytes"):
            store.set_many("n", {"b": 1, long: 1})
        assert store.keys("n") == ["a"]

"""Loops, threads, forks, expiry in the background: and nothing is left behind."""

from __future__ import annotations

import asyncio
import errno
import gc
import math
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from random import Random
from typing import Any

import asyncpg
import psycopg
import pytest
from swarmstate.base import Batch, Expect, Query
from swarmstate.errors import (
    InvalidNameError,
    StoreClosedError,
    StoreError,
    StoreReadOnlyError,
    StoreUnavailableError,
)
from swarmstate_postgres import PostgresStore
from swarmstate_postgres._sweeper import Sweeper

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


def sweepers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "sweeper" in thread.name]


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


def test_sweeping_goes_on_after_a_moment_without_files(
    postgres_server: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail() -> None:
        raise OSError(errno.EMFILE, "too many open files")

    url = postgres_server.new_database()
    left = "SELECT count(*) FROM swarmstate_record"
    with PostgresStore(url, sweep_interval=0.001) as store:
        asyncio.run(store.aset("lasting", "a", 1))
        with monkeypatch.context() as patched:
            patched.setattr("swarmstate_postgres._lanes.HandLoop", fail)
            asyncio.run(store.aset("brief", "a", 1, ttl=0.001))
            wait_until(lambda: "too many open files" in caplog.text, "a sweep fails")
        wait_until(lambda: postgres_server.execute(left, url=url) == [(1,)], "it is swept")


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
    """As those of uvloop do, which web servers run."""

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
    # When it runs again it closes them by a task of its own.
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


def test_what_expired_is_removed_in_the_background(postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database()
    left = "SELECT count(*) FROM swarmstate_record"
    with PostgresStore(url, sweep_interval=0.02) as store:
        store.set("lasting", "a", 1)
        store.set_many("brief", {"a": 1, "b": 2}, ttl=0.01)
        wait_until(lambda: postgres_server.execute(left, url=url) == [(1,)], "it is swept")


def test_only_a_sweep_that_should_have_worked_is_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """None of a standby, which its primary sweeps, and none that the store was closed under."""
    errors: list[Exception] = [StoreReadOnlyError("first"), StoreUnavailableError("second")]

    def sweep() -> None:
        if errors:
            raise errors.pop(0)
        sweeper.stop(wait=False)
        raise StoreClosedError

    sweeper = Sweeper(sweep, 0.001)
    sweeper.start()
    wait_until(lambda: sweepers() == [], "the sweeper ends")
    assert [record.getMessage() for record in caplog.records] == [
        "sweeping expired namespaces failed: second"
    ]


def test_there_may_be_no_end_to_the_time_between_two_sweeps() -> None:
    sweeper = Sweeper(lambda: None, math.inf)
    sweeper.start()
    [thread] = sweepers()
    sweeper.stop()  # Had the thread failed, that would be an error here.
    assert not thread.is_alive()


def test_what_expired_is_removed_by_the_server_itself(postgres_server: PostgresServer) -> None:
    """As pg_cron would: by the function alone, and in steps of some namespaces."""
    url = postgres_server.new_database()
    with PostgresStore(url, sweep_interval=None) as store:
        for number in range(5):
            store.set(f"brief{number}", "a", 1, ttl=0.001)
        assert sweepers() == []
        store.set("lasting", "a", 1, ttl=600)
        wait_until(lambda: store.namespaces() == ["lasting"], "the others expire")
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

    async def main() -> asyncpg.Pool:
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
        return pool

    pool = asyncio.run(main())
    with pytest.raises(ValueError, match="loop to run"):
        PostgresStore(pool=pool)


def test_a_pool_whose_connections_are_all_in_use(postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database()

    async def main() -> None:
        async with asyncpg.create_pool(url, min_size=1, max_size=1) as pool:
            store = PostgresStore(pool=pool, timeout=2.0)
            await store.aset("n", "a", 1)
            async with pool.acquire():
                for call in (store.aget("n", "a"), store.aset("n", "a", 2)):
                    with pytest.raises(StoreUnavailableError, match=r"all 1 .* in use"):
                        await call
            assert await store.aget("n", "a") == 1
            await store.aclose()

    asyncio.run(main())


def test_what_is_no_pool_of_the_driver_is_refused() -> None:
    for given in (psycopg, object()):
        with pytest.raises(TypeError, match=r"asyncpg\.create_pool\(\) made, found builtins"):
            PostgresStore(pool=given)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="expected url to be a str, found builtins"):
            PostgresStore(given)  # type: ignore[arg-type]


_WAITING = (
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


def test_closing_in_the_pools_loop_does_not_wait_for_a_sweep(
    postgres_server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Which needs that loop to go on."""
    url = postgres_server.new_database()

    async def main() -> None:
        async with asyncpg.create_pool(url, min_size=1, max_size=3) as pool:
            store = PostgresStore(pool=pool, sweep_interval=0.001)
            await store.aset("n", "a", 1)
            with psycopg.connect(url) as locker:
                locker.execute("LOCK TABLE swarmstate_namespace IN ACCESS EXCLUSIVE MODE")
                ask = asyncio.create_task(store.aset("n", "b", 1, ttl=1000))
                while await pool.fetchval(_WAITING) < 2:
                    await asyncio.sleep(0)
                store.close()
                locker.rollback()
            await ask
        for sweeper in sweepers():
            await asyncio.to_thread(sweeper.join)

    asyncio.run(main())
    assert caplog.text == ""


# A sweep may be asked of the loop just when that has ended its generators, of which asyncio warns.
@pytest.mark.filterwarnings("ignore:asynchronous generator .* was scheduled after:ResourceWarning")
@pytest.mark.parametrize("moment", ["sweeping", "waiting"])
def test_a_sweeper_outlives_the_loop_of_its_pool(
    postgres_server: PostgresServer, caplog: pytest.LogCaptureFixture, moment: str
) -> None:
    url = postgres_server.new_database()
    locker = psycopg.connect(url)

    async def main() -> PostgresStore:
        pool = await asyncpg.create_pool(url, min_size=1, max_size=3)
        store = PostgresStore(pool=pool, sweep_interval=0.001)
        await store.aset("n", "a", 1)
        if moment == "sweeping":
            locker.execute("LOCK TABLE swarmstate_namespace IN ACCESS EXCLUSIVE MODE")
            writing = asyncio.create_task(store.aset("n", "b", 1, ttl=1000))
            while await pool.fetchval(_WAITING) < 2:
                await asyncio.sleep(0)
            writing.cancel()
            pool.terminate()
        else:
            await store.aset("n", "b", 1, ttl=1000)
            await pool.close()
        return store

    store = asyncio.run(main())
    locker.close()
    # It says so and goes on, until the store is closed.
    wait_until(lambda: "does not run" in caplog.text, "a sweep fails")
    with pytest.raises(StoreUnavailableError, match="does not run"):
        store.get("n", "a")
    store.close()
    assert sweepers() == []


from_elsewhere = pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda store: store.set("n", "b", 1), id="thread"),
        pytest.param(lambda store: asyncio.run(store.aset("n", "b", 1)), id="loop"),
    ],
)


@from_elsewhere
def test_a_call_is_not_left_waiting_by_the_end_of_the_pools_loop(
    postgres_server: PostgresServer, write: Callable[[PostgresStore], None]
) -> None:
    """Nor taken for one that its own caller has cancelled."""
    url = postgres_server.new_database()
    with psycopg.connect(url) as locker, ThreadPoolExecutor(1) as elsewhere:

        async def main() -> Future[None]:
            pool = await asyncpg.create_pool(url, min_size=1, max_size=3)
            store = PostgresStore(pool=pool)
            await store.aset("n", "a", 1)
            locker.execute("LOCK TABLE swarmstate_namespace IN ACCESS EXCLUSIVE MODE")
            writing = elsewhere.submit(write, store)
            while await pool.fetchval(_WAITING) < 1:
                await asyncio.sleep(0)
            pool.terminate()
            return writing

        with pytest.raises(StoreUnavailableError, match="does not run"):
            asyncio.run(main()).result()


@from_elsewhere
def test_a_call_that_the_pools_loop_never_begins_is_not_left_waiting(
    postgres_server: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
    write: Callable[[PostgresStore], None],
) -> None:
    url = postgres_server.new_database()
    is_handed_over = threading.Event()
    hand_over = asyncio.run_coroutine_threadsafe

    def note(asking: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop) -> Future[Any]:
        handed = hand_over(asking, loop)
        is_handed_over.set()
        return handed

    async def main() -> tuple[asyncpg.Pool, Future[None]]:
        pool = await asyncpg.create_pool(url, min_size=1, max_size=3)
        writing = elsewhere.submit(write, PostgresStore(pool=pool))
        # The loop stops in the turn in which it hears of this.
        is_handed_over.wait()
        return pool, writing

    monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", note)
    loop = asyncio.new_event_loop()
    with ThreadPoolExecutor(1) as elsewhere:
        pool, writing = loop.run_until_complete(main())
        with pytest.raises(StoreUnavailableError, match="does not run"):
            writing.result()
    loop.run_until_complete(pool.close())
    loop.close()


def test_a_call_from_another_loop_may_be_cancelled(postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database()

    async def cancel(store: PostgresStore, is_waiting: threading.Event) -> None:
        writing = asyncio.ensure_future(store.aset("n", "b", 1))
        await asyncio.to_thread(is_waiting.wait)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing

    async def main() -> None:
        async with asyncpg.create_pool(url, min_size=1, max_size=2) as pool:
            store = PostgresStore(pool=pool)
            await store.aset("n", "a", 1)
            is_waiting = threading.Event()
            with psycopg.connect(url) as locker:
                locker.execute("LOCK TABLE swarmstate_namespace IN ACCESS EXCLUSIVE MODE")
                elsewhere = asyncio.to_thread(asyncio.run, cancel(store, is_waiting))
                cancelling = asyncio.ensure_future(elsewhere)
                while await pool.fetchval(_WAITING) < 1:
                    await asyncio.sleep(0)
                is_waiting.set()
                # That is over before the lock is, and whatever becomes of what was sent.
                await cancelling
            assert await store.aget("n", "a") == 1
            await store.aclose()

    asyncio.run(main())


def test_more_than_the_server_takes_at_once_is_told_and_not_sent(
    postgres_server: PostgresServer,
) -> None:
    # Memory that nobody touches.
    half = bytes(510_000_000)
    with PostgresStore(postgres_server.new_database()) as store:
        store.set("n", "a", 1)
        too_much = [Batch("n", put={"b": half, "c": half})]
        with pytest.raises(StoreError, match=r"namespace 'n'.*Nothing was sent"):
            store.write(too_much)

        async def among_others() -> list[BaseException | None]:
            writes = [store.awrite([Batch(name, put={"a": b""})]) for name in "xy"]
            return await asyncio.gather(*writes, store.awrite(too_much), return_exceptions=True)

        *others, refused = asyncio.run(among_others())
        assert others == [None, None]
        assert isinstance(refused, StoreError)
        assert store.namespaces() == ["n", "x", "y"]
        assert store.keys("n") == ["a"]


def backend(store: PostgresStore) -> Any:
    """Return the number of the process that serves the next sync call."""
    return store._run(lambda client: client.fetch("SELECT pg_backend_pid()"))


def test_a_key_that_is_too_long_for_the_index_is_refused(postgres_server: PostgresServer) -> None:
    random = Random(1)
    long = "".join(chr(random.randrange(0x4E00, 0x9FFF)) for _ in range(1_200))
    with PostgresStore(postgres_server.new_database()) as store:
        store.set("n", "a", 1)
        session = backend(store)
        with pytest.raises(InvalidNameError, match=r"2,\d00 bytes"):
            store.set_many("n", {"b": 1, long: 1})
        assert store.keys("n") == ["a"]
        # Over the same connection: it is none the worse for what the server refuses.
        assert backend(store) == session

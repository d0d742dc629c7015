"""A pool passed by the caller: its connections, its event loop, and calls from elsewhere."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import asyncpg
import psycopg
import pytest
from swarmstate.errors import StoreError, StoreUnavailableError
from swarmstate_postgres import PostgresStore

from tests.postgres.threads import sweepers
from tests.servers.postgres import PostgresServer
from tests.servers.waiting import wait_until


def test_a_pool_that_was_handed_in(postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database()

    async def main() -> asyncpg.Pool:
        async with asyncpg.create_pool(url, min_size=1, max_size=3) as pool:
            store = PostgresStore(pool=pool)
            await store.aset("n", "a", 1)
            await asyncio.gather(*(store.aset("n", f"{number}", number) for number in range(20)))
            # Calls from other threads and loops run on this loop.
            assert await asyncio.to_thread(store.get, "n", "a") == 1
            assert await asyncio.to_thread(asyncio.run, store.aget("n", "7")) == 7
            with pytest.raises(StoreError, match="would deadlock"):
                store.get("n", "a")
            await store.aclose()
            assert await pool.fetchval("SELECT 1") == 1
            unused = PostgresStore(pool=pool, prefix="other", timeout=2.0)
            lent = await pool.acquire()
            closing = asyncio.create_task(pool.close())
            await asyncio.sleep(0)
            # It never lends a connection again, so nothing is gained by waiting.
            with pytest.raises(StoreUnavailableError, match=r"^the store's pool is closed"):
                await unused.aget("n", "a")
            await pool.release(lent)
            await closing
        for call in (unused.aset("n", "a", 1), asyncio.to_thread(unused.get, "n", "a")):
            with pytest.raises(StoreUnavailableError, match=r"^the store's pool is closed"):
                await call
        await unused.aclose()
        return pool

    pool = asyncio.run(main())
    with pytest.raises(ValueError, match="inside its pool's event loop"):
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
        with pytest.raises(TypeError, match=r"asyncpg\.create_pool\(\), found builtins"):
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
    """The sweep needs that loop to continue."""
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


# A sweep may be requested just after the loop has shut down its generators; asyncio warns then.
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
    # The sweeper reports this and continues until the store is closed.
    wait_until(lambda: "is not running" in caplog.text, "a sweep fails")
    with pytest.raises(StoreUnavailableError, match="is not running"):
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
    """Nor is it mistaken for a call that its own caller has cancelled."""
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

        with pytest.raises(StoreUnavailableError, match="is not running"):
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
        # The loop stops in the same turn in which the request is handed over to it.
        is_handed_over.wait()
        return pool, writing

    monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", note)
    loop = asyncio.new_event_loop()
    with ThreadPoolExecutor(1) as elsewhere:
        pool, writing = loop.run_until_complete(main())
        with pytest.raises(StoreUnavailableError, match="is not running"):
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
                # The cancelled call ends before the lock is released, whether or not the server
                # applies it.
                await cancelling
            assert await store.aget("n", "a") == 1
            await store.aclose()

    asyncio.run(main())

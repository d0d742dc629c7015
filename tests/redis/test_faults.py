"""Real servers that restart, hang, fill up and drop connections: nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import redis
from swarmstate.base import Batch, Expect, Query
from swarmstate.errors import StoreUnavailableError
from swarmstate_redis import RedisStore

from tests.redis.messages import messages_of
from tests.redis.test_contract import prefix_of
from tests.redis.writers import Writers
from tests.servers.redis import PASSWORD, RedisServer
from tests.servers.waiting import wait_until


@pytest.mark.parametrize("crash", [False, True])
def test_a_restart_in_mid_run(own: RedisServer, crash: bool) -> None:
    def restart() -> None:
        if crash:
            own.kill()
            own.start()
        else:
            own.restart()

    with RedisStore(own.url(), retry_for=60) as store:
        Writers(store, threads=4, tasks=20).run_while(restart)


def test_connections_that_are_killed_again_and_again(own: RedisServer) -> None:
    def kill() -> None:
        with own.client() as client:
            for _ in range(30):
                client.execute_command("CLIENT", "KILL", "TYPE", "normal")

    with RedisStore(own.url(), retry_for=60) as store:
        Writers(store, threads=4, tasks=20).run_while(kill)


def test_a_server_that_stands_still_for_a_while(own: RedisServer) -> None:
    def pause() -> None:
        with own.paused():
            time.sleep(1.5)

    with RedisStore(own.url()) as store:
        Writers(store, threads=4, tasks=20).run_while(pause)


def test_two_hundred_threads(redis_server: RedisServer, tmp_path: Path) -> None:
    start = threading.Barrier(200)

    def work(number: int) -> None:
        start.wait()
        for index in range(5):
            store.write([Batch("shared", put={f"{number:03}/{index}": b"v"})])
            assert store.read([Query("shared", keys=[f"{number:03}/{index}"])])[0].values == [b"v"]

    with RedisStore(redis_server.url(), prefix=prefix_of(tmp_path), max_connections=20) as store:
        with ThreadPoolExecutor(200) as pool:
            for future in [pool.submit(work, number) for number in range(200)]:
                future.result()
        assert len(store) == 1_000


def test_a_lasting_outage_is_one_clear_error_without_the_password(own: RedisServer) -> None:
    with RedisStore(own.url(), retry_for=0.3) as store:
        store.set("n", "k", 1)
        own.stop()
        told = {
            messages_of(lambda: store.get("n", "k"), StoreUnavailableError),
            messages_of(lambda: asyncio.run(store.aget("n", "k")), StoreUnavailableError),
            messages_of(lambda: store.set("n", "k", 2), StoreUnavailableError),
            messages_of(lambda: store.namespaces(), StoreUnavailableError),
        }
        assert all(f"127.0.0.1:{own.port}" in each for each in told)
        assert not any(PASSWORD in each or "p%40ss" in each for each in [*told, repr(store)])
        own.start()
        assert store.get("n", "k") == 1
        assert asyncio.run(store.aget("n", "k")) == 1


def test_a_wrong_password_says_so(redis_server: RedisServer) -> None:
    url = f"redis://:wrong-secret@127.0.0.1:{redis_server.port}/0"
    with RedisStore(url) as store:
        for call in (lambda: store.get("n", "k"), lambda: asyncio.run(store.aget("n", "k"))):
            told = messages_of(call, StoreUnavailableError)
            assert "refuses the connection" in told
            assert "wrong-secret" not in told


def test_a_full_memory_takes_no_writes_and_loses_nothing(own: RedisServer) -> None:
    with RedisStore(own.url()) as store:
        store.set_many("n", {"a": 1, "b": 2})
        own.execute("CONFIG", "SET", "maxmemory", "1")
        for call in (
            lambda: store.set("n", "c", 3),
            lambda: asyncio.run(store.aset("n", "c", 3)),
            lambda: store.write([Batch("n", clear=False, put={"c": b""}, expect=Expect("", "b"))]),
            lambda: store.copy("n", "m"),
        ):
            assert "memory is full" in messages_of(call, StoreUnavailableError)
        assert store.items("n") == [("a", 1), ("b", 2)]
        assert store.delete("n", "a")
        own.execute("CONFIG", "SET", "maxmemory", "0")
        store.set("n", "c", 3)
        assert store.items("n") == [("b", 2), ("c", 3)]


def test_a_disk_that_cannot_be_written_is_told(own: RedisServer, tmp_path: Path) -> None:
    with RedisStore(own.url()) as store:
        store.set("n", "a", 1)
        # To Redis, a failed snapshot means a disk that it cannot write to.
        own.execute("CONFIG", "SET", "appendonly", "no")
        own.execute("CONFIG", "SET", "save", "1 1")
        (own.folder / "dump.rdb").mkdir()
        wait_until(lambda: b"err" in _last_save(own), "a snapshot fails", lambda: _save(own))
        told = messages_of(lambda: store.set("n", "b", 2), StoreUnavailableError)
        assert "disk" in told
        assert store.items("n") == [("a", 1)]
        own.execute("CONFIG", "SET", "save", "")


def _save(server: RedisServer) -> None:
    # Refused while the last one is in progress.
    with server.client() as client, suppress(redis.ResponseError):
        client.execute_command("BGSAVE")


def _last_save(server: RedisServer) -> bytes:
    with server.client() as client:
        return str(client.info("persistence")["rdb_last_bgsave_status"]).encode()


def test_cancelled_calls_leave_connections_usable(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async def main() -> None:
        async with RedisStore(redis_server.url(), prefix=prefix_of(tmp_path)) as store:
            await store.aset("n", "k", "value" * 1_000)
            for turns in range(60):
                tasks = [asyncio.create_task(store.aget("n", "k")) for _ in range(3)]
                for _ in range(turns % 20):
                    await asyncio.sleep(0)
                tasks[0].cancel()
                found = await asyncio.gather(*tasks, return_exceptions=True)
                assert found[1:] == ["value" * 1_000] * 2
            assert await store.aget("n", "none", "default") == "default"

    asyncio.run(main())


def test_nothing_is_left_behind_at_close(own: RedisServer) -> None:
    def connected() -> int:
        with own.client() as client:
            return int(client.info("clients")["connected_clients"]) - 1

    store = RedisStore(own.url())
    threads = threading.active_count()

    async def main() -> None:
        await asyncio.gather(*(store.aset(f"n{number}", "k", 1) for number in range(50)))
        assert connected() > 0
        await store.aclose()
        assert len(asyncio.all_tasks()) == 1

    store.set("n", "k", 1)
    asyncio.run(main())
    wait_until(lambda: connected() == 0, "the connections are gone")
    assert threading.active_count() == threads


def test_a_script_that_the_server_has_forgotten_is_sent_again(own: RedisServer) -> None:
    with RedisStore(own.url()) as store:
        store.set("n", "k", 1)
        own.execute("SCRIPT", "FLUSH")
        store.set("n", "k", 2)
        own.execute("SCRIPT", "FLUSH")
        assert asyncio.run(store.aget("n", "k")) == 2

"""Real servers that restart, hang, fill up and lose connections: nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis
from langchain_core.runnables import RunnableConfig
from langgraph.cache.swarmstate import SwarmStateCache
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from langgraph.checkpoint.swarmstate.testing import graphs
from langgraph.store.swarmstate import SwarmStateStore
from swarmstate.base import Batch, Expect, Query, Range
from swarmstate.cached import cached
from swarmstate.errors import (
    ConflictError,
    StoreFormatError,
    StoreIncompleteError,
    StoreReadOnlyError,
    StoreUnavailableError,
)
from swarmstate_redis import RedisStore, commands

from tests.redis.test_contract import prefix_of
from tests.redis.writers import Writers
from tests.servers.ports import free_port
from tests.servers.proxy import proxy_to
from tests.servers.redis import DURABLE, PASSWORD, RedisServer, running_redis
from tests.servers.waiting import wait_until


@pytest.fixture(params=["redis", "valkey"])
def own(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A server for this test alone, which keeps what it acknowledged."""
    with running_redis(DURABLE, valkey=request.param == "valkey") as server:
        yield server


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


def messages_of(call: Callable[[], object], error: type[Exception]) -> str:
    with pytest.raises(error) as raised:
        call()
    return str(raised.value)


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


def test_an_answer_that_comes_too_late_is_an_error_and_no_second_write(own: RedisServer) -> None:
    with RedisStore(own.url(), timeout=0.3) as store:
        store.set("n", "k", 1)

        async def late() -> None:
            await store.aget("n", "k")
            with own.paused():
                await store.aset("n", "k", 2)

        assert "did not answer" in messages_of(lambda: asyncio.run(late()), StoreUnavailableError)
        with own.paused():
            late_write = messages_of(lambda: store.set("n", "k", 3), StoreUnavailableError)
        assert "did not answer" in late_write
        store.set("n", "k", 4)
        assert store.get("n", "k") == 4


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_value_that_is_not_taken_in_time_is_an_error_and_not_sent_again(
    own: RedisServer, mode: str
) -> None:
    """More than fits into the buffers on its way."""
    large = b"x" * 50_000_000

    async def write() -> None:
        async with RedisStore(own.url(), timeout=0.3, retry_for=60) as store:
            await store.aget("n", "k")
            with own.paused():
                await store.aset("n", "k", large)

    with RedisStore(own.url(), timeout=0.3, retry_for=60) as store:
        store.get("n", "k")
        if mode == "async":
            late = messages_of(lambda: asyncio.run(write()), StoreUnavailableError)
        else:
            with own.paused():
                late = messages_of(lambda: store.set("n", "k", large), StoreUnavailableError)
        assert "did not answer" in late
        assert store.get("n", "k") is None


def test_an_answer_that_comes_too_late_is_not_taken_for_another_one(own: RedisServer) -> None:
    async def main() -> None:
        async with RedisStore(own.url(), timeout=0.3) as store:
            await store.aset_many("n", {"a": 1, "b": 2})
            for _ in range(3):
                with own.paused(), pytest.raises(StoreUnavailableError):
                    await store.aget("n", "a")
                assert await store.aget("n", "b") == 2

    asyncio.run(main())


def test_a_server_that_accepts_and_does_not_greet_is_unreachable(own: RedisServer) -> None:
    async def main() -> str:
        async with RedisStore(own.url(), timeout=0.3, retry_for=0) as store:
            with own.paused(), pytest.raises(StoreUnavailableError) as raised:
                await asyncio.wait_for(store.aset("n", "k", 1), 30)
            await store.aset("n", "k", 2)
            assert store.get("n", "k") == 2
        return str(raised.value)

    assert "cannot be reached" in asyncio.run(main())


def test_a_server_that_does_not_greet_is_tried_again(own: RedisServer) -> None:
    async def main() -> None:
        impatient = RedisStore(own.url(), timeout=0.3, retry_for=0)
        async with impatient, RedisStore(own.url(), timeout=0.3, retry_for=60) as store:
            with own.paused():
                writing = asyncio.create_task(store.aset("n", "k", 1))
                # Who began later has given up, so the writer's first attempt has ended, too.
                with pytest.raises(StoreUnavailableError):
                    await asyncio.wait_for(impatient.aget("n", "k"), 30)
            await asyncio.wait_for(writing, 60)
            assert await store.aget("n", "k") == 1

    asyncio.run(main())


def test_closing_does_not_wait_for_a_server_that_does_not_greet(own: RedisServer) -> None:
    async def main() -> None:
        store = RedisStore(own.url(), timeout=0.3, retry_for=0)
        with own.paused():
            writing = asyncio.create_task(store.aset("n", "k", 1))
            await asyncio.sleep(0)
            await asyncio.wait_for(store.aclose(), 30)
            with pytest.raises(StoreUnavailableError):
                await asyncio.wait_for(writing, 30)

    asyncio.run(main())


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
        # A snapshot that fails is what Redis calls a disk that it cannot write to.
        own.execute("CONFIG", "SET", "appendonly", "no")
        own.execute("CONFIG", "SET", "save", "1 1")
        (own.folder / "dump.rdb").mkdir()
        wait_until(lambda: b"err" in _last_save(own), "a snapshot fails", lambda: _save(own))
        told = messages_of(lambda: store.set("n", "b", 2), StoreUnavailableError)
        assert "disk" in told
        assert store.items("n") == [("a", 1)]
        own.execute("CONFIG", "SET", "save", "")


def _save(server: RedisServer) -> None:
    # Refused while the last one is under way.
    with server.client() as client, suppress(redis.ResponseError):
        client.execute_command("BGSAVE")


def _last_save(server: RedisServer) -> bytes:
    with server.client() as client:
        return str(client.info("persistence")["rdb_last_bgsave_status"]).encode()


def test_a_replica_can_only_be_read(own: RedisServer) -> None:
    with running_redis() as other, RedisStore(own.url(), retry_for=0.1) as store:
        store.set("n", "k", 1)
        own.execute("REPLICAOF", "127.0.0.1", other.port)
        assert "replica" in messages_of(lambda: store.set("n", "k", 2), StoreReadOnlyError)
        own.execute("REPLICAOF", "NO", "ONE")
        store.set("n", "k", 3)
        assert store.get("n", "k") == 3


@pytest.mark.parametrize("given", ["url", "client"])
def test_an_address_that_leads_to_a_new_master_while_the_old_one_goes_on_as_a_replica(
    own: RedisServer, given: str
) -> None:
    async def main(store: RedisStore) -> None:
        await store.aset("n", "k", 0)
        become_a_replica()
        await store.aset("n", "k", 1)

    def become_a_replica() -> None:
        own.execute("REPLICAOF", "127.0.0.1", other.port)
        proxy.lead_to(other.port)

    with (
        running_redis() as other,
        proxy_to(own.port) as proxy,
        redis.Redis(port=proxy.port, password=PASSWORD) as client,
    ):
        url = own.url().replace(f":{own.port}/", f":{proxy.port}/")
        options: Any = {"url": url} if given == "url" else {"client": client}
        with RedisStore(**options, retry_for=10) as store:
            store.set("n", "k", 0)
            asyncio.run(main(store))
            store.set("m", "k", 2)
        assert other.execute("HLEN", "swarmstate:n") == 1
        assert other.execute("HLEN", "swarmstate:m") == 1


def test_only_the_first_of_many_writes_to_a_replica_waits_for_it_to_become_a_master(
    own: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = own.url()
    with SwarmStateStore(url) as memory:
        memory.put(("a",), "k", {"n": 1}, ttl=60)
    # Nobody is there, so it stays as it is.
    own.execute("REPLICAOF", "127.0.0.1", free_port())
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        time_sleep(seconds)

    time_sleep = time.sleep
    monkeypatch.setattr(time, "sleep", sleep)
    with RedisStore(url, retry_for=1) as store:
        memory = SwarmStateStore(store)

        def read() -> None:
            # It would be renewed, if that could be written here.
            item = memory.get(("a",), "k")
            assert item is not None
            assert item.value == {"n": 1}

        read()
        assert waits
        waits.clear()
        read()
        messages_of(lambda: store.set("n", "k", 2), StoreReadOnlyError)
        assert not waits

        own.execute("REPLICAOF", "NO", "ONE")
        store.set("n", "k", 2)
        # Who was a master may become one again.
        own.execute("REPLICAOF", "127.0.0.1", free_port())
        messages_of(lambda: store.set("n", "k", 3), StoreReadOnlyError)
        assert waits


def test_a_replica_answers_reads_that_would_change_something(own: RedisServer) -> None:
    thread: RunnableConfig = {"configurable": {"thread_id": "ada"}}
    with SwarmStateSaver(own.url(), ttl=3600) as saver:
        graphs.agent(saver).invoke({"messages": [("user", "Hello")]}, thread)
    with RedisStore(own.url(), retry_for=0.1) as store:
        store.set("brief", "k", 1, ttl=0.05)
        # Nobody is there, so it stays as it is.
        own.execute("REPLICAOF", "127.0.0.1", free_port())
        wait_until(lambda: not own.execute("EXISTS", "swarmstate:brief"), "it expires")
        assert store.namespaces() == ["langgraph-index", "langgraph:ada"]
        assert asyncio.run(store.anamespaces("langgraph:")) == ["langgraph:ada"]

        saver = SwarmStateSaver(store, ttl=7200, refresh_on_read=True)
        assert saver.get_tuple(thread) is not None
        assert asyncio.run(saver.aget_tuple(thread)) is not None
        assert saver.threads() == ["ada"]
        [found] = store.read([Query("langgraph:ada", ask_ttl=True)])
        assert found.ttl is not None
        assert found.ttl <= 3600


def test_a_record_that_was_exchanged_by_hand_is_told(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    prefix = prefix_of(tmp_path)
    with RedisStore(redis_server.url(), prefix=prefix) as store:
        store.set_many("n", {"a": 1, "b": 2})
        # As many records as keys, so only reading the range can tell.
        assert redis_server.execute("HDEL", f"{prefix}:n", "a") == 1
        assert redis_server.execute("HSET", f"{prefix}:n", "c", "3") == 1
        messages_of(lambda: store.items("n"), StoreIncompleteError)


@pytest.mark.parametrize("part", ["data", "index"])
def test_an_evicted_part_is_told_and_never_misread(
    redis_server: RedisServer, tmp_path: Path, part: str
) -> None:
    prefix = prefix_of(tmp_path)
    with RedisStore(redis_server.url(), prefix=prefix) as store:
        store.set_many("n", {"a": 1, "b": 2})
        key = f"{prefix}:n" if part == "data" else f"{{{prefix}:n}}:keys"
        assert redis_server.execute("DEL", key) == 1
        for call in (
            lambda: store.get("n", "a"),
            lambda: store.keys("n"),
            lambda: asyncio.run(store.aitems("n")),
            lambda: store.set("n", "c", 3),
            lambda: store.copy("n", "m"),
            lambda: store.snapshot(),
        ):
            told = messages_of(call, StoreIncompleteError)
            assert "'n'" in told
            assert "evict" in told
        # It is still listed, so that it can be found and cleared.
        assert store.namespaces() == ["n"]
        store.clear("n")
        store.set("n", "d", 4)
        assert store.items("n") == [("d", 4)]


def test_caches_go_on_when_a_part_of_an_entry_was_evicted(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    prefix = prefix_of(tmp_path)
    calls = []
    with RedisStore(redis_server.url(), prefix=prefix) as store:
        nodes = SwarmStateCache[int](store)
        key = (("node",), "key")

        @cached(store=store, name="f")
        def function(number: int) -> int:
            calls.append(number)
            return number * 2

        for count in (1, 2):
            assert nodes.get([key]) == {}
            nodes.set({key: (count, None)})
            assert nodes.get([key]) == {key: count}
            assert (function(4), function(4)) == (8, 8)
            assert len(calls) == count
            for namespace in store.namespaces():
                assert redis_server.execute("DEL", f"{prefix}:{namespace}") == 1


def test_a_field_added_by_hand_is_told(redis_server: RedisServer, tmp_path: Path) -> None:
    prefix = prefix_of(tmp_path)
    with RedisStore(redis_server.url(), prefix=prefix) as store:
        store.set("n", "a", 1)
        redis_server.execute("HSET", f"{prefix}:n", "by hand", "x")
        messages_of(lambda: store.get("n", "a"), StoreIncompleteError)


def test_a_key_added_by_hand_that_is_no_text_is_told(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    prefix = prefix_of(tmp_path)
    with RedisStore(redis_server.url(), prefix=prefix) as store:
        store.set("n", "a", 1)
        redis_server.execute("HSET", f"{prefix}:n", b"\xff", b"x")
        redis_server.execute("ZADD", f"{{{prefix}:n}}:keys", 0, b"\xff")
        told = messages_of(lambda: store.keys("n"), StoreFormatError)
        assert "'n'" in told
        assert "to be UTF-8" in told
        assert store.get("n", "a") == 1


def test_something_else_under_a_key_of_the_store_is_left_alone(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    prefix = prefix_of(tmp_path)
    redis_server.execute("SET", f"{prefix}:n", "mine")
    with RedisStore(redis_server.url(), prefix=prefix) as store:
        for call in (
            lambda: store.get("n", "a"),
            lambda: store.set("n", "a", 1),
            lambda: store.clear("n"),
        ):
            messages_of(call, StoreFormatError)
    assert redis_server.execute("GET", f"{prefix}:n") == b"mine"


def lose_a_reply(store: RedisStore, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Lose the next reply, and with it the connection; `meanwhile` comes before the repetition."""
    link = store._open_link()
    sent = link.send

    def send_and_lose(commands):  # type: ignore[no-untyped-def]  # as the link's
        link.send = sent  # type: ignore[method-assign]  # of this object alone
        sent(commands)
        meanwhile()
        return [ConnectionError("the reply was lost")] * len(commands)

    link.send = send_and_lose  # type: ignore[method-assign]  # of this object alone


def appended(number: int) -> Batch:
    """Return a batch that adds a record to a log, after the one before."""
    last = f"log/{number - 1:02}" if number > 1 else None
    return Batch("n", put={f"log/{number:02}": b""}, expect=Expect("log/", last))


def test_a_batch_whose_reply_was_lost_is_no_conflict_with_itself(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    with RedisStore(redis_server.url(), prefix=prefix_of(tmp_path)) as store:
        store.write([appended(1)])
        lose_a_reply(store)
        store.write([appended(2)])
        with pytest.raises(ConflictError):
            store.write([appended(2)])
        [found] = store.read([Query("n", ranges=[Range()])])
        assert found.ranges == [[("log/01", b""), ("log/02", b"")]]


def test_a_batch_whose_reply_was_lost_undoes_nothing_that_others_did_since(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    def work() -> None:
        store.write([appended(number) for number in range(2, 20)])
        store.write([Batch("n", delete=["log/01"], put={"log/02": b"theirs"})])

    with RedisStore(redis_server.url(), prefix=prefix_of(tmp_path)) as store:
        lose_a_reply(store, work)
        store.write([appended(1)])
        [found] = store.read([Query("n", keys=["log/01", "log/02"])])
        assert found.values == [None, b"theirs"]


def test_a_refusal_whose_reply_was_lost_is_still_one(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    with RedisStore(redis_server.url(), prefix=prefix_of(tmp_path)) as store:
        store.write([appended(number) for number in range(1, 20)])
        lose_a_reply(store)
        with pytest.raises(ConflictError):
            store.write([appended(2)])


def test_what_a_busy_namespace_has_forgotten_is_told_to_be_unknown(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    def work() -> None:
        store.write([appended(number) for number in range(2, 50)])

    with RedisStore(redis_server.url(), prefix=prefix_of(tmp_path)) as store:
        lose_a_reply(store, work)
        lost = messages_of(lambda: store.write([appended(1)]), StoreUnavailableError)
        assert "cannot be told" in lost


def test_what_was_repeated_for_longer_than_is_remembered_is_told_to_be_unknown(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = prefix_of(tmp_path)

    def expire() -> None:
        assert redis_server.execute("DEL", f"{{{prefix}:n}}:recent") == 1

    with RedisStore(redis_server.url(), prefix=prefix) as store:
        store.write([appended(1)])
        monkeypatch.setattr(commands, "_REMEMBERED_SECONDS", 0.0)
        lose_a_reply(store, expire)
        lost = messages_of(lambda: store.write([appended(2)]), StoreUnavailableError)
        assert "cannot be told" in lost
        # What was not repeated is surely refused.
        with pytest.raises(ConflictError):
            store.write([appended(2)])


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

"""The connections for sync calls: how many, how long they live, and who owns them."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis
from swarmstate.errors import StoreUnavailableError
from swarmstate_redis import RedisStore, links

from tests.redis.test_contract import prefix_of
from tests.servers.redis import RedisServer, running_redis
from tests.servers.waiting import wait_until

_FORKED = """
import os, sys
from swarmstate.base import Batch, Query
from swarmstate.errors import ConflictError
from swarmstate_redis import RedisStore
store = RedisStore(sys.argv[1], prefix=sys.argv[2], max_connections=1)
store.set("n", "parent", 1)
store.write([Batch("count", put={"n": b"0"}, expect_values={"n": None})])

def add():
    while True:
        found = store.read([Query("count", ["n"])])[0].values[0]
        try:
            more = {"n": b"%d" % (int(found) + 1)}
            return store.write([Batch("count", put=more, expect_values={"n": found})])
        except ConflictError:
            pass

pid = os.fork()
name = "parent" if pid else "child"
for number in range(300):
    store.set("n", name, number)
    assert store.get("n", name) == number
    add()
if not pid:
    store.close()
    os._exit(0)
_, status = os.waitpid(pid, 0)
assert status == 0
# What one of them wrote is not taken for what the other one did.
assert store.read([Query("count", ["n"])])[0].values == [b"600"]
store.close()
"""

_WITHOUT_FILES = """
import asyncio, os, resource, sys
from contextlib import suppress
from swarmstate.errors import StoreUnavailableError
from swarmstate_redis import RedisStore

async def main():
    async with RedisStore(sys.argv[1], prefix=sys.argv[2], retry_for=0) as store:
        store.set("n", "k", 1)
        await store.aset("n", "k", 2)
    # Another one has no connections yet.
    with RedisStore(sys.argv[1], prefix=sys.argv[2], retry_for=0) as store:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        held = []
        with suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        failures = []
        for _ in range(2):
            try:
                store.get("n", "k")
            except StoreUnavailableError as error:
                failures.append(str(error))
            try:
                await store.aget("n", "k")
            except StoreUnavailableError as error:
                failures.append(str(error))
        for each in held:
            os.close(each)
        assert len(failures) == 4, failures
        assert all("open files" in failure for failure in failures), failures
        assert (store.get("n", "k"), await store.aget("n", "k")) == (2, 2)

asyncio.run(main())
"""

# Ctrl-C and time limits raise wherever the main thread happens to be.
_INTERRUPTED = """
import random, signal, sys
from swarmstate_redis import RedisStore

class Interrupted(Exception):
    pass

def interrupt(*_):
    if armed:
        raise Interrupted

armed = False
signal.signal(signal.SIGALRM, interrupt)
chosen = random.Random(1)
store = RedisStore(sys.argv[1], prefix=sys.argv[2], timeout=5, retry_for=0, max_connections=1)
interrupted = 0
for number in range(6_000):
    try:
        try:
            armed = True
            signal.setitimer(signal.ITIMER_REAL, chosen.uniform(1e-6, 2e-4))
            store.set("n", "k", number)
            found = store.get("n", "k")
            armed = False
            assert found == number, (found, number)
        finally:
            armed = False
            signal.setitimer(signal.ITIMER_REAL, 0)
    except Interrupted:
        interrupted += 1
assert interrupted > 1_000, interrupted
store.set("n", "k", -1)
assert store.get("n", "k") == -1
store.close()
"""


def _connections_of(client: redis.Redis, name: str) -> list[str]:
    return [each["id"] for each in client.client_list() if each["name"] == name]


def _end_connections_of(server: RedisServer, name: str) -> int:
    with server.client() as client:
        return sum(client.client_kill_filter(_id=each) for each in _connections_of(client, name))


@pytest.mark.parametrize("max_connections", [1, 3])
def test_threads_take_turns(
    redis_server: RedisServer, tmp_path: Path, max_connections: int
) -> None:
    name = prefix_of(tmp_path)
    url = f"{redis_server.url()}?client_name={name}"
    with RedisStore(url, prefix=name, max_connections=max_connections) as store:
        barrier = threading.Barrier(12)

        def use(number: int) -> None:
            barrier.wait()
            for turn in range(20):
                store.set("n", f"{number}/{turn}", turn)

        with ThreadPoolExecutor(12) as pool:
            list(pool.map(use, range(12)))
        assert len(store.keys("n")) == 240
        assert 1 <= _end_connections_of(redis_server, name) <= max_connections


def test_threads_that_never_pause_leave_turns_to_others(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    barrier, turns = threading.Barrier(16), itertools.count()

    def use(number: int) -> int:
        barrier.wait()
        own = 0
        while next(turns) < 10_000:
            store.set("n", f"{number}", own)
            own += 1
        return own

    with (
        RedisStore(redis_server.url(), prefix=prefix_of(tmp_path), max_connections=8) as store,
        ThreadPoolExecutor(16) as pool,
    ):
        # Each thread waits for its first turn before it can see that there are none left.
        assert min(pool.map(use, range(16))) > 1


def test_threads_take_turns_where_the_server_takes_few_clients() -> None:
    barrier = threading.Barrier(12)

    def use(store: RedisStore, number: int) -> None:
        barrier.wait()
        for turn in range(20):
            store.set("n", f"{number}/{turn}", turn)

    with (
        running_redis({"maxclients": "4"}) as server,
        RedisStore(server.url(), retry_for=0) as store,
        ThreadPoolExecutor(12) as pool,
    ):
        list(pool.map(use, [store] * 12, range(12)))
        assert len(store.keys("n")) == 240


def test_connections_come_back_when_the_server_takes_more_clients_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(links, "_FULL_SECONDS", 0.0)
    ping = [[b"PING"]]
    with (
        running_redis({"maxclients": "4"}) as server,
        RedisStore(server.url(), timeout=0.2, max_connections=8) as store,
    ):
        link = store._open_link()
        assert isinstance(link, links.DirectLink)

        def at_once(count: int) -> list[object]:
            sendings = [link.sending(ping) for _ in range(count)]
            for each in sendings:
                next(each)
            return [outcome for each in sendings for outcome in links.finished(each)]

        assert [str(each) for each in at_once(5) if each != b"PONG"] == [
            "all connections stayed in use (max_connections=8)"
        ]
        assert link.send([[b"CONFIG", b"SET", b"maxclients", b"100"]]) == [b"OK"]
        for _ in range(8):
            assert link.send(ping) == [b"PONG"]
        assert at_once(8) == [b"PONG"] * 8


def test_a_server_with_room_for_others_alone_is_told_and_tried_again() -> None:
    with (
        running_redis({"maxclients": "2"}) as server,
        RedisStore(server.url(), retry_for=0, max_connections=3) as store,
    ):
        with server.client() as one, server.client() as two:
            assert one.ping()
            assert two.ping()
            for _ in range(5):
                with pytest.raises(StoreUnavailableError, match="max number of clients"):
                    store.set("n", "k", 1)
            one.config_set("maxclients", 3)
            store.set("n", "k", 1)
        assert store.get("n", "k") == 1


def test_who_gets_no_connection_is_told(redis_server: RedisServer, tmp_path: Path) -> None:
    url, prefix = redis_server.url(), prefix_of(tmp_path)
    with (
        RedisStore(url, prefix=prefix, timeout=0.3, retry_for=0, max_connections=1) as store,
        redis_server.client() as client,
        ThreadPoolExecutor(2) as pool,
    ):
        store.set("n", "a", 1)
        client.client_pause(5_000, all=True)
        try:
            outcomes = [pool.submit(store.set, "n", key, 1).exception() for key in "bc"]
        finally:
            client.client_unpause()
        assert all(isinstance(outcome, StoreUnavailableError) for outcome in outcomes)
        store.set("n", "d", 1)


def test_a_connection_that_ended_while_idle_is_replaced(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = prefix_of(tmp_path)
    monkeypatch.setattr(links, "_IDLE_SECONDS", -1.0)
    url = f"{redis_server.url()}?client_name={name}"
    with RedisStore(url, prefix=name, retry_for=0) as store:
        for number in range(3):
            store.set("n", "a", number)
            assert _end_connections_of(redis_server, name) == 1
        assert store.get("n", "a") == 2


def test_one_lost_connection_speaks_for_the_idle_ones(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = prefix_of(tmp_path)
    monkeypatch.setattr(links, "_IDLE_SECONDS", 3_600.0)
    url = f"{redis_server.url()}?client_name={name}"
    with RedisStore(url, prefix=name, retry_for=0.01) as store, ThreadPoolExecutor(8) as pool:
        with redis_server.client() as client:
            client.client_pause(20_000, all=False)
            writing = pool.map(lambda number: store.set("n", f"{number}", number), range(8))
            wait_until(lambda: len(_connections_of(client, name)) == 8, "all of them wait")
            client.client_unpause()
            list(writing)
        assert _end_connections_of(redis_server, name) == 8
        # There is time for one retry, not for eight.
        store.set("n", "later", 8)
        assert len(store.keys("n")) == 9


def test_interrupted_calls_give_their_connection_back(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED, redis_server.url(), prefix_of(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    # Interruptions in the finalizers of other libraries are printed, but do not matter.
    assert done.returncode == 0, done.stderr


def test_without_files_to_open_there_is_an_error_that_passes(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", _WITHOUT_FILES, redis_server.url(), prefix_of(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_client_gets_back_what_it_lends(redis_server: RedisServer, tmp_path: Path) -> None:
    with (
        redis_server.client(max_connections=1) as client,
        RedisStore(client=client, prefix=prefix_of(tmp_path), retry_for=0) as store,
    ):
        for number in range(3):
            store.set("n", "k", number)
            assert store.get("n", "k") == number
            assert client.ping()


def test_a_fork_has_connections_of_its_own(redis_server: RedisServer, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _FORKED, redis_server.url(), prefix_of(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")

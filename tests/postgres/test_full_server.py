"""A server with room for fewer connections than a store may use."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Barrier, Event
from urllib.parse import urlsplit

import psycopg
import pytest
from swarmstate.errors import StoreUnavailableError
from swarmstate_postgres import PostgresStore, setup_sql
from swarmstate_postgres._client import Client

from tests.servers.postgres import PostgresServer
from tests.servers.waiting import wait_until

_NUMBERS = count()


@pytest.fixture
def narrow_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of a role that may open two connections, in a database with the tables."""
    database = postgres_server.new_database()
    role = f"narrow_{next(_NUMBERS)}"
    postgres_server.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'p' CONNECTION LIMIT 2")
    postgres_server.execute(setup_sql(role=role), url=database)
    yield postgres_server.url(database.rpartition("/")[2], user=role, password="p")
    postgres_server.execute(f"DROP OWNED BY {role}; DROP ROLE {role}", url=database)


def test_threads_take_turns_with_the_connections_that_there_are(narrow_url: str) -> None:
    together = Barrier(8)

    def work(store: PostgresStore, number: int) -> None:
        together.wait()
        for turn in range(20):
            store.set(f"n{number}", "turn", turn)
            assert store.get(f"n{number}", "turn") == turn

    with PostgresStore(narrow_url) as store, ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [store] * 8, range(8)))
        assert len(store) == 8


def test_tasks_take_turns_with_the_connections_that_there_are(narrow_url: str) -> None:
    async def work(store: PostgresStore, number: int) -> None:
        for turn in range(20):
            await store.aset(f"n{number}", "turn", turn)
            assert await store.aget(f"n{number}", "turn") == turn

    async def main() -> None:
        async with PostgresStore(narrow_url) as store:
            await asyncio.gather(*(work(store, number) for number in range(50)))
            assert await store.alength() == 50

    asyncio.run(main())


def test_turns_go_on_when_connections_are_lost(
    postgres_server: PostgresServer, narrow_url: str
) -> None:
    ending = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = 'swarmstate'"
    )
    owner_url = postgres_server.url(narrow_url.rpartition("/")[2])

    async def work(store: PostgresStore, number: int) -> None:
        for turn in range(20):
            await store.aset(f"n{number}", "turn", turn)
            if number == 0:
                await asyncio.to_thread(postgres_server.execute, ending, url=owner_url)
            assert await store.aget(f"n{number}", "turn") == turn

    async def main() -> None:
        async with PostgresStore(narrow_url) as store:
            await asyncio.gather(*(work(store, number) for number in range(50)))

    asyncio.run(main())


def test_no_turn_is_lost_with_those_who_are_cancelled(
    postgres_server: PostgresServer, narrow_url: str
) -> None:
    """Cancelling a task ends its connection, and perhaps the task that was to open the next one."""
    owner_url = postgres_server.url(narrow_url.rpartition("/")[2])
    role = urlsplit(narrow_url).username
    waiting = (
        "SELECT count(*) FROM pg_stat_activity "
        f"WHERE usename = '{role}' AND wait_event_type = 'Lock'"
    )

    def are_in_use() -> bool:
        return postgres_server.execute(waiting) == [(2,)]

    def are_refused() -> bool:
        return f'too many connections for role "{role}"' in postgres_server.log.read_text()

    async def main() -> None:
        async with PostgresStore(narrow_url, timeout=600) as store:
            await store.aset("n", "k", 1)
            with psycopg.connect(owner_url) as locking:
                locking.execute("LOCK TABLE swarmstate_namespace IN ACCESS EXCLUSIVE MODE")
                listings = [asyncio.ensure_future(store.anamespaces()) for _ in range(2)]
                await asyncio.to_thread(wait_until, are_in_use, "both connections are in use")
                listings += [asyncio.ensure_future(store.anamespaces()) for _ in range(4)]
                await asyncio.to_thread(wait_until, are_refused, "others are refused")
                for listing in listings[:4]:
                    listing.cancel()
            assert await asyncio.gather(*listings[4:]) == [["n"], ["n"]]

    asyncio.run(main())


def test_who_waits_for_a_turn_notices_that_there_is_room_again(
    postgres_server: PostgresServer, narrow_url: str
) -> None:
    """The connection in use may stay in use for long."""
    owner_url = postgres_server.url(narrow_url.rpartition("/")[2])
    refused = f'too many connections for role "{urlsplit(narrow_url).username}"'

    def is_refused() -> bool:
        return refused in postgres_server.log.read_text()

    async def main() -> None:
        async with PostgresStore(narrow_url, timeout=600) as store:
            await store.aset("n", "k", 1)
            with psycopg.connect(owner_url) as locking, psycopg.connect(narrow_url) as other:
                locking.execute("SELECT FROM swarmstate_namespace FOR UPDATE")
                writing = asyncio.ensure_future(store.aset("n", "k", 2))
                await asyncio.sleep(0)
                reading = asyncio.ensure_future(store.aget("n", "k"))
                await asyncio.to_thread(wait_until, is_refused, "one is refused")
                other.close()
                assert await reading == 1
                assert not writing.done()
            await writing

    asyncio.run(main())


@pytest.mark.parametrize(
    ("max_size", "advice"), [(1, "larger max_size"), (8, "see its max_connections")]
)
def test_a_thread_that_gets_no_turn_is_told_what_there_is_too_little_of(
    narrow_url: str, max_size: int, advice: str
) -> None:
    begun, ended = Event(), Event()

    async def hold(client: Client) -> None:
        await client.fetch("SELECT")
        begun.set()
        await asyncio.to_thread(ended.wait)

    with (
        psycopg.connect(narrow_url),
        PostgresStore(narrow_url, max_size=max_size, timeout=0.5) as store,
        ThreadPoolExecutor(1) as pool,
    ):
        holding = pool.submit(store._run, hold)
        begun.wait()
        try:
            with pytest.raises(
                StoreUnavailableError, match=rf"all connections .* \(1\) .*{advice}"
            ):
                store.get("n", "k")
        finally:
            ended.set()
        holding.result()


def test_a_server_with_no_room_at_all_is_told(narrow_url: str) -> None:
    with (
        psycopg.connect(narrow_url),
        psycopg.connect(narrow_url),
        PostgresStore(narrow_url, timeout=0.5) as store,
        pytest.raises(StoreUnavailableError, match="too many connections for role"),
    ):
        store.get("n", "k")

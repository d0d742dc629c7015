"""Lost replies: the store finds out if the write was applied, or reports that it is unknown."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, time
from urllib.parse import quote

import psycopg
import pytest
from swarmstate.base import Batch, Expect, Query
from swarmstate.errors import ConflictError, StoreUnavailableError
from swarmstate_postgres import PostgresStore
from swarmstate_postgres import _clock as clock

from tests.servers.postgres import PostgresServer, wait_for_locks, waiting_for_locks
from tests.servers.proxy import Proxy, proxy_to
from tests.servers.waiting import wait_until

END_THE_FIRST = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
    "AND wait_event_type = 'Lock' ORDER BY query_start LIMIT 1"
)


def through(proxy: Proxy, server: PostgresServer, url: str) -> str:
    """Return the URL of a database on a server, by way of a proxy to it."""
    return url.replace(f":{server.port}/", f":{proxy.port}/")


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_write_whose_reply_was_lost_is_not_refused(
    postgres_server: PostgresServer, mode: str
) -> None:
    url = postgres_server.new_database()
    with proxy_to(postgres_server.port) as proxy:

        async def in_one_loop(store: PostgresStore) -> None:
            for number in range(10):
                last = f"{number - 1}" if number else None
                batch = Batch("n", put={f"{number}": b""}, expect=Expect("", last))
                # The first one prepares its statement, which takes a reply of its own.
                if number > 0:
                    proxy.lose_replies()
                if mode == "sync":
                    store.write([batch])
                else:
                    await store.awrite([batch])

        with PostgresStore(through(proxy, postgres_server, url)) as store:
            asyncio.run(in_one_loop(store))
            assert store.keys("n") == [f"{number}" for number in range(10)]
        assert proxy.lost == 9


@pytest.mark.parametrize("before", [[], [Batch("m", put={"k": b""})]], ids=["alone", "after"])
def test_a_refusal_whose_reply_was_lost_is_still_one(
    postgres_server: PostgresServer, before: list[Batch]
) -> None:
    url = postgres_server.new_database()
    with proxy_to(postgres_server.port) as proxy:
        with PostgresStore(through(proxy, postgres_server, url)) as store:
            store.write([Batch("n", put={"a": b""})])
            proxy.lose_replies()
            refused = Batch("n", put={"c": b""}, expect=Expect("", "b"))
            with pytest.raises(ConflictError):
                store.write([*before, refused])
            assert store.keys("n") == ["a"]
            assert store.namespaces() == [*(batch.namespace for batch in before), "n"]
        assert proxy.lost == 1


def test_what_was_refused_is_not_applied_by_its_repetition(
    postgres_server: PostgresServer,
) -> None:
    """Even if what it expects holds by the time of the retry."""
    url = postgres_server.new_database()
    with (
        proxy_to(postgres_server.port) as proxy,
        PostgresStore(through(proxy, postgres_server, url)) as store,
        PostgresStore(url) as other,
        ThreadPoolExecutor(2) as pool,
        psycopg.connect(url) as locker,
    ):
        store.write([Batch("n", put={"a": b""})])
        other.read([Query("n")])
        locker.execute("SELECT FROM swarmstate_namespace FOR UPDATE")
        refused = Batch("n", put={"c": b""}, expect=Expect("", "b"))
        writing = pool.submit(store.write, [refused])
        wait_for_locks(postgres_server, url, 1)
        helping = pool.submit(other.write, [Batch("n", put={"b": b""})])
        wait_for_locks(postgres_server, url, 2)
        proxy.cut()
        wait_for_locks(postgres_server, url, 3)
        locker.rollback()
        helping.result()
        with pytest.raises(ConflictError):
            writing.result()
        assert store.keys("n") == ["a", "b"]


def test_a_write_that_is_still_under_way_is_not_applied_after_its_repetition(
    postgres_server: PostgresServer,
) -> None:
    """The server continues with the request of a lost connection; others have written meanwhile."""
    url = postgres_server.new_database()
    with (
        proxy_to(postgres_server.port) as proxy,
        PostgresStore(through(proxy, postgres_server, url)) as store,
        ThreadPoolExecutor(1) as pool,
        psycopg.connect(url) as locker,
    ):
        store.write([Batch("n", put={"old": b""})])
        locker.execute("SELECT FROM swarmstate_namespace FOR UPDATE")
        writing = pool.submit(store.write, [Batch("n", clear=True, put={"mine": b""})])
        wait_for_locks(postgres_server, url, 1)
        proxy.cut()
        wait_for_locks(postgres_server, url, 2)
        locker.rollback()
        writing.result()
        store.write([Batch("n", put={"later": b""})])
        wait_for_locks(postgres_server, url, 0)
        assert store.keys("n") == ["later", "mine"]


@pytest.mark.parametrize("others", [12, 100])
def test_an_outcome_is_unknown_only_where_too_much_was_written_since(
    postgres_server: PostgresServer, others: int
) -> None:
    """A namespace knows some of its last writes, so it can tell that this one never arrived."""
    url = postgres_server.new_database()
    with (
        proxy_to(postgres_server.port) as proxy,
        PostgresStore(through(proxy, postgres_server, url)) as store,
        PostgresStore(url) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        other.write([Batch("n", put={"a": b""})])
        store.read([Query("n", keys=["a"])])
        proxy.refuse()
        writing = pool.submit(store.write, [Batch("n", clear=True)])
        wait_until(lambda: proxy.refused > 0, "a connection is refused")
        for number in range(others):
            other.write([Batch("n", put={f"{number:03}": b""})])
        proxy.accept()
        if others < 16:
            writing.result()
            assert other.keys("n") == []
        else:
            # The server does not tell which of the two it was.
            with pytest.raises(StoreUnavailableError, match="so much time, or so many"):
                writing.result()
            assert len(other.keys("n")) == others + 1


def test_a_lost_round_trip_of_several_tasks_is_repeated_for_each_of_them(
    postgres_server: PostgresServer,
) -> None:
    """None of them is mistaken for another one, which was applied or refused."""
    url = postgres_server.new_database()
    keys = [f"{number}" for number in range(5)]
    refused = Batch("n", put={"refused": b""}, expect=Expect("", None))

    async def main(store: PostgresStore) -> None:
        async with store:
            await store.awrite([Batch("n", put={"old": b""})])
            locker.execute("SELECT FROM swarmstate_namespace FOR UPDATE")
            batches = [*(Batch("n", put={key: b""}) for key in keys), refused]
            writing = [asyncio.ensure_future(store.awrite([each])) for each in batches]
            await asyncio.to_thread(
                wait_until,
                lambda: waiting_for_locks(postgres_server, url) > 0,
                "a write waits for a lock",
            )
            postgres_server.execute(END_THE_FIRST, url=url)
            locker.rollback()
            outcomes = await asyncio.gather(*writing, return_exceptions=True)
            assert outcomes[:-1] == [None] * len(keys)
            assert isinstance(outcomes[-1], ConflictError)
            assert await store.akeys("n") == [*keys, "old"]

    with psycopg.connect(url) as locker:
        asyncio.run(main(PostgresStore(url)))


@pytest.mark.parametrize("tidying", ["clear", "sweep"])
def test_a_lost_write_brings_nothing_back_that_was_deleted_since(
    postgres_server: PostgresServer, tidying: str
) -> None:
    """Cleaning up an empty namespace must not immediately forget which writes it has seen."""
    url = postgres_server.new_database()
    with (
        proxy_to(postgres_server.port) as proxy,
        PostgresStore(through(proxy, postgres_server, url)) as store,
        PostgresStore(url) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        store.write([Batch("n", put={"a": b""})])
        proxy.refuse_others()
        proxy.lose_replies()
        writing = pool.submit(store.write, [Batch("n", put={"b": b""})])
        wait_until(lambda: proxy.refused > 0, "a connection is refused")
        assert other.keys("n") == ["a", "b"]
        other.write([Batch("n", clear=True)])
        if tidying == "clear":
            other.write([Batch("m", clear=True)])
        else:
            other.sweep()
        proxy.accept()
        writing.result()
        assert other.namespaces() == []


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_what_the_server_rolled_back_is_repeated_whatever_was_written_since(
    postgres_server: PostgresServer, isolation: str
) -> None:
    """For example, by writers to one namespace whose transactions see an older snapshot."""
    url = postgres_server.new_database()
    with PostgresStore(url) as other, ThreadPoolExecutor(1) as pool:
        other.write([Batch("n", put={"a": b""})])
        with (
            PostgresStore(f"{url}?default_transaction_isolation={quote(isolation)}") as store,
            psycopg.connect(url) as locker,
        ):
            assert store.keys("n") == ["a"]
            locker.execute("SELECT FROM swarmstate_namespace FOR UPDATE")
            writing = pool.submit(store.write, [Batch("n", put={"mine": b""})])
            wait_for_locks(postgres_server, url, 1)
            # Simulates that many others have written since.
            locker.execute("UPDATE swarmstate_namespace SET older_writes_since = clock_timestamp()")
            locker.commit()
            writing.result()
            assert store.keys("n") == ["a", "mine"]


def test_a_lost_write_stays_unknown_when_its_repetition_is_rolled_back(
    postgres_server: PostgresServer,
) -> None:
    url = postgres_server.new_database()
    with (
        proxy_to(postgres_server.port) as proxy,
        PostgresStore(
            through(proxy, postgres_server, url) + "?default_transaction_isolation=serializable"
        ) as store,
        ThreadPoolExecutor(1) as pool,
        psycopg.connect(url) as locker,
    ):
        store.write([Batch("n", put={"a": b""})])
        locker.execute("SELECT FROM swarmstate_namespace FOR UPDATE")
        writing = pool.submit(store.write, [Batch("n", clear=True)])
        wait_for_locks(postgres_server, url, 1)
        proxy.cut()
        wait_for_locks(postgres_server, url, 2)
        locker.execute("UPDATE swarmstate_namespace SET older_writes_since = clock_timestamp()")
        locker.commit()
        with pytest.raises(StoreUnavailableError, match="it is unknown whether"):
            writing.result()


@pytest.mark.parametrize("paused", [False, True], ids=["reading", "paused"])
def test_a_lost_write_is_repeated_after_hours_without_one(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch, paused: bool
) -> None:
    """Even if the machine slept for hours, which its monotonic clock does not count."""
    url = postgres_server.new_database()
    hours = 9 * 3600.0
    with (
        proxy_to(postgres_server.port) as proxy,
        PostgresStore(through(proxy, postgres_server, url)) as store,
        ThreadPoolExecutor(1) as pool,
        psycopg.connect(url) as locker,
    ):
        store.write([Batch("n", put={"old": b""})])
        with monkeypatch.context() as earlier:
            # The server's time was last read nine hours ago.
            earlier.setattr(clock, "time", lambda: time() - hours)
            if not paused:
                earlier.setattr(clock, "monotonic", lambda: monotonic() - hours)
            store._database.clock.saw(time() - hours)
        locker.execute("SELECT FROM swarmstate_namespace FOR UPDATE")
        writing = pool.submit(store.write, [Batch("n", put={"mine": b""})])
        wait_for_locks(postgres_server, url, 1)
        proxy.cut()
        wait_for_locks(postgres_server, url, 2)
        postgres_server.execute(END_THE_FIRST, url=url)
        wait_for_locks(postgres_server, url, 1)
        locker.rollback()
        writing.result()
        assert store.keys("n") == ["mine", "old"]

"""Real faults on a real server: nothing acknowledged is lost, nothing is applied partially."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import psycopg
import pytest
from swarmstate.base import Batch, Expect, Query, Range
from swarmstate.errors import StoreReadOnlyError, StoreUnavailableError
from swarmstate_postgres import PostgresStore

from tests.servers.postgres import (
    PASSWORD,
    PostgresServer,
    running_postgres,
    wait_for_locks,
)

END_CONNECTIONS = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    "WHERE application_name = 'swarmstate'"
)


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """A server that tests may stop."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def store(own_server: PostgresServer) -> Iterator[PostgresStore]:
    with PostgresStore(own_server.new_database()) as store:
        yield store


class Appenders:
    """Threads and tasks that append to logs, each expecting its own last record.

    If an append is refused although nobody else writes to its log, the write was applied and
    then reported as a conflict.
    """

    def __init__(self, store: PostgresStore, threads: int, tasks: int) -> None:
        self._store = store
        self.written: dict[str, int] = {}
        self._stop = Event()
        self._pool = ThreadPoolExecutor(threads + 1)
        self._running = [self._pool.submit(self._append, number) for number in range(threads)]
        self._running.append(self._pool.submit(asyncio.run, self._append_in_tasks(tasks)))

    def _batch(self, name: str, count: int) -> Batch:
        last = f"{count - 1:06}b" if count else None
        put = {f"{count:06}{half}": f"{name} {count}".encode() for half in "ab"}
        return Batch(name, put=put, expect=Expect("", last))

    def _append(self, number: int) -> None:
        name, count = f"thread-{number}", 0
        while not self._stop.is_set():
            self._store.write([self._batch(name, count)])
            count += 1
            self.written[name] = count

    async def _append_in_tasks(self, tasks: int) -> None:
        async def append(name: str) -> None:
            count = 0
            while not self._stop.is_set():
                await self._store.awrite([self._batch(name, count)])
                count += 1
                self.written[name] = count

        await asyncio.gather(*(append(f"task-{number}") for number in range(tasks)))

    def wait_for(self, writes: int) -> None:
        """Return when every writer has written `writes` more."""
        before = dict(self.written)
        while True:
            for future in self._running:
                if future.done():
                    future.result()
            if len(self.written) >= 1 and all(
                count >= before.get(name, 0) + writes for name, count in self.written.items()
            ):
                return
            self._stop.wait(0.01)

    def end(self) -> None:
        """Stop all writers and check what was written."""
        self._stop.set()
        for future in self._running:
            future.result()
        self._pool.shutdown()
        for name, count in self.written.items():
            [result] = self._store.read([Query(name, ranges=[Range()])])
            found = dict(result.ranges[0])
            wanted = {
                f"{number:06}{half}": f"{name} {number}".encode()
                for number in range(count)
                for half in "ab"
            }
            assert found == wanted, name


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(lambda server: server.restart(), id="restart"),
        pytest.param(lambda server: (server.kill(), server.start()), id="crash"),
        pytest.param(lambda server: server.execute(END_CONNECTIONS), id="terminate"),
    ],
)
def test_writers_go_on_after(
    own_server: PostgresServer, store: PostgresStore, fault: Callable[[PostgresServer], object]
) -> None:
    writers = Appenders(store, threads=4, tasks=8)
    for _ in range(3):
        writers.wait_for(5)
        fault(own_server)
    writers.wait_for(5)
    writers.end()


def test_a_call_waits_for_a_server_that_is_down_for_a_moment(
    own_server: PostgresServer, store: PostgresStore
) -> None:
    store.set("n", "a", 1)
    own_server.stop()
    with ThreadPoolExecutor(2) as pool:
        try:
            read = pool.submit(store.get, "n", "a")
            write = pool.submit(asyncio.run, store.aset("n", "b", 2))
            Event().wait(1.5)
            assert not read.done()
            assert not write.done()
        finally:
            own_server.start()
        assert read.result() == 1
        write.result()
    assert store.keys("n") == ["a", "b"]


@pytest.mark.parametrize("kind", ["read", "write"])
def test_tasks_that_share_a_round_trip_wait_for_a_lasting_outage_together(
    own_server: PostgresServer, kind: str
) -> None:
    async def main() -> list[BaseException | object | None]:
        async with PostgresStore(own_server.url(), timeout=0.5) as store:
            await store.aset("n", "k", 1)
            own_server.stop()
            calls = [
                store.aget("n", f"{number}") if kind == "read" else store.aset("n", f"{number}", 1)
                for number in range(40)
            ]
            return list(await asyncio.gather(*calls, return_exceptions=True))

    try:
        errors = asyncio.run(main())
    finally:
        own_server.start()
    assert all(isinstance(error, StoreUnavailableError) for error in errors)
    # The root causes: at most one for each connection, not one for each task.
    assert len({id(getattr(error, "__cause__", None)) for error in errors}) <= 8


def test_a_lasting_outage_is_one_clear_error(own_server: PostgresServer) -> None:
    url = own_server.new_database()
    with PostgresStore(url) as store:
        store.set("n", "a", 1)
    own_server.stop()
    try:
        with PostgresStore(url, timeout=0.5) as store:
            calls: list[Callable[[], object]] = [
                lambda: store.get("n", "a"),
                lambda: store.set("n", "b", 1),
                lambda: store.namespaces(),
                lambda: asyncio.run(store.aget("n", "a")),
            ]
            for call in calls:
                with pytest.raises(StoreUnavailableError) as caught:
                    call()
                message = str(caught.value)
                assert f"127.0.0.1:{own_server.port}" in message
                assert "cannot be reached" in message
                assert PASSWORD not in message
    finally:
        own_server.start()
    with PostgresStore(url) as store:
        assert store.get("n", "a") == 1


DISK_FULL = """
CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF length(NEW.value) = 13 THEN
        RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER no_room BEFORE INSERT ON swarmstate_record FOR EACH ROW EXECUTE FUNCTION no_room();
"""


def test_no_room_is_a_clear_error_and_hurts_nobody_else(postgres_server: PostgresServer) -> None:
    """A trigger raises the error of a full disk, for one value of many."""
    url = postgres_server.new_database()

    async def main(store: PostgresStore) -> list[BaseException | None]:
        writes = [
            store.awrite(
                [
                    Batch(f"n{number}", put={"a": b"before"}),
                    Batch(f"n{number}", put={"b": b"x" * (13 if number == 5 else 12)}),
                ]
            )
            for number in range(10)
        ]
        return await asyncio.gather(*writes, return_exceptions=True)

    with PostgresStore(url) as store:
        store.setup()
        postgres_server.execute(DISK_FULL, url=url)
        outcomes = asyncio.run(main(store))
        assert [number for number, outcome in enumerate(outcomes) if outcome is not None] == [5]
        assert isinstance(outcomes[5], StoreUnavailableError)
        assert "out of resources" in str(outcomes[5])
        assert store.namespaces() == [f"n{number}" for number in range(10) if number != 5]
        with pytest.raises(StoreUnavailableError, match=r"out of resources.*none of this"):
            store.write([Batch("n", put={"a": b"1", "b": b"x" * 13})])
        assert store.keys("n") == []


def test_a_server_that_only_answers_reads_says_so(postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database()
    with PostgresStore(url) as store:
        store.set("n", "a", 1, ttl=3600)
    database = url.rpartition("/")[2]
    postgres_server.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    with PostgresStore(url) as store:
        assert store.get("n", "a") == 1
        with pytest.raises(StoreReadOnlyError, match=r"primary.*default_transaction_read_only"):
            store.set("n", "a", 2)
        # Reads succeed although they cannot renew, and do not complain about it.
        renewing = [Query("n", keys=["a"], ttl=9999.0, ask_ttl=True)]
        for [result] in (store.read(renewing), asyncio.run(store.aread(renewing))):
            assert result.values != [None]
            assert result.ttl is not None
            assert 0 < result.ttl <= 3600


def test_two_hundred_threads_share_few_connections(postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database()
    with PostgresStore(url, max_size=4) as store, ThreadPoolExecutor(200) as pool:

        def work(number: int) -> None:
            for index in range(3):
                store.write([Batch("shared", put={f"{number}/{index}": b"v"})])
                store.set(f"own-{number}", "index", index)
                assert store.get(f"own-{number}", "index") == index

        list(pool.map(work, range(200)))
        assert len(store.keys("shared")) == 600
        [(connections,)] = postgres_server.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name = 'swarmstate'",
            url=url,
        )
        assert connections <= 4


def test_a_copy_expires_as_what_was_copied_though_its_source_changes_meanwhile(
    postgres_server: PostgresServer,
) -> None:
    url = postgres_server.new_database()
    with (
        PostgresStore(url) as store,
        ThreadPoolExecutor(1) as pool,
        psycopg.connect(url) as locker,
    ):
        store.write([Batch("source", put={"k": b"old"}, ttl=3600)])
        # Holding a record's key blocks others that put it.
        locker.execute("INSERT INTO swarmstate_record VALUES ('target', 'k', '')")
        copying = pool.submit(store.copy, "source", "target")
        wait_for_locks(postgres_server, url, 1)
        store.write([Batch("source", clear=True, put={"k": b"new"})])
        locker.rollback()
        copying.result()
        [found] = store.read([Query("target", keys=["k"], ask_ttl=True)])
        assert found.values == [b"old"]
        assert found.ttl is not None
        assert 0 < found.ttl <= 3600

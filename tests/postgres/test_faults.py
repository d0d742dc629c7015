"""Real faults on a real server: nothing acknowledged is lost, nothing is half there."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from time import monotonic, time
from urllib.parse import quote

import psycopg
import pytest
from swarmstate.base import Batch, Expect, Query, Range
from swarmstate.errors import ConflictError, StoreReadOnlyError, StoreUnavailableError
from swarmstate_postgres import PostgresStore
from swarmstate_postgres import _clock as clock
from swarmstate_postgres._schema import Names, lock_sql

from tests.servers.postgres import PASSWORD, PostgresServer, running_postgres
from tests.servers.proxy import Proxy, proxy_to

END_CONNECTIONS = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    "WHERE application_name = 'swarmstate'"
)

END_THE_FIRST = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
    "AND wait_event_type = 'Lock' ORDER BY query_start LIMIT 1"
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
    """Threads and tasks that append to logs, each by expecting what it wrote last.

    An append that is refused although nobody else writes to its log would be a
    write that was applied and then reported as a conflict.
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
        """Return when everybody has written so many more."""
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
        """Let everybody finish and check what was written."""
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
    # What each of them comes from: at most one for each connection, not one for each task.
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
    """Though what it expects holds by then."""
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
        wait_until(lambda: waiting_for_locks(postgres_server, url) == 1)
        helping = pool.submit(other.write, [Batch("n", put={"b": b""})])
        wait_until(lambda: waiting_for_locks(postgres_server, url) == 2)
        proxy.cut()
        wait_until(lambda: waiting_for_locks(postgres_server, url) == 3)
        locker.rollback()
        helping.result()
        with pytest.raises(ConflictError):
            writing.result()
        assert store.keys("n") == ["a", "b"]


def test_a_write_that_is_still_under_way_is_not_applied_after_its_repetition(
    postgres_server: PostgresServer,
) -> None:
    """The server goes on with what a lost connection had asked; others wrote meanwhile."""
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
        wait_until(lambda: waiting_for_locks(postgres_server, url) == 1)
        proxy.cut()
        wait_until(lambda: waiting_for_locks(postgres_server, url) == 2)
        locker.rollback()
        writing.result()
        store.write([Batch("n", put={"later": b""})])
        wait_until(lambda: waiting_for_locks(postgres_server, url) == 0)
        assert store.keys("n") == ["later", "mine"]


def wait_until(condition: Callable[[], bool]) -> None:
    """Return when a condition holds; the test's own time limit ends it otherwise."""
    while not condition():
        Event().wait(0.01)


def through(proxy: Proxy, server: PostgresServer, url: str) -> str:
    """Return the URL of a database of a server by way of a proxy to it."""
    return url.replace(f":{server.port}/", f":{proxy.port}/")


def waiting_for_locks(server: PostgresServer, url: str) -> int:
    """Return how many sessions of a database wait for a lock."""
    [(count,)] = server.execute(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'",
        url=url,
    )
    found: int = count
    return found


@pytest.mark.parametrize("others", [12, 100])
def test_an_outcome_is_unknown_only_where_too_much_was_written_since(
    postgres_server: PostgresServer, others: int
) -> None:
    """A namespace knows some of its last writes, so it can tell that this one never came."""
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
        wait_until(lambda: proxy.refused > 0)
        for number in range(others):
            other.write([Batch("n", put={f"{number:03}": b""})])
        proxy.accept()
        if others < 16:
            writing.result()
            assert other.keys("n") == []
        else:
            with pytest.raises(StoreUnavailableError, match="nobody knows"):
                writing.result()
            assert len(other.keys("n")) == others + 1


def test_a_lost_round_trip_of_several_tasks_is_repeated_for_each_of_them(
    postgres_server: PostgresServer,
) -> None:
    """None of them is taken for another one, which was applied or refused."""
    url = postgres_server.new_database()
    keys = [f"{number}" for number in range(5)]
    refused = Batch("n", put={"refused": b""}, expect=Expect("", None))

    async def main(store: PostgresStore) -> None:
        async with store:
            await store.awrite([Batch("n", put={"old": b""})])
            locker.execute("SELECT FROM swarmstate_namespace FOR UPDATE")
            batches = [*(Batch("n", put={key: b""}) for key in keys), refused]
            writing = [asyncio.ensure_future(store.awrite([each])) for each in batches]
            await asyncio.to_thread(wait_until, lambda: waiting_for_locks(postgres_server, url) > 0)
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
    """Whoever tidies up does not forget at once which writes an empty namespace has seen."""
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
        wait_until(lambda: proxy.refused > 0)
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
    """As by writers of one namespace whose transactions see the database as it was before."""
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
            wait_until(lambda: waiting_for_locks(postgres_server, url) == 1)
            # What so many others wrote since makes.
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
        wait_until(lambda: waiting_for_locks(postgres_server, url) == 1)
        proxy.cut()
        wait_until(lambda: waiting_for_locks(postgres_server, url) == 2)
        locker.execute("UPDATE swarmstate_namespace SET older_writes_since = clock_timestamp()")
        locker.commit()
        with pytest.raises(StoreUnavailableError, match="nobody knows"):
            writing.result()


@pytest.mark.parametrize("paused", [False, True], ids=["reading", "paused"])
def test_a_lost_write_is_repeated_after_hours_without_one(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch, paused: bool
) -> None:
    """Also where the machine slept for them, so that its monotonic clock knows of none."""
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
            # The server's time was seen nine hours ago.
            earlier.setattr(clock, "time", lambda: time() - hours)
            if not paused:
                earlier.setattr(clock, "monotonic", lambda: monotonic() - hours)
            store._database.clock.saw(time() - hours)
        locker.execute("SELECT FROM swarmstate_namespace FOR UPDATE")
        writing = pool.submit(store.write, [Batch("n", put={"mine": b""})])
        wait_until(lambda: waiting_for_locks(postgres_server, url) == 1)
        proxy.cut()
        wait_until(lambda: waiting_for_locks(postgres_server, url) == 2)
        postgres_server.execute(END_THE_FIRST, url=url)
        wait_until(lambda: waiting_for_locks(postgres_server, url) == 1)
        locker.rollback()
        writing.result()
        assert store.keys("n") == ["mine", "old"]


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
    """A trigger raises what a full disk raises, for one value of many."""
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
        assert "no room left" in str(outcomes[5])
        assert store.namespaces() == [f"n{number}" for number in range(10) if number != 5]
        with pytest.raises(StoreUnavailableError, match=r"no room left.*nothing of this"):
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
        # Nothing is renewed, and nothing else is said of it.
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


@contextmanager
def standing_still(server: PostgresServer, url: str) -> Iterator[None]:
    """Let the stores' sessions of a database do nothing; their connections stay open."""
    pids = [
        pid
        for (pid,) in server.execute(
            "SELECT pid FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'swarmstate'",
            url=url,
        )
    ]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize(
    "get",
    [
        pytest.param(lambda store: store.get("n", "a"), id="sync"),
        pytest.param(lambda store: asyncio.run(store.aget("n", "a")), id="async"),
    ],
)
def test_a_first_call_gives_up_in_time(
    postgres_server: PostgresServer, get: Callable[[PostgresStore], object]
) -> None:
    """Somebody repairs the tables, and holds them."""
    url = postgres_server.new_database()
    with PostgresStore(url) as store:
        store.set("n", "a", 1)
    with PostgresStore(url, timeout=0.5) as store, psycopg.connect(url) as locker:
        locker.execute("LOCK TABLE swarmstate_migration")
        with pytest.raises(StoreUnavailableError, match="did not answer in time"):
            get(store)
        locker.rollback()
        assert store.get("n", "a") == 1


def test_setting_up_gives_up_where_nothing_is_answered(postgres_server: PostgresServer) -> None:
    """Not even that what was begun is rolled back."""
    url = postgres_server.new_database()
    lock = lock_sql(Names.of("public", "swarmstate"))
    with (
        PostgresStore(url, timeout=4.0) as store,
        psycopg.connect(url) as locker,
        ThreadPoolExecutor(1) as pool,
    ):
        locker.execute(lock.encode())
        setting_up = pool.submit(store.setup)
        wait_until(lambda: waiting_for_locks(postgres_server, url) == 1)
        with (
            standing_still(postgres_server, url),
            pytest.raises(StoreUnavailableError, match="did not answer in time"),
        ):
            setting_up.result()
        locker.rollback()
        store.setup()


def test_a_write_after_a_pause_gives_up_in_time(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks for the server's time first."""
    url = postgres_server.new_database()
    with PostgresStore(url, timeout=0.5) as store:
        store.set("n", "a", 1)
        monkeypatch.setattr(clock, "time", lambda: time() + 3600)
        with (
            standing_still(postgres_server, url),
            pytest.raises(StoreUnavailableError, match="did not answer in time"),
        ):
            store.set("n", "a", 2)
        store.set("n", "a", 3)
        assert store.get("n", "a") == 3

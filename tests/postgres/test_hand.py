"""Sync calls whose request is sent and answered without running an event loop."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg
import pytest
from swarmstate.base import Batch, Expect
from swarmstate.errors import ConflictError, StoreUnavailableError
from swarmstate.vectors import Collection, Record
from swarmstate_postgres import PostgresStore
from swarmstate_postgres._hand import HandLoop
from swarmstate_postgres._signals import PutOff

from tests.servers.postgres import PostgresServer
from tests.servers.tls import make_certificate, terminating_tls

if TYPE_CHECKING:
    from swarmstate_postgres._connecting import AnyConnection

_LOCK = "SELECT FROM swarmstate_namespace WHERE name = 'locked' FOR UPDATE"
_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


@pytest.fixture
def url(postgres_server: PostgresServer) -> str:
    return postgres_server.new_database()


@pytest.fixture
def store(url: str) -> Iterator[PostgresStore]:
    with PostgresStore(url, timeout=20) as store:
        store.set("locked", "key", 0)
        yield store


@pytest.fixture
def turned(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What sync calls left for their event loops to finish."""
    awaited: list[object] = []
    run = HandLoop.run_until_complete

    def note(loop: HandLoop, rest: Any) -> Any:
        awaited.append(rest)
        return run(loop, rest)

    monkeypatch.setattr(HandLoop, "run_until_complete", note)
    return awaited


def test_a_repeated_call_needs_no_turn(
    store: PostgresStore, turned: list[object], caplog: pytest.LogCaptureFixture
) -> None:
    large = "x" * 300_000
    # The first call connects and prepares statements.
    for expected in (True, False):
        turned.clear()
        store.set_many("a", {"key": "value", "large": large})
        assert store.get_many("a", ["key", "large"]) == {"key": "value", "large": large}
        assert store.namespaces() == ["a", "locked"]
        with pytest.raises(ConflictError):
            store.write([Batch("a", put={"other": b"\xc0"}, expect=Expect("", "none"))])
        assert store.keys("a") == ["key", "large"]
        assert bool(turned) == expected
    # Refused requests leave nothing to the loop either: it would report that when it is closed.
    store.close()
    gc.collect()
    assert caplog.text == ""


def test_what_comes_over_tls_is_read_by_the_loop(
    postgres_server: PostgresServer, url: str, tmp_path: Path
) -> None:
    certificate, key = make_certificate(tmp_path)
    large = "x" * 300_000
    with terminating_tls(postgres_server.port, certificate, key, when_asked=True) as port:
        through = url.replace(f":{postgres_server.port}/", f":{port}/")
        trusting = f"?sslmode=verify-full&sslrootcert={quote(str(certificate), '')}"
        with PostgresStore(through + trusting) as store:
            for number in range(3):
                store.set_many("a", {"key": number, "large": large})
                assert store.get_many("a", ["key", "large"]) == {"key": number, "large": large}
                assert asyncio.run(store.aget("a", "key")) == number


def test_a_connection_that_is_reset_while_its_answer_is_waited_for_is_replaced(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reset(*_: object) -> bytes:
        raise ConnectionResetError

    store.get("locked", "key")
    monkeypatch.setattr("swarmstate_postgres._hand.os", SimpleNamespace(read=reset))
    assert store.get("locked", "key") == 0


def test_what_does_not_fit_into_the_socket_is_sent_by_the_loop(store: PostgresStore) -> None:
    large = bytes(30_000_000)
    store.set("a", "large", large)
    assert store.get("a", "large") == large


def test_a_late_answer_is_waited_for(store: PostgresStore, url: str) -> None:
    with psycopg.connect(url) as other, ThreadPoolExecutor(1) as pool:
        other.execute(_LOCK)
        writing = pool.submit(store.set, "locked", "key", 1)
        _wait_until_waiting(url)
        assert not writing.done()
        other.commit()
        writing.result()
    assert store.get("locked", "key") == 1


def test_an_answer_that_does_not_come_is_given_up(url: str) -> None:
    with PostgresStore(url, timeout=0.5) as store, psycopg.connect(url) as other:
        store.set("locked", "key", 0)
        store.get("locked", "key")
        other.execute(_LOCK)
        with pytest.raises(StoreUnavailableError, match="did not answer in time"):
            store.set("locked", "key", 1)
        other.rollback()
        store.set("locked", "key", 2)
        assert store.get("locked", "key") == 2


def test_work_of_several_requests_is_not_kept_waiting_for_an_answer(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Work in a task has not sent anything when the first step ends."""
    collection = Collection(store, "facts")
    collection.upsert([Record("a", {}, [[1.0, 0.0]])])
    assert collection.stats().searched_by == "pgvector"
    monkeypatch.setattr("swarmstate_postgres._hand._PATIENCE_MS", 3_600_000)
    collection.upsert([Record("b", {}, [[0.0, 1.0]])])
    assert [match.record.id for match in collection.search([0.1, 1.0])] == ["b", "a"]


def test_work_may_use_what_needs_a_task(store: PostgresStore) -> None:
    """From Python 3.12 on, this includes `asyncio.wait_for`, and so the driver's `executemany`."""

    async def do(connection: AnyConnection) -> str | None:
        task = asyncio.current_task()
        await asyncio.wait_for(connection.executemany("SELECT $1::text", [("a",), ("b",)]), 10)
        return None if task is None else str(await connection.fetchval("SELECT 'done'"))

    assert store._run(lambda client: client.work(do)) == "done"
    assert store.get("locked", "key") == 0


def test_what_is_interrupted_leaves_room_for_other_loops() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    async def ask() -> None:
        asyncio.get_running_loop().call_soon(interrupt)

    loop = HandLoop()
    with pytest.raises(KeyboardInterrupt):
        loop.finish(ask(), asyncio.Transport(), PutOff())
    loop.close()
    asyncio.run(asyncio.sleep(0))


def test_what_is_cancelled_by_hand_is_not_called() -> None:
    called: list[str] = []

    async def ask() -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(called.append, "soon").cancel()
        loop.call_later(0, called.append, "later").cancel()

    loop = HandLoop()
    loop.finish(ask(), asyncio.Transport(), PutOff())
    loop.turn()
    loop.close()
    assert called == []


def test_a_timer_that_is_cancelled_in_the_loop_keeps_nothing() -> None:
    """Like the driver's timers, which hold the answer that they waited for."""

    class Answer:
        pass

    async def ask() -> weakref.ref[Answer]:
        answer = Answer()
        timer = asyncio.get_running_loop().call_later(3_600, repr, answer)
        # From here on, the loop runs the coroutine.
        await asyncio.sleep(0)
        timer.cancel()
        return weakref.ref(answer)

    loop = HandLoop()
    kept = loop.finish(ask(), asyncio.Transport(), PutOff())
    assert kept() is None
    loop.close()


INTERRUPTED = """
import asyncio.selector_events, signal, sys
from swarmstate_postgres import PostgresStore

transport = asyncio.selector_events._SelectorSocketTransport
send = transport.write
# It is ignored in programs that a shell has put into the background.
signal.signal(signal.SIGINT, signal.default_int_handler)

def write(self, data):
    send(self, data)
    transport.write = send
    signal.raise_signal(signal.SIGINT)

with PostgresStore(sys.argv[1]) as store:
    store.set("a", "key", 1)
    store.get("a", "key")
    for call in (lambda: store.get("a", "key"), lambda: store.set("a", "key", 2)):
        transport.write = write
        try:
            call()
        except KeyboardInterrupt:
            print("interrupted", signal.getsignal(signal.SIGINT) is signal.default_int_handler)
        assert store.get("a", "key") in (1, 2)
"""


def test_an_interrupt_while_a_request_is_sent_ends_the_call_alone(url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", INTERRUPTED, url], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "interrupted True\n" * 2), done.stderr


def _wait_until_waiting(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as watching:
        while watching.execute(_WAITING).fetchall() == [(0,)]:
            pass

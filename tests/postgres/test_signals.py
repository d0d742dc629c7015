"""Signal handlers that raise, such as for Ctrl-C and time limits, during sync calls."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from types import FrameType
from typing import Any

import psycopg
import pytest
from swarmstate.errors import StoreClosedError
from swarmstate_postgres import PostgresStore
from swarmstate_postgres._signals import PutOff

from tests.servers.postgres import PostgresServer

_LOCK = "SELECT FROM swarmstate_namespace WHERE name = 'locked' FOR UPDATE"
_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
_SESSIONS = (
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND application_name = 'swarmstate'"
)

# Raises at random moments of calls; everything acknowledged must be stored, and nothing else.
_AT_RANDOM = """
import random, signal, sys
from swarmstate_postgres import PostgresStore
from swarmstate_postgres._signals import PutOff

class Late(Exception):
    pass

raised = {"exception": Late, "interrupt": KeyboardInterrupt}[sys.argv[2]]

def stop(number, frame):
    raise raised("time is up")

def limit(seconds):
    signal.setitimer(signal.ITIMER_REAL, seconds)

signal.signal(signal.SIGALRM, stop)
rng = random.Random(7)
stored, tried, interrupts = {}, {}, 0
with PostgresStore(sys.argv[1]) as store:
    while interrupts < 100:
        key, value = str(rng.randrange(20)), rng.random()
        tried.setdefault(key, [None]).append(value)
        is_stored = False
        try:
            limit(rng.choice([0.0005, 0.002, 0.01]) * (rng.random() + 0.01))
            store.set("a", key, value)
            is_stored = True
            limit(0)
        except raised:
            limit(0)
            interrupts += 1
        if is_stored:
            tried[key] = [value]
        assert store.get("a", key) in tried[key]
    assert signal.getsignal(signal.SIGALRM) is stop
print(interrupts)
"""


@pytest.fixture
def url(postgres_server: PostgresServer) -> str:
    return postgres_server.new_database()


@pytest.fixture
def handled() -> Iterator[signal.Signals]:
    before = signal.getsignal(signal.SIGUSR1)
    yield signal.SIGUSR1
    signal.signal(signal.SIGUSR1, before)


@pytest.fixture
def also_handled() -> Iterator[signal.Signals]:
    before = signal.getsignal(signal.SIGUSR2)
    yield signal.SIGUSR2
    signal.signal(signal.SIGUSR2, before)


@pytest.mark.parametrize("kind", ["exception", "interrupt"])
def test_a_handler_may_end_a_call_at_any_moment(url: str, kind: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _AT_RANDOM, url, kind], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "100\n"), done.stderr
    assert "never retrieved" not in done.stderr
    assert "was destroyed" not in done.stderr


def test_a_handler_that_was_put_off_runs_at_the_latest_after_the_call(
    handled: signal.Signals,
) -> None:
    came: list[int] = []
    signal.signal(handled, lambda number, frame: came.append(number))
    with PutOff() as signals:
        signal.raise_signal(handled)
        assert came == []
        signals.wait(lambda: signal.raise_signal(handled))
        assert came == [handled] * 2
        signal.raise_signal(handled)
        assert came == [handled] * 2
    assert came == [handled] * 3


def test_a_second_handler_does_not_disturb_what_the_first_one_ends(
    handled: signal.Signals, also_handled: signal.Signals
) -> None:
    class LateError(Exception):
        pass

    def end(number: int, frame: FrameType | None) -> None:
        raise LateError

    def ask() -> None:
        try:
            signal.raise_signal(handled)
        finally:
            signal.raise_signal(also_handled)
            done.append("tidied up")

    done: list[str] = []
    signal.signal(handled, end)
    signal.signal(also_handled, lambda number, frame: done.append("second"))
    with PutOff() as signals:
        with pytest.raises(LateError):
            signals.wait(ask)
        assert signals.has_raised
        assert done == ["tidied up"]
    assert done == ["tidied up", "second"]


@pytest.mark.parametrize("begins", [True, False], ids=["not_yet", "again"])
def test_a_handler_that_raises_while_it_is_not_put_off_leaves_no_other_so(
    handled: signal.Signals,
    also_handled: signal.Signals,
    monkeypatch: pytest.MonkeyPatch,
    begins: bool,
) -> None:
    class LateError(Exception):
        pass

    def end(number: int, frame: FrameType | None) -> None:
        raise LateError

    def set_and_raise(number: signal.Signals, handler: Any) -> Any:
        before = set_handler(number, handler)
        # One signal is deferred before the other, and restored after it.
        if number == (handled if begins else also_handled) and (handler is end) != begins:
            signal.raise_signal(also_handled)
        return before

    set_handler = signal.signal
    for number in (handled, also_handled):
        signal.signal(number, end)
    putting_off = PutOff()
    if not begins:
        putting_off.__enter__()
    monkeypatch.setattr(signal, "signal", set_and_raise)
    with pytest.raises(LateError):
        putting_off.__enter__() if begins else putting_off.__exit__(None, None, None)
    monkeypatch.undo()
    assert [signal.getsignal(number) for number in (handled, also_handled)] == [end, end]


def test_what_has_no_handler_is_not_put_off(handled: signal.Signals) -> None:
    """By default, it ends the process immediately."""
    signal.signal(handled, signal.SIG_DFL)
    with PutOff():
        assert signal.getsignal(handled) is signal.SIG_DFL


def interrupt_who_waits(url: str, thread: int, number: signal.Signals) -> None:
    """Send a signal to a thread as soon as somebody waits for a lock."""
    with psycopg.connect(url, autocommit=True) as watching:
        while watching.execute(_WAITING).fetchall() == [(0,)]:
            pass
    signal.pthread_kill(thread, number)


@pytest.mark.parametrize("patience", [0, 3_600_000], ids=["in_the_loop", "by_hand"])
def test_a_handler_runs_while_a_call_waits(
    url: str, handled: signal.Signals, monkeypatch: pytest.MonkeyPatch, patience: int
) -> None:
    class LateError(Exception):
        pass

    def second(number: int, frame: FrameType | None) -> None:
        raise AssertionError("expected this to be set, not to run")

    def first(number: int, frame: FrameType | None) -> None:
        signal.signal(number, second)
        raise LateError

    with (
        PostgresStore(url, timeout=600) as store,
        psycopg.connect(url) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        store.set("locked", "key", 0)
        monkeypatch.setattr("swarmstate_postgres._hand._PATIENCE_MS", patience)
        signal.signal(handled, first)
        other.execute(_LOCK)
        interrupting = pool.submit(interrupt_who_waits, url, threading.get_ident(), handled)
        with pytest.raises(LateError):
            store.set("locked", "key", 1)
        interrupting.result()
        assert signal.getsignal(handled) is second
        # The aborted call no longer waits for the lock.
        assert store.get("locked", "key") == 0
        other.rollback()
        store.set("locked", "key", 2)
        assert store.get("locked", "key") == 2


@pytest.mark.parametrize("ends", [True, False], ids=["ends", "goes_on"])
def test_a_handler_may_close_the_store_within_a_call(
    postgres_server: PostgresServer, url: str, handled: signal.Signals, ends: bool
) -> None:
    """For example, on SIGTERM; the interrupted call cannot end before the handler does."""

    def close(number: int, frame: FrameType | None) -> None:
        store.close()
        other.rollback()
        if ends:
            raise SystemExit

    store = PostgresStore(url)
    with psycopg.connect(url) as other, ThreadPoolExecutor(1) as pool:
        store.set("locked", "key", 0)
        signal.signal(handled, close)
        other.execute(_LOCK)
        interrupting = pool.submit(interrupt_who_waits, url, threading.get_ident(), handled)
        with pytest.raises(SystemExit) if ends else nullcontext():
            store.set("locked", "key", 1)
        interrupting.result()
    with pytest.raises(StoreClosedError):
        store.get("locked", "key")
    while postgres_server.execute(_SESSIONS, url=url) != [(0,)]:
        pass
    with PostgresStore(url) as again:
        # The aborted call may have been applied.
        assert again.get("locked", "key") in ({0, 1} if ends else {1})

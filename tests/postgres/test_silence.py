"""A server that does not answer: calls give up in time."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import time

import psycopg
import pytest
from swarmstate.errors import StoreUnavailableError
from swarmstate_postgres import PostgresStore
from swarmstate_postgres import _clock as clock
from swarmstate_postgres._schema import Names, lock_sql

from tests.servers.postgres import PostgresServer, wait_for_locks


@contextmanager
def standing_still(server: PostgresServer, url: str) -> Iterator[None]:
    """Suspend the stores' sessions of a database; their connections stay open."""
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
    """Somebody repairs the tables, and locks them."""
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
    """Even the rollback of what was begun gets no answer."""
    url = postgres_server.new_database()
    lock = lock_sql(Names.of("public", "swarmstate"))
    with (
        PostgresStore(url, timeout=4.0) as store,
        psycopg.connect(url) as locker,
        ThreadPoolExecutor(1) as pool,
    ):
        locker.execute(lock.encode())
        setting_up = pool.submit(store.setup)
        wait_for_locks(postgres_server, url, 1)
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

"""Removing what has expired: in the background, on request, and by the server itself."""

from __future__ import annotations

import asyncio
import errno
import math

import pytest
from swarmstate.errors import StoreClosedError, StoreReadOnlyError, StoreUnavailableError
from swarmstate_postgres import PostgresStore
from swarmstate_postgres._sweeper import Sweeper

from tests.postgres.threads import sweepers
from tests.servers.postgres import PostgresServer
from tests.servers.waiting import wait_until


def test_sweeping_goes_on_after_a_moment_without_files(
    postgres_server: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail() -> None:
        raise OSError(errno.EMFILE, "too many open files")

    url = postgres_server.new_database()
    left = "SELECT count(*) FROM swarmstate_record"
    with PostgresStore(url, sweep_interval=0.001) as store:
        asyncio.run(store.aset("lasting", "a", 1))
        with monkeypatch.context() as patched:
            patched.setattr("swarmstate_postgres._lanes.HandLoop", fail)
            asyncio.run(store.aset("brief", "a", 1, ttl=0.001))
            wait_until(lambda: "too many open files" in caplog.text, "a sweep fails")
        wait_until(lambda: postgres_server.execute(left, url=url) == [(1,)], "it is swept")


def test_what_expired_is_removed_in_the_background(postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database()
    left = "SELECT count(*) FROM swarmstate_record"
    with PostgresStore(url, sweep_interval=0.02) as store:
        store.set("lasting", "a", 1)
        store.set_many("brief", {"a": 1, "b": 2}, ttl=0.01)
        wait_until(lambda: postgres_server.execute(left, url=url) == [(1,)], "it is swept")


def test_only_a_sweep_that_should_have_worked_is_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not one on a standby, which its primary sweeps, nor one interrupted by closing the store."""
    errors: list[Exception] = [StoreReadOnlyError("first"), StoreUnavailableError("second")]

    def sweep() -> None:
        if errors:
            raise errors.pop(0)
        sweeper.stop(wait=False)
        raise StoreClosedError

    sweeper = Sweeper(sweep, 0.001)
    sweeper.start()
    wait_until(lambda: sweepers() == [], "the sweeper ends")
    assert [record.getMessage() for record in caplog.records] == [
        "sweeping expired namespaces failed: second"
    ]


def test_there_may_be_no_end_to_the_time_between_two_sweeps() -> None:
    sweeper = Sweeper(lambda: None, math.inf)
    sweeper.start()
    [thread] = sweepers()
    sweeper.stop()  # If the thread had failed, this would raise.
    assert not thread.is_alive()


def test_what_expired_is_removed_by_the_server_itself(postgres_server: PostgresServer) -> None:
    """Like pg_cron: by the function alone, and in steps of some namespaces."""
    url = postgres_server.new_database()
    with PostgresStore(url, sweep_interval=None) as store:
        for number in range(5):
            store.set(f"brief{number}", "a", 1, ttl=0.001)
        assert sweepers() == []
        store.set("lasting", "a", 1, ttl=600)
        wait_until(lambda: store.namespaces() == ["lasting"], "the others expire")
        sweep = "SELECT swarmstate_sweep(3)"
        assert [postgres_server.execute(sweep, url=url)[0][0] for _ in range(3)] == [3, 2, 0]
        assert postgres_server.execute("SELECT count(*) FROM swarmstate_record", url=url) == [(1,)]
        assert store.sweep() == 0
        # Rows of ended namespaces remain for a while and are then removed.
        ended = "SELECT count(*) FROM swarmstate_namespace WHERE emptied_at IS NOT NULL"
        assert postgres_server.execute(ended, url=url) == [(5,)]
        postgres_server.execute(
            "UPDATE swarmstate_namespace SET emptied_at = now() - interval '11 minutes' "
            "WHERE emptied_at IS NOT NULL",
            url=url,
        )
        store.sweep()
        assert postgres_server.execute(ended, url=url) == [(0,)]
        assert store.get("lasting", "a") == 1

"""The server that the other tests rely on."""

from __future__ import annotations

import os

import psycopg
import pytest

from tests.servers.postgres import PostgresServer, running_postgres


def test_it_is_real_and_has_pgvector(postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database()
    assert postgres_server.execute("SHOW server_version", url=url)[0][0].startswith("18")
    assert postgres_server.execute("CREATE EXTENSION vector; SELECT 1", url=url) == [(1,)]


def test_it_wants_the_password(postgres_server: PostgresServer) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        postgres_server.execute("SELECT 1", url=postgres_server.url(password="wrong"))


def test_it_survives_a_crash_and_leaves_nothing_behind() -> None:
    with running_postgres() as server:
        url = server.new_database()
        server.execute("CREATE TABLE t AS SELECT 7 AS n", url=url)
        port = server.port
        server.kill()
        server.start()
        assert server.port == port
        assert server.execute("SELECT n FROM t", url=url) == [(7,)]
        assert server.process is not None
        pid, folder = server.process.pid, server.log.parent
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_server_that_cannot_start_is_an_error() -> None:
    with (
        pytest.raises(RuntimeError, match="no_such_setting"),
        running_postgres({"no_such_setting": "1"}),
    ):
        pass

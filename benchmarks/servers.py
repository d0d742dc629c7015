"""Savers on servers, each server started for one measurement and stopped after it.

Servers are as they come: PostgreSQL syncs every commit to the disk. Their files lie in
the measurement's folder, so that a server started there again finds what was stored.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.opened import Opened

if TYPE_CHECKING:
    from tests.servers.postgres import PostgresServer

_TABLES = """
SELECT COALESCE(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class
WHERE relkind = 'r' AND relnamespace NOT IN
    (SELECT oid FROM pg_namespace WHERE nspname LIKE 'pg_%' OR nspname = 'information_schema')
"""


@contextmanager
def postgres(folder: Path) -> Iterator[PostgresServer]:
    """Run PostgreSQL in a folder, with default settings."""
    from tests.servers.postgres import PostgresServer

    path = folder / "postgres"
    path.mkdir(exist_ok=True)
    server = PostgresServer(path, {"max_connections": "100"})
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _size(server: PostgresServer) -> int:
    """Return the bytes of all tables with their indexes and large values."""
    [(size,)] = server.execute(_TABLES)
    found: int = size
    return found


@contextmanager
def open_postgres_saver(folder: Path) -> Iterator[Opened]:
    """Open LangGraph's own saver."""
    from langgraph.checkpoint.postgres import PostgresSaver

    with postgres(folder) as server, PostgresSaver.from_conn_string(server.url()) as saver:
        saver.setup()
        yield Opened(saver, lambda: _size(server))


@contextmanager
def open_ours(folder: Path) -> Iterator[Opened]:
    """Open ours."""
    from langgraph.checkpoint.swarmstate import SwarmStateSaver

    with postgres(folder) as server, SwarmStateSaver(server.url()) as saver:
        yield Opened(saver, lambda: _size(server))


@asynccontextmanager
async def aopen_postgres_saver(folder: Path) -> AsyncIterator[Opened]:
    """Open LangGraph's own saver with a pool of 20 connections."""
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
    from psycopg import AsyncConnection
    from psycopg.rows import DictRow, dict_row
    from psycopg_pool import AsyncConnectionPool

    with postgres(folder) as server:
        pool: AsyncConnectionPool[AsyncConnection[DictRow]] = AsyncConnectionPool(
            server.url(),
            min_size=20,
            max_size=20,
            open=False,
            kwargs={"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row},
        )
        async with pool:
            saver = AsyncPostgresSaver(pool)
            await saver.setup()
            yield Opened(saver, lambda: _size(server))


@asynccontextmanager
async def aopen_ours(folder: Path) -> AsyncIterator[Opened]:
    """Open ours in an event loop."""
    from langgraph.checkpoint.swarmstate import SwarmStateSaver

    with postgres(folder) as server:
        async with SwarmStateSaver(server.url()) as saver:
            yield Opened(saver, lambda: _size(server))

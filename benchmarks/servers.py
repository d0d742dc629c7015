"""Savers on servers; each server is started for one measurement and then stopped.

PostgreSQL runs with its defaults, so it syncs every commit to disk. Redis keeps everything in
memory. Their files are in the measurement's folder, so a PostgreSQL restarted there finds its data.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.opened import Opened

if TYPE_CHECKING:
    from tests.servers.postgres import PostgresServer
    from tests.servers.redis import RedisServer

_TABLES = """
SELECT COALESCE(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class
WHERE relkind = 'r' AND relnamespace NOT IN
    (SELECT oid FROM pg_namespace WHERE nspname LIKE 'pg_%' OR nspname = 'information_schema')
"""


@contextmanager
def postgres(folder: Path) -> Iterator[PostgresServer]:
    """Run PostgreSQL in a folder, with default settings."""
    from tests.servers.lifetime import running
    from tests.servers.postgres import PostgresServer

    path = folder / "postgres"
    path.mkdir(exist_ok=True)
    with running(PostgresServer(path, {"max_connections": "100"})) as server:
        yield server


def _size(server: PostgresServer) -> int:
    """Return the bytes of all tables, including indexes and large values."""
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


@contextmanager
def redis(folder: Path) -> Iterator[RedisServer]:
    """Run Redis in a folder, without persistence."""
    from tests.servers.lifetime import running
    from tests.servers.redis import RedisServer

    with running(RedisServer(folder / "redis", password=None)) as server:
        yield server


def _memory(server: RedisServer) -> int:
    """Return the bytes of memory for all data, including Redis's overhead for it."""
    with server.client() as client:
        found = client.info("memory")
    return int(found["used_memory_dataset"] + found["used_memory_overhead"]) - int(
        found["used_memory_startup"]
    )


@contextmanager
def open_peer_on_redis(folder: Path) -> Iterator[Opened]:
    """Open the saver of the PyPI release."""
    saver_class = import_module("swarmstate.integrations.langgraph").SwarmStateSaver
    store_class = import_module("swarmstate.backends.redis").RedisStore
    with redis(folder) as server:
        yield Opened(saver_class(store_class(server.url())), lambda: _memory(server))


@contextmanager
def open_ours_on_redis(folder: Path) -> Iterator[Opened]:
    """Open ours."""
    from langgraph.checkpoint.swarmstate import SwarmStateSaver

    with redis(folder) as server, SwarmStateSaver(server.url()) as saver:
        yield Opened(saver, lambda: _memory(server))


@asynccontextmanager
async def aopen_ours_on_redis(folder: Path) -> AsyncIterator[Opened]:
    """Open ours in an event loop."""
    from langgraph.checkpoint.swarmstate import SwarmStateSaver

    with redis(folder) as server:
        async with SwarmStateSaver(server.url()) as saver:
            yield Opened(saver, lambda: _memory(server))

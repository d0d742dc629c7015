"""The savers to measure, and what makes two of them comparable.

This module is imported in two environments: the project's, and that of the PyPI
release that owns the same import name. So each contender imports what it needs
only when it is opened.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    closing,
    contextmanager,
)
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import servers
from benchmarks.opened import Opened


class Contender(NamedTuple):
    """A saver in one configuration.

    Attributes:
        label: Its name in tables.
        keeps: Where state is kept: "memory", "file, full", "PostgreSQL" and so on. Only
            contenders with the same value are compared.
        open: Opens it in a folder; opening it again finds what was stored.
        peer: Whether it runs in the environment of the PyPI release.
        delta: Whether the graph declares its messages as a DeltaChannel.
        aopen: Opens it for async calls in a running event loop; None means `open`.
    """

    label: str
    keeps: str
    open: Callable[[Path], AbstractContextManager[Opened]]
    peer: bool = False
    delta: bool = False
    aopen: Callable[[Path], AbstractAsyncContextManager[Opened]] | None = None


def _nothing() -> None:
    return None


@contextmanager
def _open_none(folder: Path) -> Iterator[Opened]:
    yield Opened(None, _nothing)


@contextmanager
def _open_zero_cost(folder: Path) -> Iterator[Opened]:
    from benchmarks.zero_cost import ZeroCostSaver

    yield Opened(ZeroCostSaver(), _nothing)


@contextmanager
def _open_in_memory(folder: Path) -> Iterator[Opened]:
    from langgraph.checkpoint.memory import InMemorySaver

    saver = InMemorySaver()

    def stored_bytes() -> int:
        checkpoints = sum(
            len(checkpoint[1]) + len(metadata[1])
            for namespaces in saver.storage.values()
            for stored in namespaces.values()
            for checkpoint, metadata, _ in stored.values()
        )
        writes = sum(
            len(value[1])
            for by_task in saver.writes.values()
            for _, _, value, _ in by_task.values()
        )
        return checkpoints + writes + sum(len(data) for _, data in saver.blobs.values())

    yield Opened(saver, stored_bytes)


def _sqlite(synchronous: str) -> Callable[[Path], AbstractContextManager[Opened]]:
    @contextmanager
    def open_sqlite(folder: Path) -> Iterator[Opened]:
        from langgraph.checkpoint.sqlite import SqliteSaver

        path = folder / "sqlite.db"
        with SqliteSaver.from_conn_string(str(path)) as saver:
            saver.setup()
            saver.conn.execute(f"PRAGMA synchronous={synchronous}")
            yield Opened(saver, lambda: _database_bytes(path))

    return open_sqlite


@asynccontextmanager
async def _aopen_sqlite(folder: Path) -> AsyncIterator[Opened]:
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    path = folder / "sqlite.db"
    async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
        await saver.setup()
        await saver.conn.execute("PRAGMA synchronous=FULL")
        yield Opened(saver, lambda: _database_bytes(path))


def _peer(*, disk: bool, incremental: bool) -> Callable[[Path], AbstractContextManager[Opened]]:
    @contextmanager
    def open_peer(folder: Path) -> Iterator[Opened]:
        saver_class = import_module("swarmstate.integrations.langgraph").SwarmStateSaver
        if not disk:
            saver = saver_class(incremental=incremental)
            yield Opened(saver, lambda: int(saver.store.snapshot().size_bytes))
            return
        path = folder / "peer.db"
        store = import_module("swarmstate.backends.disk").DiskStore(str(path))
        with closing(store):
            yield Opened(saver_class(store, incremental=incremental), lambda: _database_bytes(path))

    return open_peer


@contextmanager
def _open_ours_in_memory(folder: Path) -> Iterator[Opened]:
    from langgraph.checkpoint.swarmstate import SwarmStateSaver
    from swarmstate import Store

    with closing(Store()) as store:
        yield Opened(SwarmStateSaver(store), lambda: store.snapshot().size_bytes)


def _ours(durability: Any) -> Callable[[Path], AbstractContextManager[Opened]]:
    @contextmanager
    def open_ours(folder: Path) -> Iterator[Opened]:
        from langgraph.checkpoint.swarmstate import SwarmStateSaver
        from swarmstate import DiskStore

        path = folder / "ours.db"
        with closing(DiskStore(path, durability=durability)) as store:
            yield Opened(SwarmStateSaver(store), lambda: _database_bytes(path))

    return open_ours


_PRINT_SIZE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
(pages,) = connection.execute("PRAGMA page_count").fetchone()
(size,) = connection.execute("PRAGMA page_size").fetchone()
print(pages * size)
"""


def _database_bytes(path: Path) -> int:
    """Return the size of a database as its readers see it.

    That is the size of its file after a checkpoint of the WAL, regardless of how much
    is in the WAL right now. Another process measures it: two copies of SQLite in one
    process would release each other's locks on the file.
    """
    command = [sys.executable, "-c", _PRINT_SIZE, str(path)]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


MEMORY, FULL, NORMAL = "memory", "file, full", "file, normal"
NOTHING, POSTGRES, REDIS = "nothing", "PostgreSQL", "Redis"

CONTENDERS = {
    "none": Contender("no checkpointer", NOTHING, _open_none),
    "zero-cost": Contender("zero-cost saver", NOTHING, _open_zero_cost),
    "in-memory": Contender("InMemorySaver", MEMORY, _open_in_memory),
    "in-memory-delta": Contender(
        "InMemorySaver, DeltaChannel", MEMORY, _open_in_memory, delta=True
    ),
    "peer": Contender(
        "PyPI swarmstate 0.11", MEMORY, _peer(disk=False, incremental=False), peer=True
    ),
    "peer-incremental": Contender(
        "PyPI swarmstate 0.11, incremental",
        MEMORY,
        _peer(disk=False, incremental=True),
        peer=True,
    ),
    "ours": Contender("swarmstate", MEMORY, _open_ours_in_memory),
    "sqlite": Contender("SqliteSaver", FULL, _sqlite("FULL"), aopen=_aopen_sqlite),
    "sqlite-delta": Contender("SqliteSaver, DeltaChannel", FULL, _sqlite("FULL"), delta=True),
    "ours-file": Contender("swarmstate", FULL, _ours("full")),
    "ours-file-delta": Contender("swarmstate, DeltaChannel", FULL, _ours("full"), delta=True),
    "sqlite-normal": Contender("SqliteSaver", NORMAL, _sqlite("NORMAL")),
    "peer-disk": Contender(
        "PyPI swarmstate 0.11", NORMAL, _peer(disk=True, incremental=False), peer=True
    ),
    "ours-file-normal": Contender("swarmstate", NORMAL, _ours("normal")),
    "postgres": Contender(
        "PostgresSaver",
        POSTGRES,
        servers.open_postgres_saver,
        aopen=servers.aopen_postgres_saver,
    ),
    "ours-postgres": Contender("swarmstate", POSTGRES, servers.open_ours, aopen=servers.aopen_ours),
    "peer-redis": Contender("PyPI swarmstate 0.11", REDIS, servers.open_peer_on_redis, peer=True),
    "ours-redis": Contender(
        "swarmstate", REDIS, servers.open_ours_on_redis, aopen=servers.aopen_ours_on_redis
    ),
}

OURS = {
    MEMORY: "ours",
    FULL: "ours-file",
    NORMAL: "ours-file-normal",
    POSTGRES: "ours-postgres",
    REDIS: "ours-redis",
}
"""Our contender for each `keeps`; the figures of the others are divided by its figures."""

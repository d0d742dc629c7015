"""Databases of LangGraph's own savers, to import from."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.swarmstate.importing import ImportReport, import_postgres, import_sqlite

from tests.servers.postgres import PostgresServer

Saver = BaseCheckpointSaver[Any]


class Source(NamedTuple):
    """A database of one of LangGraph's savers."""

    url: str
    saver: Callable[[], AbstractContextManager[Saver]]
    importer: Callable[..., ImportReport]
    execute: Callable[[str], None]
    kind: str


def sqlite_source(tmp_path: Path) -> Source:
    path = str(tmp_path / "stock.sqlite")

    def execute(sql: str) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(sql)

    return Source(
        path, lambda: SqliteSaver.from_conn_string(path), import_sqlite, execute, "langgraph-sqlite"
    )


def postgres_source(server: PostgresServer) -> Source:
    url = server.new_database()

    @contextmanager
    def saver() -> Iterator[Saver]:
        with PostgresSaver.from_conn_string(url) as opened:
            opened.setup()
            yield opened

    def execute(sql: str) -> None:
        with psycopg.connect(url) as connection:
            connection.execute(sql.encode())

    return Source(url, saver, import_postgres, execute, "langgraph-postgres")


def everything(saver: Saver) -> dict[tuple[str, str, str], CheckpointTuple]:
    found = {}
    threads = {each.config["configurable"]["thread_id"] for each in saver.list(None)}
    for thread in threads:
        for each in saver.list({"configurable": {"thread_id": thread}}):
            where = each.config["configurable"]
            found[where["thread_id"], where["checkpoint_ns"], where["checkpoint_id"]] = each
    return found

"""Reading the database of LangGraph's SqliteSaver and AsyncSqliteSaver."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from swarmstate.errors import StoreFormatError, StoreUnavailableError

from .source import Id, SourceCheckpoint, StoredWrite, checked, damaged

if TYPE_CHECKING:
    from langgraph.checkpoint.base import CheckpointMetadata
    from langgraph.checkpoint.serde.base import SerializerProtocol

_COLUMNS = {
    "checkpoints": {"thread_id", "checkpoint_ns", "checkpoint_id", "type", "checkpoint"},
    "writes": {"thread_id", "checkpoint_ns", "checkpoint_id", "task_id", "idx", "channel"},
}


class SqliteSource:
    """Reads a file that LangGraph's SQLite savers wrote, without modifying it.

    Args:
        path: The file, or its `sqlite:///` URL.
        serde: Decodes the values.

    Raises:
        StoreUnavailableError: The file does not exist or cannot be read.
        StoreFormatError: It was not written by these savers.
    """

    def __init__(self, path: str, serde: SerializerProtocol) -> None:
        file = Path(path.removeprefix("sqlite:///"))
        if not file.is_file():
            raise StoreUnavailableError(f"expected a SqliteSaver file, found none: {file}")
        self._serde = serde
        self._file = file
        # Reveals changes to the file, if nothing prevents them.
        self._stamp: tuple[int, int] | None = None
        try:
            self._has_task_path = self._open("mode=ro")
        except StoreUnavailableError as error:
            if os.access(file.parent, os.W_OK):
                raise
            # SQLite cannot create files next to it, and needs none if there is no log.
            if self._has_log():
                raise StoreUnavailableError(
                    f"{error}; its newest records are in the -wal file next to it, and reading "
                    "that needs write permission on the folder: copy both to another folder"
                ) from error
            self._stamp = self._now()
            self._has_task_path = self._open("immutable=1")

    def _open(self, how: str) -> bool:
        """Open the file for reading; return whether writes have a task path."""
        uri = f"file:{quote(os.fsencode(self._file.absolute()))}?{how}"
        try:
            self._connection = sqlite3.connect(
                uri, uri=True, isolation_level=None, check_same_thread=False
            )
        except sqlite3.OperationalError as error:
            raise self._unreadable(error) from error
        self._connection.text_factory = bytes.decode
        try:
            has_task_path = self._check()
            self._connection.execute("BEGIN")
        except BaseException:
            self._connection.close()
            raise
        return has_task_path

    def _has_log(self) -> bool:
        log = self._file.with_name(f"{self._file.name}-wal")
        return log.is_file() and log.stat().st_size > 0

    def _now(self) -> tuple[int, int]:
        found = self._file.stat()
        return found.st_mtime_ns, found.st_size

    def _check(self) -> bool:
        """Raise if the tables are missing; return whether writes have a task path."""
        found = {}
        for table, expected in _COLUMNS.items():
            found[table] = {row[1] for row in self._query(f"PRAGMA table_info({table})")}
            if not expected <= found[table]:
                raise StoreFormatError(
                    f"{self._file} is not a SqliteSaver database: expected a table {table!r} with "
                    f"columns {', '.join(sorted(expected))}"
                )
        return "task_path" in found["writes"]

    def threads(self) -> list[str]:
        """Return the ids of all threads."""
        both = "SELECT thread_id FROM checkpoints UNION SELECT thread_id FROM writes ORDER BY 1"
        # An id that is not text must not prevent the others from being imported.
        self._connection.text_factory = bytes
        try:
            return [row[0].decode(errors="surrogateescape") for row in self._query(both)]
        finally:
            self._connection.text_factory = bytes.decode

    def ids(self, thread_id: str) -> list[Id]:
        """Return the checkpoints of a thread."""
        rows = self._query(
            "SELECT checkpoint_ns, checkpoint_id FROM checkpoints WHERE thread_id = ? "
            "ORDER BY checkpoint_ns, checkpoint_id",
            thread_id,
        )
        return [Id.of_row(*row) for row in rows]

    def checkpoints(self, thread_id: str) -> Iterator[SourceCheckpoint]:
        """Yield the checkpoints of a thread."""
        rows = self._query(
            "SELECT checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata "
            "FROM checkpoints WHERE thread_id = ? ORDER BY checkpoint_ns, checkpoint_id",
            thread_id,
        )
        for checkpoint_ns, checkpoint_id, parent, type_, data, metadata in rows:
            identity = Id.of_row(checkpoint_ns, checkpoint_id)
            if not (parent is None or isinstance(parent, str)):
                error = TypeError(f"expected its parent's id, found {parent!r:.80}")
                raise damaged(identity, error)
            try:
                checkpoint = self._serde.loads_typed((type_, data))
                said: CheckpointMetadata = json.loads(metadata) if metadata is not None else {}
            except Exception as error:
                raise damaged(identity, error) from error
            yield checked(SourceCheckpoint(identity, parent or None, checkpoint, said))

    def written(self, thread_id: str) -> list[Id]:
        """Return the checkpoints that have pending writes."""
        rows = self._query(
            "SELECT DISTINCT checkpoint_ns, checkpoint_id FROM writes WHERE thread_id = ?",
            thread_id,
        )
        return [Id.of_row(*row) for row in rows]

    def writes(self, thread_id: str, checkpoint: Id) -> list[StoredWrite]:
        """Return the pending writes of a checkpoint."""
        task_path = "task_path" if self._has_task_path else "''"
        rows = self._query(
            f"SELECT task_id, {task_path}, idx, channel, type, value FROM writes "
            "WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?",
            thread_id,
            *checkpoint,
        )
        return [StoredWrite.of_row(row) for row in rows]

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _unreadable(self, error: Exception) -> StoreUnavailableError:
        return StoreUnavailableError(f"{self._file} cannot be read: {error}")

    def _query(self, sql: str, *parameters: str) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._connection.execute(sql, parameters)
            if self._stamp is not None and (self._has_log() or self._stamp != self._now()):
                raise StoreUnavailableError(
                    f"{self._file} was modified while it was read without write permission on "
                    "its folder: import it when nothing is writing to it"
                )
        except UnicodeError as error:
            raise StoreFormatError(
                f"{self._file} contains text that is not UTF-8: {error}"
            ) from error
        except sqlite3.OperationalError as error:
            raise self._unreadable(error) from error
        except sqlite3.DatabaseError as error:
            raise StoreFormatError(
                f"{self._file} is not a SQLite database, or is damaged: {error}"
            ) from error

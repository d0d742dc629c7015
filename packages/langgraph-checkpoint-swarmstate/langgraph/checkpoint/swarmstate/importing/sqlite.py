"""The database of LangGraph's SqliteSaver and AsyncSqliteSaver."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from swarmstate.errors import StoreFormatError, StoreUnavailableError

from .source import Id, SourceCheckpoint, StoredWrite

if TYPE_CHECKING:
    from langgraph.checkpoint.base import CheckpointMetadata
    from langgraph.checkpoint.serde.base import SerializerProtocol

_COLUMNS = {
    "checkpoints": {"thread_id", "checkpoint_ns", "checkpoint_id", "type", "checkpoint"},
    "writes": {"thread_id", "checkpoint_ns", "checkpoint_id", "task_id", "idx", "channel"},
}


class SqliteSource:
    """Reads a file that LangGraph's SQLite savers wrote, and leaves it as it is.

    Args:
        path: The file, or its `sqlite:///` URL.
        serde: What decodes the values.

    Raises:
        StoreUnavailableError: There is no such file, or it cannot be read.
        StoreFormatError: It is no such file.
    """

    def __init__(self, path: str, serde: SerializerProtocol) -> None:
        file = Path(path.removeprefix("sqlite:///"))
        if not file.is_file():
            raise StoreUnavailableError(f"expected a file of SqliteSaver, found none: {file}")
        self._serde = serde
        self._file = file
        self._connection = sqlite3.connect(
            f"file:{quote(str(file.absolute()))}?mode=ro",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            self._has_task_path = self._check()
            self._connection.execute("BEGIN")
        except BaseException:
            self._connection.close()
            raise

    def _check(self) -> bool:
        """Raise unless the file has the tables; return whether writes have a task path."""
        found = {}
        for table, expected in _COLUMNS.items():
            found[table] = {row[1] for row in self._query(f"PRAGMA table_info({table})")}
            if not expected <= found[table]:
                raise StoreFormatError(
                    f"{self._file} is no database of SqliteSaver: expected a table {table!r} with "
                    f"the columns {', '.join(sorted(expected))}"
                )
        return "task_path" in found["writes"]

    def threads(self) -> list[str]:
        """Return the ids of all threads."""
        both = "SELECT thread_id FROM checkpoints UNION SELECT thread_id FROM writes ORDER BY 1"
        return [row[0] for row in self._query(both)]

    def ids(self, thread_id: str) -> list[Id]:
        """Return the checkpoints of a thread."""
        rows = self._query(
            "SELECT checkpoint_ns, checkpoint_id FROM checkpoints WHERE thread_id = ? "
            "ORDER BY checkpoint_ns, checkpoint_id",
            thread_id,
        )
        return [Id(*row) for row in rows]

    def checkpoints(self, thread_id: str) -> Iterator[SourceCheckpoint]:
        """Yield the checkpoints of a thread."""
        rows = self._query(
            "SELECT checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata "
            "FROM checkpoints WHERE thread_id = ? ORDER BY checkpoint_ns, checkpoint_id",
            thread_id,
        )
        for checkpoint_ns, checkpoint_id, parent, type_, data, metadata in rows:
            identity = Id(checkpoint_ns, checkpoint_id)
            try:
                checkpoint = self._serde.loads_typed((type_, data))
                said: CheckpointMetadata = json.loads(metadata) if metadata is not None else {}
            except Exception as error:
                raise damaged(identity, error) from error
            yield SourceCheckpoint(identity, parent or None, checkpoint, said)

    def written(self, thread_id: str) -> list[Id]:
        """Return the checkpoints that have pending writes."""
        rows = self._query(
            "SELECT DISTINCT checkpoint_ns, checkpoint_id FROM writes WHERE thread_id = ?",
            thread_id,
        )
        return [Id(*row) for row in rows]

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

    def _query(self, sql: str, *parameters: str) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._connection.execute(sql, parameters)
        except sqlite3.OperationalError as error:
            raise StoreUnavailableError(f"{self._file} cannot be read: {error}") from error
        except sqlite3.DatabaseError as error:
            raise StoreFormatError(
                f"{self._file} is no SQLite database, or is damaged: {error}"
            ) from error


def damaged(checkpoint: Id, error: Exception) -> StoreFormatError:
    """Return the error of a checkpoint that cannot be decoded."""
    return StoreFormatError(
        f"checkpoint {checkpoint.checkpoint_id!r} (checkpoint_ns {checkpoint.checkpoint_ns!r}) "
        f"cannot be read: {error}"
    )

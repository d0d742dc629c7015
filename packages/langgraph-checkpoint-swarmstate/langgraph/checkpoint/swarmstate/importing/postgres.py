"""Reading the database of LangGraph's PostgresSaver and AsyncPostgresSaver."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from swarmstate.errors import StoreFormatError, StoreUnavailableError

from .source import Id, SourceCheckpoint, StoredWrite, checked, damaged

if TYPE_CHECKING:
    from langgraph.checkpoint.serde.base import SerializerProtocol

# Rows to fetch per round trip.
_PAGE = 100

# A checkpoint's channels and versions; as text, because versions may be numbers.
_VERSIONS = (
    "(SELECT jsonb_object_agg(key, value) FROM jsonb_each_text(checkpoint -> 'channel_versions'))"
)
_ORDER = 'ORDER BY checkpoint_ns COLLATE "C", checkpoint_id COLLATE "C"'


class PostgresSource:
    """Reads a database that LangGraph's PostgreSQL savers wrote, in a read-only transaction.

    Args:
        url: The connection string, in the form that those savers accept.
        serde: Decodes the values.

    Raises:
        StoreUnavailableError: The server cannot be reached, or psycopg is not installed.
        StoreFormatError: The database does not have the savers' tables.
    """

    def __init__(self, url: str, serde: SerializerProtocol) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise StoreUnavailableError(
                "reading a PostgreSQL database needs psycopg: pip install 'psycopg[binary]'"
            ) from error
        self._failures = psycopg.Error
        self._serde = serde
        try:
            self._connection = psycopg.connect(url)
        except psycopg.OperationalError as error:
            raise StoreUnavailableError(
                f"cannot connect to the PostgreSQL server: {error}"
            ) from None
        except psycopg.Error:
            # The driver's message may show the connection string with the password.
            raise StoreUnavailableError(
                "expected a PostgreSQL connection string, such as postgresql://host/database"
            ) from None
        self._connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        self._connection.read_only = True
        try:
            self._has_task_path = self._check()
        except BaseException:
            self._connection.close()
            raise

    def _check(self) -> bool:
        """Raise if the tables are missing; return whether writes have a task path."""
        for table in ("checkpoints", "checkpoint_blobs", "checkpoint_writes"):
            [[found]] = self._query("SELECT to_regclass(%s)::text", table)
            if found is None:
                raise StoreFormatError(
                    f"this is not a PostgresSaver database: expected a table {table!r} on its "
                    "search_path"
                )
        columns = self._query(
            "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass('checkpoint_writes')"
        )
        return ("task_path",) in columns

    def threads(self) -> list[str]:
        """Return the ids of all threads."""
        rows = self._query(
            'SELECT thread_id COLLATE "C" FROM checkpoints UNION '
            'SELECT thread_id COLLATE "C" FROM checkpoint_writes ORDER BY 1'
        )
        return [row[0] for row in rows]

    def ids(self, thread_id: str) -> list[Id]:
        """Return the checkpoints of a thread."""
        rows = self._query(
            f"SELECT checkpoint_ns, checkpoint_id FROM checkpoints WHERE thread_id = %s {_ORDER}",
            thread_id,
        )
        return [Id(*row) for row in rows]

    def checkpoints(self, thread_id: str) -> Iterator[SourceCheckpoint]:
        """Yield the checkpoints of a thread."""
        ids = self.ids(thread_id)
        # The current value of each channel; most are unchanged from the previous checkpoint.
        values: dict[tuple[str, str], tuple[str, Any]] = {}
        for start in range(0, len(ids), _PAGE):
            page = ids[start : start + _PAGE]
            rows = self._query(
                "SELECT checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint, metadata, "
                f"{_VERSIONS} FROM checkpoints WHERE thread_id = %s AND (checkpoint_ns, "
                f"checkpoint_id) IN (SELECT * FROM unnest(%s::text[], %s::text[])) {_ORDER}",
                thread_id,
                [each.checkpoint_ns for each in page],
                [each.checkpoint_id for each in page],
            )
            for checkpoint_ns, checkpoint_id, parent, checkpoint, metadata, versions in rows:
                identity = Id(checkpoint_ns, checkpoint_id)
                self._load(thread_id, identity, versions or {}, values)
                checkpoint["channel_values"] = {
                    **(checkpoint.get("channel_values") or {}),
                    **{
                        channel: values[checkpoint_ns, channel][1]
                        for channel, version in (versions or {}).items()
                        if values[checkpoint_ns, channel][1] is not _ABSENT
                    },
                }
                yield checked(SourceCheckpoint(identity, parent or None, checkpoint, metadata))

    def _load(
        self,
        thread_id: str,
        checkpoint: Id,
        versions: dict[str, str],
        values: dict[tuple[str, str], tuple[str, Any]],
    ) -> None:
        """Update `values` to the versions of a checkpoint."""
        checkpoint_ns = checkpoint.checkpoint_ns
        missing = {
            channel: version
            for channel, version in versions.items()
            if values.get((checkpoint_ns, channel), (None,))[0] != version
        }
        if not missing:
            return
        rows = self._query(
            "SELECT channel, type, blob FROM checkpoint_blobs WHERE thread_id = %s AND "
            "checkpoint_ns = %s AND (channel, version) IN "
            "(SELECT * FROM unnest(%s::text[], %s::text[]))",
            thread_id,
            checkpoint_ns,
            list(missing),
            list(missing.values()),
        )
        values.update({(checkpoint_ns, name): (missing[name], _ABSENT) for name in missing})
        for channel, type_, data in rows:
            if type_ == "empty":
                continue
            try:
                value = self._serde.loads_typed((type_, data))
            except Exception as error:
                raise damaged(checkpoint, error) from error
            values[checkpoint_ns, channel] = (missing[channel], value)

    def written(self, thread_id: str) -> list[Id]:
        """Return the checkpoints that have pending writes."""
        rows = self._query(
            "SELECT DISTINCT checkpoint_ns, checkpoint_id FROM checkpoint_writes "
            "WHERE thread_id = %s",
            thread_id,
        )
        return [Id(*row) for row in rows]

    def writes(self, thread_id: str, checkpoint: Id) -> list[StoredWrite]:
        """Return the pending writes of a checkpoint."""
        task_path = "task_path" if self._has_task_path else "''"
        rows = self._query(
            f"SELECT task_id, {task_path}, idx, channel, type, blob FROM checkpoint_writes "
            "WHERE thread_id = %s AND checkpoint_ns = %s AND checkpoint_id = %s",
            thread_id,
            *checkpoint,
        )
        return [StoredWrite.of_row(row) for row in rows]

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _query(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        try:
            # The statements consist only of the constants above.
            return self._connection.execute(sql.encode(), parameters).fetchall()
        except self._failures as error:
            raise StoreUnavailableError(
                f"cannot read from the PostgreSQL server: {error}"
            ) from error


# Marks a channel that has a version and no value.
_ABSENT: Any = object()

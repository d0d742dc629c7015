"""LangGraph's `PostgresStore`, adapted to the intended differences of `SwarmStateStore`.

- Expired items are left out, as with its option `omit_expired`, and a sweep removes an item
  from the moment it expires, not only after that.
- A search yields items that one batch put by namespace and key.
- Namespaces are listed in the order of their labels, not of the labels joined by periods.
- The embeddings in a batch replace all embeddings of an item.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from langgraph.store.base import GetOp, ListNamespacesOp, Op, PutOp, SearchOp
from langgraph.store.postgres import PostgresStore
from langgraph.store.postgres.base import PostgresIndexConfig
from psycopg import Connection
from psycopg.rows import dict_row

__all__ = ["PostgresReference"]

_ALL = 1_000_000

# Shadows PostgreSQL's own `now`, since the search path names `pg_catalog` last.
_CLOCK = """
CREATE SCHEMA IF NOT EXISTS clock;
CREATE TABLE IF NOT EXISTS clock.reading (value timestamptz);
CREATE OR REPLACE FUNCTION clock.now() RETURNS timestamptz STABLE LANGUAGE sql
AS 'SELECT value FROM clock.reading';
"""


class PostgresReference:
    """Answers batches as `SwarmStateStore` must, at a time that tests set.

    Args:
        url: A database of its own.
        index: The configuration of embeddings, if any.
    """

    def __init__(self, url: str, index: PostgresIndexConfig | None = None) -> None:
        with Connection.connect(url, autocommit=True) as connection:
            connection.execute(_CLOCK)
        self._connection = Connection.connect(
            url,
            autocommit=True,
            prepare_threshold=0,
            row_factory=dict_row,
            options="-csearch_path=clock,public,pg_catalog",
        )
        self.store = PostgresStore(self._connection, index=index, ttl={"omit_expired": True})
        self.store.setup()
        self._has_index = index is not None
        self.clear()

    def clear(self) -> None:
        """Start over, at time 0."""
        self._connection.execute("TRUNCATE store CASCADE")
        self._connection.execute("TRUNCATE clock.reading")
        self._connection.execute("INSERT INTO clock.reading VALUES ('epoch')")
        # The time at which, according to PostgreSQL, each batch put its items.
        self._batches: dict[datetime, int] = {}
        self._count = 0

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def set_time(self, seconds: float) -> None:
        """Set the time, in seconds since the Unix epoch."""
        now = datetime.fromtimestamp(0, timezone.utc) + timedelta(seconds=seconds)
        self._connection.execute("UPDATE clock.reading SET value = %s", (now,))

    def sweep(self, seconds: float) -> int:
        """Remove everything expired at this time; return how many items that was."""
        self.set_time(seconds + 0.001)
        count = self.store.sweep_ttl()
        self.set_time(seconds)
        return count

    def batch(self, ops: Sequence[Op]) -> list[Any]:
        """Return the results of `ops`; times are batch numbers."""
        self._count += 1
        wanted = [_unlimited(op) for op in ops]
        if self._has_index:
            found = self.store.batch([op for op in wanted if not isinstance(op, PutOp)])
            puts = [op for op in wanted if isinstance(op, PutOp)]
            self._forget_embeddings(puts)
            self.store.batch(puts)
            found = [None if isinstance(op, PutOp) else found.pop(0) for op in wanted]
        else:
            found = self.store.batch(wanted)
        results = [self._result(op, result) for op, result in zip(ops, found, strict=True)]
        self._renew(ops, results)
        [row] = self._connection.execute("SELECT max(updated_at) AS time FROM store")
        if row["time"] is not None:
            self._batches.setdefault(row["time"], self._count)
        return results

    def _renew(self, ops: Sequence[Op], results: list[Any]) -> None:
        """Renew only what the searches return: they were made to find more than that."""
        renewed = [
            GetOp(item[0], item[1], refresh_ttl=True)
            for op, result in zip(ops, results, strict=True)
            if isinstance(op, SearchOp) and op.refresh_ttl
            for item in result
        ]
        if renewed:
            self.store.batch(renewed)

    def _forget_embeddings(self, puts: list[PutOp]) -> None:
        for put in puts:
            place = ".".join(put.namespace), put.key
            self._connection.execute(
                "DELETE FROM store_vectors WHERE prefix = %s AND key = %s", place
            )

    def _result(self, op: Op, result: Any) -> Any:
        if isinstance(op, ListNamespacesOp):
            return sorted(result)[op.offset : op.offset + op.limit]
        if not isinstance(op, SearchOp):
            return result and self._plain(result)
        if op.query and self._has_index:
            # Equal scores have no defined order, and the vectors are in single precision.
            result.sort(key=lambda i: (-round(i.score, 5), f"{'.'.join(i.namespace)}\x01{i.key}"))
        items = [self._plain(item) for item in result]
        if op.query and self._has_index:
            return items[op.offset : op.offset + op.limit]
        assert [item[4][1] for item in items] == sorted((i[4][1] for i in items), reverse=True)
        items.sort(key=lambda item: (-item[4][1], item[0], item[1]))
        return items[op.offset : op.offset + op.limit]

    def _plain(self, item: Any) -> tuple[Any, ...]:
        score = getattr(item, "score", None)
        times = self._batches[item.created_at], self._batches[item.updated_at]
        score = None if score is None else round(score, 4)
        return item.namespace, item.key, item.value, score, times


def _unlimited(op: Op) -> Op:
    """Return the operation without its page limits and without renewing anything."""
    if isinstance(op, SearchOp):
        return op._replace(limit=_ALL, offset=0, refresh_ttl=False)
    if isinstance(op, ListNamespacesOp):
        return op._replace(limit=_ALL, offset=0)
    return op

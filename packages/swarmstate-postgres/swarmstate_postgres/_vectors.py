"""Searches the embeddings of collections with pgvector."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from swarmstate.serving import (
    Answer,
    ApplyVectors,
    CountVectors,
    FindVectors,
    OpenVectors,
    Request,
    VectorRow,
    VectorState,
    VectorWhere,
)

from ._schema import Names, quoted
from ._vector_filters import Parameters, escaped, facts_json, where_sql
from ._vector_index import (
    LEAST_SCOPE,
    MOST_NEAREST,
    can_go_on_looking,
    efforts,
    index_name,
    settings_sql,
)
from ._vector_schema import VectorsMissingError, ensure_vectors

if TYPE_CHECKING:
    from ._client import Client
    from ._connecting import AnyConnection

__all__ = ["PgVectors"]

T = TypeVar("T")

# The most dimensions of the type `vector`; see pgvector's documentation.
_MOST_DIMENSIONS = 16_000
_GROWTH = 8
_OPERATORS = {"cosine": "<=>", "dot": "<#>", "l2": "<->"}

# The last two columns are pgvector's release and the valid indexes.
_STATE = (
    "SELECT cursors, dimensions, problem, "
    "(SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'vector'), "
    "ARRAY(SELECT c.relname::text FROM pg_catalog.pg_index AS i "
    "JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid "
    "WHERE i.indrelid = pg_catalog.to_regclass($2) AND i.indisvalid) "
    "FROM {vector_states} WHERE namespace = $1"
)
_LOCKED = "SELECT cursors FROM {vector_states} WHERE namespace = $1 FOR UPDATE"
_FORGET = "DELETE FROM {vector_states} WHERE namespace = $1"
_BEGIN = (
    "INSERT INTO {vector_states} (namespace, cursors) "
    "SELECT name, $2 FROM {namespaces} WHERE name = $1 AND emptied_at IS NULL "
    "ON CONFLICT (namespace) DO NOTHING RETURNING true"
)
_REMOVE = "DELETE FROM {vectors} WHERE namespace = $1 AND key = ANY ($2::text[])"
_INSERT = (
    "INSERT INTO {vectors} (namespace, key, number, scope, categories, facts, rest, embedding) "
    "VALUES ($1, $2, $3, $4, $5, $6::text::jsonb, $7, $8::real[]::{vector})"
)
_ADVANCE = (
    "UPDATE {vector_states} SET cursors = $2, dimensions = COALESCE(dimensions, $3), "
    "problem = COALESCE($4, problem) WHERE namespace = $1"
)
_COUNT = (
    "SELECT (SELECT count(*) FROM {vectors} AS v WHERE v.namespace = s.namespace AND number = 0), "
    "(SELECT count(embedding) FROM {vectors} AS v WHERE v.namespace = s.namespace) "
    "FROM {vector_states} AS s WHERE s.namespace = $1 AND s.problem IS NULL"
)
# If no record is found, there is one row of NULLs; without a valid state there is none.
_FOUND = (
    "SELECT f.* FROM {vector_states} AS s LEFT JOIN LATERAL ({found}) AS f ON true "
    "WHERE s.namespace = $1 AND s.cursors[1] <> 'building' AND s.problem IS NULL"
)
# Finds the nearest embeddings before it joins the records, since sorting by key after the join
# would sort whole records. pgvector's cosine distance of a zero vector is NaN.
_NEAREST = (
    "SELECT r.key, r.value AS record, n.seen FROM ("
    "SELECT d.key, min(d.distance) AS distance, (sum(count(*)) OVER ())::bigint AS seen FROM ("
    "SELECT v.key, "
    "COALESCE(NULLIF(v.embedding OPERATOR({schema}.{operator}) {given}::{vector}, 'NaN'), 1) "
    "AS distance FROM {vectors} AS v "
    "WHERE v.namespace = $1 AND v.embedding IS NOT NULL{where} ORDER BY 2, 1 LIMIT {candidates}"
    ") AS d GROUP BY d.key ORDER BY 2, 1 LIMIT {limit}"
    ") AS n JOIN {records} AS r ON r.namespace = $1 AND r.key = n.key"
)
# The same with an index, which orders embeddings, not records: a record may have several. Drops
# those as far away as the last: others may tie with it, and ties must be ordered by key.
_NEAR = (
    "SELECT r.key, r.value AS record FROM ("
    "SELECT d.key, min(d.distance) AS distance, max(max(d.distance)) OVER () AS farthest FROM ("
    "SELECT v.key, v.embedding::{vector}({dimensions}) "
    "OPERATOR({schema}.{operator}) {given}::{vector}({dimensions}) "
    "AS distance FROM {vectors} AS v "
    "WHERE v.namespace = $1 AND {schema}.vector_dims(v.embedding) = {dimensions}{where} "
    "ORDER BY 2 LIMIT {candidates}"
    ") AS d GROUP BY d.key ORDER BY 2, 1 LIMIT {limit}"
    ") AS n JOIN {records} AS r ON r.namespace = $1 AND r.key = n.key "
    "WHERE n.distance < n.farthest"
)
_SOME = (
    "SELECT count(*) FROM "
    "(SELECT FROM {vectors} AS v WHERE v.namespace = $1{where} LIMIT {limit}) AS s"
)
_WHOLE = (
    "SELECT r.key, r.value AS record FROM {vectors} AS v "
    "JOIN {records} AS r ON r.namespace = $1 AND r.key = v.key "
    "WHERE v.namespace = $1 AND v.number = 0{where} ORDER BY v.key LIMIT {limit}"
)
_REST = (
    "SELECT v.key, v.rest AS record FROM {vectors} AS v "
    "WHERE v.namespace = $1 AND v.number = 0{where} ORDER BY v.key LIMIT {limit}"
)


class PgVectors:
    """The vector search that PostgreSQL offers to collections; see `swarmstate.serving`.

    Args:
        names: The names of the tables.
        run: Runs work with a client of the store, sync.
        arun: The same, async.
    """

    name = "pgvector"

    def __init__(
        self,
        names: Names,
        run: Callable[[Callable[[Client], Coroutine[Any, Any, Any]]], Any],
        arun: Callable[[Callable[[Client], Coroutine[Any, Any, Any]]], Awaitable[Any]],
    ) -> None:
        self._names = names
        self._run = run
        self._arun = arun
        # The schema of the extension, once the tables are known to exist.
        self._schema: str | None = None
        # The names of the existing indexes.
        self._indexes: frozenset[str] = frozenset()

    def ask(self, request: Request) -> Answer:
        """Answer a request."""
        return self._run(lambda client: self._answer(client, request))

    async def aask(self, request: Request) -> Answer:
        """Answer a request."""
        return await self._arun(lambda client: self._answer(client, request))

    async def _answer(self, client: Client, request: Request) -> Answer:
        if isinstance(request, OpenVectors):
            return await self._open(client, request)
        if isinstance(request, ApplyVectors):
            return await client.work(lambda connection: self._apply(connection, request))
        if isinstance(request, FindVectors):
            return await self._find(client, request)
        return await self._count(client, request)

    async def _open(self, client: Client, request: OpenVectors) -> VectorState:
        if self._schema is None:
            try:
                self._schema = await client.work(
                    lambda connection: ensure_vectors(connection, self._names)
                )
            except VectorsMissingError as error:
                return VectorState(None, None, str(error))
        table = self._sql("{vectors}")
        rows = await client.fetch(self._sql(_STATE), request.namespace, table)
        if not rows:
            return VectorState(None, None, None)
        [(cursors, dimensions, problem, release, indexes)] = rows
        self._indexes = frozenset(indexes if can_go_on_looking(release) else ())
        return VectorState(list(cursors), dimensions, problem)

    async def _apply(self, connection: AnyConnection, request: ApplyVectors) -> bool:
        async with connection.transaction():
            return await self._apply_within(connection, request)

    async def _apply_within(self, connection: AnyConnection, request: ApplyVectors) -> bool:
        namespace = request.namespace
        if request.before is None:
            await connection.execute(self._sql(_FORGET), namespace)
            begun = await connection.fetchval(self._sql(_BEGIN), namespace, list(request.after))
            return begun is True
        cursors = await connection.fetchval(self._sql(_LOCKED), namespace)
        if cursors is None or list(cursors) != list(request.before):
            return False
        rows, problem = request.rows, request.problem
        dimensions = next((len(row.embeddings[0]) for row in rows if row.embeddings), None)
        if dimensions is not None and dimensions > _MOST_DIMENSIONS:
            rows = ()
            problem = (
                f"pgvector holds up to {_MOST_DIMENSIONS} dimensions, the embeddings have "
                f"{dimensions}"
            )
        replaced = [*request.gone, *(row.key for row in rows)]
        if replaced:
            await connection.execute(self._sql(_REMOVE), namespace, replaced)
        if rows:
            await connection.executemany(self._sql(_INSERT), _tuples(namespace, rows))
        await connection.execute(
            self._sql(_ADVANCE), namespace, list(request.after), dimensions, problem
        )
        return True

    async def _find(self, client: Client, request: FindVectors) -> list[tuple[str, bytes]] | None:
        for effort in await self._efforts(client, request):
            found = await client.work(partial(self._find_near, request, effort))
            if found is None or len(found) == request.limit:
                return found
            if any(request.where):
                # There are no more, or the filter left out too many.
                break
        if request.embedding is not None:
            return await self._compare(client, request)
        parameters = Parameters(request.namespace)
        parts = {
            "where": where_sql(request.where, parameters),
            "limit": parameters.add(request.limit, "bigint"),
        }
        statement = _WHOLE if request.whole else _REST
        sql = self._sql(_FOUND, found=self._sql(statement, **parts))
        return _found(await client.fetch(sql, *parameters.values))

    async def _compare(
        self, client: Client, request: FindVectors
    ) -> list[tuple[str, bytes]] | None:
        """Return the nearest records by comparing all selected embeddings."""
        # A record may have several of the nearest embeddings.
        candidates = None if request.limit is None else 2 * request.limit
        while True:
            sql, parameters = self._nearest(_NEAREST, request, candidates)
            rows = await client.fetch(sql, *parameters.values)
            found = _found(rows)
            if not found or candidates is None or len(found) == request.limit:
                return found
            if rows[0][2] < candidates:
                return found
            candidates *= _GROWTH

    async def _efforts(self, client: Client, request: FindVectors) -> Sequence[int]:
        """Return how many embeddings to look at with an index; empty to compare all."""
        limit, embedding, scope = request.limit, request.embedding, request.where.scope
        if embedding is None or request.exact or limit is None or limit > MOST_NEAREST:
            return ()
        name = index_name(self._names, request.namespace, len(embedding), request.metric)
        if name not in self._indexes:
            return ()
        if scope:
            # pgvector's index ignores scopes: it looks at embeddings of other scopes, too.
            parameters = Parameters(request.namespace)
            where = where_sql(VectorWhere(scope), parameters)
            many = parameters.add(LEAST_SCOPE, "bigint")
            sql = self._sql(_SOME, where=where, limit=many)
            [(found,)] = await client.fetch(sql, *parameters.values)
            if found < LEAST_SCOPE:
                return ()
        return efforts(limit)

    async def _find_near(
        self, request: FindVectors, effort: int, connection: AnyConnection
    ) -> list[tuple[str, bytes]] | None:
        assert request.limit is not None
        # With a filter, each further candidate makes the index scan longer; without one, the
        # index finds `effort` candidates anyway.
        candidates = 2 * request.limit if any(request.where) else effort
        sql, parameters = self._nearest(_NEAR, request, candidates)
        async with connection.transaction():
            await connection.execute(settings_sql(effort))
            return _found(await connection.fetch(sql, *parameters.values))

    def _nearest(
        self, statement: str, request: FindVectors, candidates: int | None
    ) -> tuple[str, Parameters]:
        """Return a statement for the nearest of `candidates` embeddings, and its parameters."""
        assert request.embedding is not None
        parameters = Parameters(request.namespace)
        parts = {
            "given": parameters.add(request.embedding, "real[]"),
            "where": where_sql(request.where, parameters),
            "limit": parameters.add(request.limit, "bigint"),
            "candidates": parameters.add(candidates, "bigint"),
            "dimensions": str(len(request.embedding)),
            "operator": _OPERATORS[request.metric],
        }
        return self._sql(_FOUND, found=self._sql(statement, **parts)), parameters

    async def _count(self, client: Client, request: CountVectors) -> tuple[int, int] | None:
        for records, embeddings in await client.fetch(self._sql(_COUNT), request.namespace):
            return records, embeddings
        return None

    def _sql(self, sql: str, **parts: str) -> str:
        schema = quoted(self._schema or "")
        return self._names.fill_in(sql, vector=f"{schema}.vector", schema=schema, **parts)


def _found(rows: Sequence[Any]) -> list[tuple[str, bytes]] | None:
    """Return the answer in the rows of `_FOUND`."""
    return [(row[0], row[1]) for row in rows if row[0] is not None] if rows else None


def _tuples(namespace: str, rows: Sequence[VectorRow]) -> list[tuple[Any, ...]]:
    return [
        (
            namespace,
            row.key,
            number,
            [escaped(segment) for segment in row.scope],
            [escaped(category) for category in row.categories],
            facts_json(row.facts),
            row.rest if number == 0 else None,
            embedding,
        )
        for row in rows
        for number, embedding in enumerate(row.embeddings or [None])
    ]

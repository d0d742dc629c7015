"""The tables for searching embeddings with the extension pgvector."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg

from ._schema import Names, lock_sql, quoted, vector_migration_sql, vector_migrations

if TYPE_CHECKING:
    from ._connecting import AnyConnection

__all__ = ["VectorsMissingError", "ensure_vectors"]

_EXTENSION = (
    "SELECT nspname, pg_catalog.has_schema_privilege(n.oid, 'USAGE') "
    "FROM pg_catalog.pg_extension AS e "
    "JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace WHERE extname = 'vector'"
)
_AVAILABLE = "SELECT EXISTS (SELECT FROM pg_catalog.pg_available_extensions WHERE name = 'vector')"
_HINT = "run the SQL of swarmstate_postgres.setup_sql(vectors=True) as a role that can"


class VectorsMissingError(Exception):
    """The database cannot search embeddings; the message says why and what to do."""


async def ensure_vectors(connection: AnyConnection, names: Names) -> str:
    """Create the extension and the tables if missing; return the extension's schema.

    Any number of processes may do so at the same time.

    Raises:
        VectorsMissingError: They are missing and cannot be created.
    """
    try:
        return await _ensure(connection, names)
    except asyncpg.ReadOnlySQLTransactionError as error:
        raise VectorsMissingError(
            f"the vector tables are missing or outdated, and cannot be created here ({error}): "
            "connect to the primary server once"
        ) from error


async def _ensure(connection: AnyConnection, names: Names) -> str:
    found = await connection.fetchrow(_EXTENSION)
    if found is None:
        if not await connection.fetchval(_AVAILABLE):
            raise VectorsMissingError("the server does not have the extension pgvector")
        found = await _create_extension(connection)
    schema: str = found[0]
    if not found[1]:
        raise VectorsMissingError(
            f"this role cannot use the extension pgvector: GRANT USAGE ON SCHEMA {quoted(schema)}"
        )
    try:
        version = await _version(connection, names)
    except asyncpg.UndefinedTableError:
        version = 0
    except asyncpg.InsufficientPrivilegeError as error:
        raise VectorsMissingError(
            f"this role cannot use the vector tables ({error}): have an admin run the SQL of "
            "swarmstate_postgres.setup_sql(role=..., vectors=True)"
        ) from error
    newest = max(vector_migrations())
    if version > newest:
        raise VectorsMissingError(
            f"the vector tables have version {version}, but this swarmstate-postgres supports up "
            f"to {newest}: upgrade it"
        )
    if version < newest:
        try:
            await _migrate(connection, names, schema)
        except asyncpg.InsufficientPrivilegeError as error:
            raise VectorsMissingError(
                f"this role cannot create the vector tables ({error}): {_HINT}"
            ) from error
    return schema


async def _create_extension(connection: AnyConnection) -> asyncpg.Record:
    try:
        await connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    except asyncpg.InsufficientPrivilegeError as error:
        raise VectorsMissingError(
            f"this role cannot create the extension pgvector, which the server has ({error}): "
            f"{_HINT}"
        ) from error
    except (asyncpg.UniqueViolationError, asyncpg.DuplicateObjectError):
        # Another process has just created it.
        pass
    found = await connection.fetchrow(_EXTENSION)
    if found is None:
        raise VectorsMissingError("the extension pgvector was created, but is missing")
    return found


async def _version(connection: AnyConnection, names: Names) -> int:
    found: int | None = await connection.fetchval(
        names.fill_in("SELECT max(version) FROM {vector_migrations}")
    )
    return found or 0


async def _migrate(connection: AnyConnection, names: Names, schema: str) -> None:
    # With a stricter default, the transaction would see the tables as they were before the lock,
    # and migrate again.
    async with connection.transaction(isolation="read_committed"):
        await connection.execute(lock_sql(names))
        await connection.execute(vector_migration_sql(names, 0, quoted(schema)))
        version = await _version(connection, names)
        for number in vector_migrations():
            if number > version:
                await connection.execute(vector_migration_sql(names, number, quoted(schema)))

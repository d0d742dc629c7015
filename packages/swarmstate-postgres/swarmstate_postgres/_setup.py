"""Creates and migrates the tables; many processes may do so at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
from swarmstate.errors import StoreFormatError, StoreUnavailableError

from ._failures import SetupRequiredError
from ._schema import Names, lock_sql, migration_sql, migrations, setup_sql, setup_steps

if TYPE_CHECKING:
    from ._connecting import AnyConnection

__all__ = ["ensure_setup", "server_time"]

_NO_SUCH_TABLE = (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError)


async def ensure_setup(connection: AnyConnection, names: Names, server: str) -> float:
    """Create what a store needs if it is missing; return the server's time.

    Any number of processes may do so at the same time.

    Raises:
        SetupRequiredError: Something is missing, and the role cannot create it.
        StoreFormatError: A newer release created the tables.
        StoreUnavailableError: The encoding of the database cannot hold all names.
    """
    newest = max(migrations())
    try:
        version = await _version(connection, names)
    except _NO_SUCH_TABLE:
        version = 0
    if version > newest:
        raise StoreFormatError(
            f"the tables in schema {names.schema!r} at {server} have version {version}, but this "
            f"swarmstate-postgres supports up to {newest}: upgrade it"
        )
    if version == newest:
        return await server_time(connection)
    encoding = await connection.fetchval("SHOW server_encoding")
    if encoding != "UTF8":
        raise StoreUnavailableError(
            f"expected the database at {server} to have the encoding UTF8, found {encoding}; "
            "create one with ENCODING 'UTF8'"
        )
    try:
        await _migrate(connection, names)
    except asyncpg.InsufficientPrivilegeError as error:
        sql = setup_sql(schema=names.schema, prefix=names.prefix, since=version)
        raise SetupRequiredError(
            f"the database at {server} lacks what a store needs, and this role cannot create it "
            f"({error}): run this SQL as a role that can, then the grants of "
            "swarmstate_postgres.setup_sql(role=...)",
            sql,
        ) from error
    return await server_time(connection)


async def server_time(connection: AnyConnection, timeout: float | None = None) -> float:
    """Return the server's time in seconds since the Unix epoch."""
    sql = "SELECT extract(epoch FROM clock_timestamp())::float8"
    time: float = await connection.fetchval(sql, timeout=timeout)
    return time


async def _version(connection: AnyConnection, names: Names) -> int:
    found: int | None = await connection.fetchval(
        names.fill_in("SELECT max(version) FROM {migrations}")
    )
    return found or 0


async def _migrate(connection: AnyConnection, names: Names) -> None:
    # With a stricter default, the transaction would see the tables as they were before the lock,
    # and migrate again.
    async with connection.transaction(isolation="read_committed"):
        # The server may have cached, before the lock, that the schema does not exist. IF NOT
        # EXISTS trusts that cache; a query does not.
        await connection.execute(lock_sql(names))
        exists = await connection.fetchval(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)", names.schema
        )
        for step in setup_steps(names, schema_exists=exists):
            await connection.execute(step)
        version = await _version(connection, names)
        for number in migrations():
            if number > version:
                await connection.execute(migration_sql(names, number))

"""Making and migrating the tables; many processes may try at once."""

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
    """Make sure that the database has what a store needs.

    Any number of processes may do so at the same time. Returns the server's time.

    Raises:
        SetupRequiredError: Something is missing, and the role may not make it.
        StoreFormatError: A newer release made the tables.
        StoreUnavailableError: The database has an encoding that cannot hold all names.
    """
    newest = max(migrations())
    try:
        version = await _version(connection, names)
    except _NO_SUCH_TABLE:
        version = 0
    if version > newest:
        raise StoreFormatError(
            f"the tables of schema {names.schema!r} at {server} have version {version}, this "
            f"release of swarmstate-postgres knows up to {newest}: upgrade it"
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
            f"the database at {server} lacks what a store needs, and this role may not create it "
            f"({error}): have a role that may run this SQL, and grant as "
            "swarmstate_postgres.setup_sql(role=...) prints it",
            sql,
        ) from error
    return await server_time(connection)


async def server_time(connection: AnyConnection, timeout: float | None = None) -> float:
    """Return what the server's clock shows, in seconds since the Unix epoch."""
    sql = "SELECT extract(epoch FROM clock_timestamp())::float8"
    time: float = await connection.fetchval(sql, timeout=timeout)
    return time


async def _version(connection: AnyConnection, names: Names) -> int:
    found: int | None = await connection.fetchval(
        names.fill_in("SELECT max(version) FROM {migrations}")
    )
    return found or 0


async def _migrate(connection: AnyConnection, names: Names) -> None:
    # The default may be to see the database as it was before the lock, and to migrate once more.
    async with connection.transaction(isolation="read_committed"):
        # The server may remember from before the lock that there was no such schema, and IF NOT
        # EXISTS would believe it; a query never does.
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

"""The store in PostgreSQL, if `swarmstate-postgres` is installed; an alias of it."""

try:
    from swarmstate_postgres import PostgresStore
except ModuleNotFoundError as error:
    if error.name != "swarmstate_postgres":
        raise
    raise ModuleNotFoundError(
        "PostgresStore needs another distribution: pip install swarmstate-postgres",
        name=error.name,
    ) from None

__all__ = ["PostgresStore"]

"""An alias for the store in PostgreSQL; needs swarmstate-postgres."""

try:
    from swarmstate_postgres import (
        PostgresStore,
        SetupRequiredError,
        setup_sql,
        vector_index_sql,
    )
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"expected the PostgreSQL store to be installed, found no module {error.name!r}; "
        "run: pip install swarmstate-postgres",
        name=error.name,
    ) from error

__all__ = ["PostgresStore", "SetupRequiredError", "setup_sql", "vector_index_sql"]

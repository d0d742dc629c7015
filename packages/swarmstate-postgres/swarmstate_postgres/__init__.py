"""A swarmstate store in PostgreSQL.

from swarmstate_postgres import PostgresStore

with PostgresStore("postgresql://user:password@localhost/agents") as store:
    store.set("user/ada", "name", "Ada")
"""

from ._failures import SetupRequiredError
from ._schema import setup_sql
from ._vector_index import vector_index_sql
from .store import PostgresStore, open_url

__all__ = ["PostgresStore", "SetupRequiredError", "open_url", "setup_sql", "vector_index_sql"]

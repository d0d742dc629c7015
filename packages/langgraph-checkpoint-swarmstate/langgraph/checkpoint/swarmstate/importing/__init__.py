"""Threads of LangGraph's own savers, moved into a swarmstate store.

With their whole history: every checkpoint of every namespace with its parent,
metadata and versions, and every pending write in its order. Values are stored as
`SwarmStateSaver` stores them, so what did not change is stored once.

    swarmstate import langgraph-sqlite checkpoints.sqlite disk:///agents.db

`import_sqlite` and `import_postgres` are the same from Python. The source is only
read, from one consistent view of it.
"""

from .importer import ImportReport, import_postgres, import_sqlite

__all__ = ["ImportReport", "import_postgres", "import_sqlite"]

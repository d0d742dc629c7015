"""Threads of LangGraph's own savers, moved into a swarmstate store.

Their whole history moves: every checkpoint of every namespace with its parent,
metadata and versions, and every pending write in order. Values are stored as
`SwarmStateSaver` stores them, so unchanged data is stored once.

    swarmstate import langgraph-sqlite checkpoints.sqlite disk:///agents.db

`import_sqlite` and `import_postgres` do the same from Python. The source is only
read, from one consistent view.
"""

from .importer import ImportReport, import_postgres, import_sqlite

__all__ = ["ImportReport", "import_postgres", "import_sqlite"]

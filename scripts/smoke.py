"""Try what a user does in the first minute; `check_wheels.py` runs this on installed wheels.

    smoke.py URL

URL names an empty PostgreSQL database.
"""

from __future__ import annotations

import asyncio
import sys
from importlib import import_module
from importlib.metadata import distribution, entry_points
from pathlib import Path
from pkgutil import walk_packages

import swarmstate

for name in (
    "swarmstate-core",
    "crewai-swarmstate",
    "langgraph-checkpoint-swarmstate",
    "swarmstate-postgres",
    "swarmstate-redis",
):
    files = [str(file) for file in distribution(name).files or []]
    assert any(file.endswith("py.typed") for file in files), f"{name}: no py.typed"
assert "site-packages" in Path(swarmstate.__file__).parts, swarmstate.__file__
for entry_point in entry_points(group="swarmstate.stores"):
    assert callable(entry_point.load()), entry_point

# Every module must import on every Python, except those with optional dependencies.
OPTIONAL = (
    # Patches LangGraph itself, which the checkpointer does not depend on.
    "langgraph.checkpoint.swarmstate.acceleration.",
    "swarmstate.cli",
    "swarmstate.integrations.crewai",
    "swarmstate.observability._opentelemetry",
)
for package in (
    "swarmstate",
    "swarmstate_redis",
    "swarmstate_postgres",
    "langgraph.cache.swarmstate",
    "langgraph.checkpoint.swarmstate",
    "langgraph.store.swarmstate",
):
    for module in walk_packages(import_module(package).__path__, f"{package}."):
        if not module.name.startswith(OPTIONAL) and ".testing" not in module.name:
            import_module(module.name)

# The adapter shares the `langgraph.checkpoint` package with LangGraph's own distribution.
from langgraph.checkpoint.base import empty_checkpoint  # noqa: E402
from langgraph.checkpoint.swarmstate import SwarmStateSaver  # noqa: E402

checkpoint = empty_checkpoint()
with SwarmStateSaver.from_conn_string("smoke.db") as saver:
    saver.put({"configurable": {"thread_id": "1", "checkpoint_ns": ""}}, checkpoint, {}, {})
with SwarmStateSaver.from_conn_string("smoke.db") as saver:
    found = saver.get_tuple({"configurable": {"thread_id": "1"}})
assert found is not None
assert found.checkpoint["id"] == checkpoint["id"]

# The PostgreSQL store drives event loops in its own way, which a new Python may break.
from swarmstate.vectors import Collection, Record  # noqa: E402
from swarmstate_postgres import PostgresStore  # noqa: E402

with PostgresStore(sys.argv[1]) as store:
    store.set("n", "sync", 1)
    asyncio.run(store.aset("n", "async", 2))
    assert store.get_many("n", ["async", "sync"]) == {"async": 2, "sync": 1}
    collection = Collection(store, "facts")
    for name, number in (("a", 0.0), ("b", 1.0)):
        collection.upsert([Record(name, {}, [[1.0, number]])])
    assert [match.record.id for match in collection.search([0.0, 1.0])] == ["b", "a"]
    assert collection.stats().searched_by == "pgvector", collection.stats()

"""LangGraph's long-term memory on swarmstate.

from langgraph.store.swarmstate import SwarmStateStore

graph = builder.compile(store=SwarmStateStore("memories.db"))
"""

from .store import SwarmStateStore

__all__ = ["SwarmStateStore"]

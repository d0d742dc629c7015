"""LangGraph checkpointer on swarmstate.

from langgraph.checkpoint.swarmstate import SwarmStateSaver

graph = builder.compile(checkpointer=SwarmStateSaver("agents.db"))
"""

from .history import HistoryEntry
from .saver import SwarmStateSaver
from .serde import SwarmStateSerializer

__all__ = ["HistoryEntry", "SwarmStateSaver", "SwarmStateSerializer"]

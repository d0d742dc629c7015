"""LangGraph checkpointer on swarmstate.

from langgraph.checkpoint.swarmstate import SwarmStateSaver

graph = builder.compile(checkpointer=SwarmStateSaver("agents.db"))
"""

from .history import HistoryEntry
from .retention import PruneReport
from .saver import SwarmStateSaver
from .serde import SwarmStateSerializer
from .statistics import ChannelStats, Stats

__all__ = [
    "ChannelStats",
    "HistoryEntry",
    "PruneReport",
    "Stats",
    "SwarmStateSaver",
    "SwarmStateSerializer",
]

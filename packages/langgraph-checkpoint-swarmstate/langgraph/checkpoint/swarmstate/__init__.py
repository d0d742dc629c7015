"""LangGraph checkpointer on swarmstate.

from langgraph.checkpoint.swarmstate import SwarmStateSaver

graph = builder.compile(checkpointer=SwarmStateSaver("agents.db"))
"""

from .acceleration import Acceleration, accelerate, deaccelerate
from .history import HistoryEntry
from .messages import REMOVE_ALL_MESSAGES, add_messages
from .profiles import profiling
from .retention import PruneReport
from .routing import HandoffRouter, routing_node
from .saver import SwarmStateSaver
from .serde import SwarmStateSerializer
from .statistics import ChannelStats, Stats

__all__ = [
    "REMOVE_ALL_MESSAGES",
    "Acceleration",
    "ChannelStats",
    "HandoffRouter",
    "HistoryEntry",
    "PruneReport",
    "Stats",
    "SwarmStateSaver",
    "SwarmStateSerializer",
    "accelerate",
    "add_messages",
    "deaccelerate",
    "profiling",
    "routing_node",
]

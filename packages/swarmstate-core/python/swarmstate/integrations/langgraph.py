"""An alias for everything in the LangGraph adapter; needs langgraph-checkpoint-swarmstate."""

try:
    from langgraph.cache.swarmstate import SwarmStateCache, SwarmStateLLMCache
    from langgraph.checkpoint.swarmstate import (
        REMOVE_ALL_MESSAGES,
        Acceleration,
        ChannelStats,
        HandoffRouter,
        HistoryEntry,
        PruneReport,
        Stats,
        SwarmStateSaver,
        SwarmStateSerializer,
        accelerate,
        add_messages,
        deaccelerate,
        profiling,
        routing_node,
    )
    from langgraph.store.swarmstate import SwarmStateStore
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"expected the LangGraph adapter to be installed, found no module {error.name!r}; "
        "run: pip install langgraph-checkpoint-swarmstate",
        name=error.name,
    ) from error

__all__ = [
    "REMOVE_ALL_MESSAGES",
    "Acceleration",
    "ChannelStats",
    "HandoffRouter",
    "HistoryEntry",
    "PruneReport",
    "Stats",
    "SwarmStateCache",
    "SwarmStateLLMCache",
    "SwarmStateSaver",
    "SwarmStateSerializer",
    "SwarmStateStore",
    "accelerate",
    "add_messages",
    "deaccelerate",
    "profiling",
    "routing_node",
]

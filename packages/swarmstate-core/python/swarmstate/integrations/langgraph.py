"""The LangGraph adapter, under a short path; needs langgraph-checkpoint-swarmstate."""

try:
    from langgraph.checkpoint.swarmstate import (
        HandoffRouter,
        SwarmStateSaver,
        SwarmStateSerializer,
        accelerate,
        add_messages,
        deaccelerate,
        profiling,
        routing_node,
    )
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"expected the LangGraph adapter to be installed, found no module {error.name!r}; "
        "run: pip install langgraph-checkpoint-swarmstate",
        name=error.name,
    ) from error

__all__ = [
    "HandoffRouter",
    "SwarmStateSaver",
    "SwarmStateSerializer",
    "accelerate",
    "add_messages",
    "deaccelerate",
    "profiling",
    "routing_node",
]

"""Routing LangGraph runs by a `HandoffGraph`, with the model as the last resort."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langgraph.types import Command

    from swarmstate import HandoffGraph
    from swarmstate.graph import Node

__all__ = ["HandoffRouter", "routing_node"]


def routing_node(graph: HandoffGraph, node: str, *, end: str = "__end__") -> Node:
    """Return a node that goes on where `node` hands off to; see `HandoffGraph.as_node`."""
    from langgraph.types import Command

    router = graph.as_router(node, end=end)

    def handoff(state: Any) -> Command[Any]:
        return Command(goto=router(state))

    return handoff


class HandoffRouter:
    """A node before the agents of a swarm that asks the rules first and the model only then.

    With the state of langgraph-swarm, whose `active_agent` says who is talking: if an edge of the
    graph from that agent is taken, its target becomes active and is gone to, without asking a model
    to call a handoff tool. Otherwise `fallback` decides.

    Args:
        graph: Its nodes are the names of the agents.
        fallback: The node to go to, or what a node does, sync or async, if no edge is taken. None
            goes to the active agent, whose model may then hand off by its tools.
        default: Who is active at first.
        key: The key of the state that names the active agent.

    Attributes:
        by_rule: How often a rule decided, so that no model was asked who takes over.
        by_fallback: How often none did.
    """

    def __init__(
        self,
        graph: HandoffGraph,
        *,
        default: str,
        fallback: str | Callable[[Any], Any] | None = None,
        key: str = "active_agent",
    ) -> None:
        graph.as_router(default)  # Raises if it is unknown.
        self.graph = graph
        self.default = default
        self.fallback = fallback
        self.key = key
        self.by_rule = 0
        self.by_fallback = 0
        self._lock = Lock()

    def __call__(self, state: Any) -> Any:
        """Route a state, as a node of a graph."""
        from langgraph.constants import END
        from langgraph.types import Command

        found = state.get(self.key) if isinstance(state, dict) else getattr(state, self.key, None)
        active = found or self.default
        target = self.graph.route(active, state)
        with self._lock:
            if target is None:
                self.by_fallback += 1
            else:
                self.by_rule += 1
        if target == END:
            # This run ends; the next one begins with the agent that was active.
            return Command(goto=END)
        if target is not None:
            return Command(goto=target, update={self.key: target})
        if callable(self.fallback):
            return self.fallback(state)
        return Command(goto=self.fallback or active)

    @property
    def node(self) -> Node:
        """What `add_node` takes if `fallback` is async; the router itself if not."""
        call = getattr(self.fallback, "__call__", None)  # noqa: B004  # of an object with an async one
        if not (inspect.iscoroutinefunction(self.fallback) or inspect.iscoroutinefunction(call)):
            return self

        async def route(state: Any) -> Any:
            result = self(state)
            return await result if inspect.isawaitable(result) else result

        return route

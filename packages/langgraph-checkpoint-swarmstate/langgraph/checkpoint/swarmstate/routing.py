"""Routing LangGraph runs by a `HandoffGraph`, with the model as the last resort."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Any

from swarmstate.errors import GraphError

from .requiring import requiring_langgraph

if TYPE_CHECKING:
    from langchain_core.runnables import Runnable
    from langgraph.types import Command

    from swarmstate import HandoffGraph
    from swarmstate.graph import Node

__all__ = ["HandoffRouter", "routing_node"]


def routing_node(graph: HandoffGraph, node: str, *, end: str = "__end__") -> Node:
    """Return a node that continues where `node` hands off to; see `HandoffGraph.as_node`."""
    with requiring_langgraph():
        from langgraph.types import Command

    router = graph.as_router(node, end=end)

    def handoff(state: Any) -> Command[Any]:
        return Command(goto=router(state))

    return handoff


class HandoffRouter:
    """A node in front of a swarm's agents that routes by rules first, and only then by a model.

    It works with the state of langgraph-swarm, where `active_agent` names the agent that is
    talking. If an edge of the graph from that agent matches, its target becomes active and runs
    next, without asking a model to call a handoff tool. Otherwise `fallback` decides.

    Args:
        graph: A graph whose nodes are the names of the agents.
        fallback: What to do if no edge matches, or if the active agent is not in the graph: the
            name of the node to go to, or anything that LangGraph accepts as a node, such as a
            sync or async function or a compiled graph. None goes to the active agent, whose
            model may then hand off by its tools; that agent must be in the graph.
        default: The agent that is active at first.
        key: The key of the state that names the active agent.

    Attributes:
        by_rule: Number of decisions made by a rule, without asking a model.
        by_fallback: Number of decisions left to the fallback.

    Raises:
        GraphError: (a ValueError) `default` is not in the graph. A run raises it too, if its
            active agent is not in the graph and there is no fallback.
        TypeError: `fallback` is neither a name nor a node.
    """

    def __init__(
        self,
        graph: HandoffGraph,
        *,
        default: str,
        fallback: str | Callable[..., Any] | Runnable[Any, Any] | None = None,
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
        is_node = fallback is not None and not isinstance(fallback, str)
        self._node = _runnable(fallback) if is_node else None

    def __call__(self, state: Any) -> Any:
        """Route a state, as a node of a graph.

        Returns:
            A command, or the fallback, which LangGraph then runs like any node.
        """
        from langgraph.constants import END
        from langgraph.types import Command

        found = state.get(self.key) if isinstance(state, dict) else getattr(state, self.key, None)
        active = found or self.default
        try:
            target = self.graph.route(active, state)
        except GraphError:
            if self.fallback is None:
                raise
            # There are no rules for this agent.
            target = None
        with self._lock:
            if target is None:
                self.by_fallback += 1
            else:
                self.by_rule += 1
        if target == END:
            # This run ends; the next one starts with the agent that was active.
            return Command(goto=END)
        if target is not None:
            return Command(goto=target, update={self.key: target})
        return self._node or Command(goto=self.fallback or active)

    @property
    def node(self) -> Node:
        """The router itself, typed for `add_node`."""
        return self


def _runnable(node: Any) -> Runnable[Any, Any]:
    """Return the runnable that LangGraph makes of a node, with the parameters that it takes.

    Raises:
        TypeError: It is not a node.
    """
    with requiring_langgraph():
        from langgraph.graph import MessagesState, StateGraph

    # The state schema does not matter here.
    builder: Any = StateGraph(MessagesState).add_node("fallback", node)
    runnable: Runnable[Any, Any] = builder.nodes["fallback"].runnable
    return runnable

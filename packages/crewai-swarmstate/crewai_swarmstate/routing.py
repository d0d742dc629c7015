"""Route CrewAI flows with a `HandoffGraph`, and fall back to a method of the flow."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from swarmstate.errors import GraphError

from .requiring import requiring_crewai

if TYPE_CHECKING:
    from crewai.flow.dsl._types import FlowTrigger
    from swarmstate import HandoffGraph

__all__ = ["handoff_router"]

_Method = TypeVar("_Method", bound=Callable[..., Any])


def handoff_router(
    graph: HandoffGraph,
    condition: FlowTrigger,
    *,
    node: str | None = None,
    emit: Sequence[str] | str = (),
) -> Callable[[_Method], _Method]:
    """Return a decorator like CrewAI's `@router` that lets a graph decide before the method.

    The router takes the first edge from `node` whose condition holds for the flow's state, and
    emits its target as the label that `@listen` names. If no edge matches, it calls the decorated
    method, sync or async, and emits what that returns; None ends the flow there.

    A method must not listen to a label of its own name: CrewAI would take the method's completion
    for that label.

    Args:
        graph: The graph, whose nodes are labels.
        condition: When to route, as `@router` takes it.
        node: The node to route from; by default, the method or label that `condition` names.
        emit: The labels that the method itself may return. Together with the targets of `node`,
            these are the labels that CrewAI shows for the flow.

    Raises:
        GraphError: (a ValueError) `node` is not in the graph, or is missing although `condition`
            names several methods.
        ModuleNotFoundError: CrewAI is not installed.
    """
    with requiring_crewai():
        from crewai.flow.flow import router

    source = node if node is not None else _name(condition)
    graph.as_router(source)  # Raises if the node is unknown.
    labels = [edge.target for edge in graph.edges if edge.source == source]
    labels += [emit] if isinstance(emit, str) else emit

    def decorate(otherwise: _Method) -> _Method:
        if inspect.iscoroutinefunction(otherwise):

            @functools.wraps(otherwise)
            async def route(self: Any, *args: Any, **kwargs: Any) -> Any:
                target = graph.route(source, _state(self))
                return await otherwise(self, *args, **kwargs) if target is None else target
        else:

            @functools.wraps(otherwise)
            def route(self: Any, *args: Any, **kwargs: Any) -> Any:
                target = graph.route(source, _state(self))
                return otherwise(self, *args, **kwargs) if target is None else target

        # The wrapper takes the method's own parameters, which the type of `wraps` does not express.
        return router(condition, emit=labels)(route)  # type: ignore[return-value]

    return decorate


def _state(flow: Any) -> Any:
    # CrewAI 1.14.7 returns a locking proxy for a state, in which conditions find nothing.
    unwrap = getattr(type(flow.state), "_unwrap", None)
    return flow.state if unwrap is None else unwrap(flow.state)


def _name(condition: FlowTrigger) -> str:
    name = condition if isinstance(condition, str) else getattr(condition, "__name__", None)
    if name is None:
        raise GraphError(
            "expected the node to route from, as the condition names several methods: pass node=..."
        )
    return str(name)

"""Routing CrewAI flows by a `HandoffGraph`, with a method of the flow as the last resort."""

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
    """Return a decorator that lets a graph decide what CrewAI's `@router` would ask a method.

    The first edge from `node` whose condition holds for the flow's state is taken, and its target
    is the label that is emitted: what `@listen` names. The method that is decorated, sync or async,
    is called if no edge is taken, and what it returns is emitted; None ends the flow there.

    A method must not listen to a label of its own name: CrewAI would take its end for that label.

    Args:
        graph: Its nodes are labels.
        condition: When to route: what `@router` takes.
        node: The node to route from; by default, the method or label that `condition` names.
        emit: The labels that the method itself may return. With the targets of `node` they are
            what CrewAI shows of the flow.

    Raises:
        GraphError: (a ValueError) `node` is not in the graph, or not given where `condition`
            names several methods.
        ModuleNotFoundError: CrewAI is not installed.
    """
    with requiring_crewai():
        from crewai.flow.flow import router

    source = node if node is not None else _name(condition)
    graph.as_router(source)  # Raises if it is unknown.
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

        # What wraps the method takes what the method takes, which `wraps` does not say.
        return router(condition, emit=labels)(route)  # type: ignore[return-value]

    return decorate


def _state(flow: Any) -> Any:
    # CrewAI 1.14.7 hands out what guards a state by a lock, in which conditions find nothing.
    unwrap = getattr(type(flow.state), "_unwrap", None)
    return flow.state if unwrap is None else unwrap(flow.state)


def _name(condition: FlowTrigger) -> str:
    name = condition if isinstance(condition, str) else getattr(condition, "__name__", None)
    if name is None:
        raise GraphError(
            "expected the node to route from, as the condition names several methods: pass node=..."
        )
    return str(name)

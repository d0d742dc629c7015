"""Routing without a model: conditions decide which node takes over next.

    graph = HandoffGraph()
    for node in ("triage", "billing", "human"):
        graph.add_node(node)
    graph.add_edge("triage", "billing", when="topic == 'invoice' and amount < 100")
    graph.add_edge("triage", "human")
    graph.route("triage", {"topic": "invoice", "amount": 40})  # "billing"

docs/guide.md describes the syntax of conditions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from swarmstate import _core
from swarmstate._drawing import mermaid, svg
from swarmstate.errors import GraphError

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Edge", "Explanation", "HandoffGraph", "Node", "Problem", "Question"]

END = "__end__"
"""LangGraph's name for the node at which a run ends."""


class Edge(NamedTuple):
    """An edge of a `HandoffGraph`.

    Attributes:
        source: The node it leaves.
        target: The node it leads to.
        when: The condition under which it is taken; always if None.
        priority: Edges with a greater priority are tried first.
    """

    source: str
    target: str
    when: str | None = None
    priority: int = 0


class Problem(NamedTuple):
    """A part of a graph that is probably a mistake.

    Attributes:
        kind: "unreachable": no path leads from the entry to the node; "shadowed": an edge is
            never taken, because an earlier one is taken whenever its condition holds;
            "missing_default": all edges of the node have conditions.
        node: The node concerned.
        message: The problem and what to do.
    """

    kind: Literal["unreachable", "shadowed", "missing_default"]
    node: str
    message: str


class Question(NamedTuple):
    """The evaluation of one edge on a state.

    Attributes:
        target: The node that the edge leads to.
        when: Its condition; None for an edge that is always taken.
        holds: Whether the condition holds.
        values: The state's values at the paths of the condition; paths that do not
            exist, or cannot be read, are omitted.
    """

    target: str
    when: str | None
    holds: bool
    values: dict[str, Any]


@dataclass(frozen=True)
class Explanation:
    """Why a state was routed as it was.

    Attributes:
        node: The node it was routed from.
        target: The node that takes over; None if no edge is taken.
        questions: The edges evaluated, in this order, up to the one that is taken.
    """

    node: str
    target: str | None
    questions: list[Question] = field(default_factory=list)

    def __str__(self) -> str:
        """Return one line per evaluated edge."""
        lines = [f"{self.node} -> {self.target or 'none: no edge is taken'}"]
        for question in self.questions:
            values = ", ".join(f"{path} = {value!r:.80}" for path, value in question.values.items())
            asked = question.when or "always"
            answer = "yes" if question.holds else "no"
            lines.append(f"  {question.target}: {asked}: {answer}{values and f' ({values})'}")
        return "\n".join(lines)


class Node(Protocol):
    """A node of a LangGraph graph."""

    def __call__(self, state: Any) -> Any:
        """Return where to go next."""


class HandoffGraph(_core.HandoffGraph):
    """A graph whose edges have conditions on a state, which decide the node that takes over.

    States are dicts, other mappings, pydantic models, dataclasses, messages, or any objects with
    attributes. The first edge whose condition holds is taken: greater priorities first, then in
    the order in which edges were added. The graph may be changed while other threads use it.
    It can be pickled and copied; a copy is independent.

    Args:
        on_cycle: "error" rejects an edge that closes a cycle, "allow" accepts it.

    Raises:
        ValueError: `on_cycle` is neither of these.
    """

    on_cycle: Literal["error", "allow"]

    def __new__(cls, *, on_cycle: Literal["error", "allow"] = "error") -> Self:
        """Return an empty graph."""
        if on_cycle not in ("error", "allow"):
            raise ValueError(f'on_cycle must be "error" or "allow", not {on_cycle!r}')
        made = super().__new__(cls, on_cycle == "allow")
        made.on_cycle = on_cycle
        return made

    def __init__(self, *, on_cycle: Literal["error", "allow"] = "error") -> None:
        """Set up an empty graph."""

    def add_edge(
        self, source: str, target: str, *, when: str | None = None, priority: int = 0
    ) -> None:
        """Add an edge between two nodes.

        Args:
            source: The node it leaves.
            target: The node it leads to.
            when: The condition under which it is taken; always if None.
            priority: Edges with a greater priority are tried first.

        Raises:
            ConditionError: (a ValueError) `when` cannot be parsed; the message shows where.
            TypeError: `when` is not a str.
            GraphError: (a ValueError) A node is unknown, the edge closes a cycle, or the
                priority does not fit in 64 bits.
        """
        self.insert_edge(source, target, when, priority)

    @property
    def edges(self) -> list[Edge]:
        """All edges, grouped by source in node order; each node's in the order they are tried."""
        return [Edge(*edge) for edge in self.list_edges()]

    def explain(self, node: str, state: object) -> Explanation:
        """Return what `route` returns, and why; raise what `route` raises."""
        questions = [Question(*asked) for asked in self.examine(node, state)]
        taken = questions[-1].target if questions and questions[-1].holds else None
        return Explanation(node, taken, questions)

    def validate(self, entry: str | None = None) -> list[Problem]:
        """Return what is probably a mistake.

        Args:
            entry: The node where runs begin; by default the first one.

        Raises:
            GraphError: (a ValueError) `entry` is not in the graph.
        """
        if not self.nodes:
            return []
        edges: dict[str, list[Edge]] = {}
        for edge in self.edges:
            edges.setdefault(edge.source, []).append(edge)
        start = self.nodes[0] if entry is None else entry
        problems = []
        for kind, node, place, other in self.problems(start):
            if kind == "unreachable":
                message = (
                    f"no path leads from {start!r} to {node!r}: add an edge, or remove the node"
                )
            elif kind == "missing_default":
                message = (
                    f"if no condition of {node!r} holds, no node takes over: add an edge without "
                    "one"
                )
            else:
                edge, by = edges[node][place], edges[node][other]
                message = (
                    f"the edge from {node!r} to {edge.target!r} is never taken: the one to "
                    f"{by.target!r} ({by.when or 'always'}) comes before it; give it a higher "
                    "priority, or remove it"
                )
            problems.append(Problem(kind, node, message))
        return problems

    def to_dict(self) -> dict[str, Any]:
        """Return the graph as plain data; `from_dict` turns it back into a graph."""
        edges = []
        for source, target, when, priority in self.edges:
            edge: dict[str, Any] = {"from": source, "to": target}
            if when is not None:
                edge["when"] = when
            if priority:
                edge["priority"] = priority
            edges.append(edge)
        return {"nodes": self.nodes, "edges": edges, "on_cycle": self.on_cycle}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Create a graph from the output of `to_dict`, or from a configuration file.

        Raises:
            GraphError: (a ValueError) A key is missing or unknown, a value has the wrong
                type, or as in `add_edge`.
            ConditionError: (a ValueError) As in `add_edge`.
        """
        _check_keys(data, {"nodes", "edges"}, {"on_cycle"}, "a graph")
        on_cycle = data.get("on_cycle", "error")
        if on_cycle not in ("error", "allow"):
            raise GraphError(f'expected on_cycle to be "error" or "allow", found {on_cycle!r:.200}')
        graph = cls(on_cycle=on_cycle)
        for node in _checked(data["nodes"], (list, tuple), "a list of nodes"):
            graph.add_node(_checked(node, str, "a node name"))
        for edge in _checked(data["edges"], (list, tuple), "a list of edges"):
            _check_keys(edge, {"from", "to"}, {"when", "priority"}, "an edge")
            graph.add_edge(
                _checked(edge["from"], str, "a node name"),
                _checked(edge["to"], str, "a node name"),
                when=_checked(edge.get("when"), (str, type(None)), "a condition"),
                priority=_checked(edge.get("priority", 0), int, "a priority"),
            )
        return graph

    def to_mermaid(self) -> str:
        """Return the graph as a Mermaid flowchart."""
        return mermaid(self.nodes, self.edges)

    def to_svg(self) -> str:
        """Return a drawing of the graph as SVG."""
        return svg(self.nodes, self.edges)

    def _repr_html_(self) -> str:
        """Return the drawing, for notebooks."""
        return self.to_svg()

    def as_router(self, node: str, *, end: str = END) -> Callable[[Any], str]:
        """Return a function that routes a state from `node`.

        It suits LangGraph's `add_conditional_edges`; for a CrewAI flow,
        `crewai_swarmstate.handoff_router` is a `@router`.

        Args:
            node: The node to route from.
            end: The result if no edge is taken; LangGraph's `END` by default.

        Raises:
            GraphError: (a ValueError) `node` is not in the graph.
        """
        if node not in self.nodes:
            raise GraphError(f"expected a node of the graph, found {node!r}")
        route = self.route

        def router(state: Any) -> str:
            return route(node, state) or end

        # LangGraph distinguishes the branches of a node by their names.
        router.__name__ = f"router of {node}"
        return router

    def as_node(self, node: str, *, end: str = END) -> Node:
        """Return a node for a LangGraph graph that goes where `node` hands off to.

        It returns `Command(goto=...)`, so it needs no edges.

        Args:
            node: The node to route from.
            end: Where to go if no edge is taken; LangGraph's `END` by default.

        Raises:
            GraphError: (a ValueError) `node` is not in the graph.
            ModuleNotFoundError: LangGraph, or langgraph-checkpoint-swarmstate, is not installed.
        """
        from swarmstate.integrations.langgraph import routing_node

        return routing_node(self, node, end=end)

    def __reduce__(self) -> tuple[Any, ...]:
        """Let pickle and copy build the graph again."""
        # Read the edges first: the nodes, read later, then include both ends of each edge.
        edges = self.list_edges()
        return _made_again, (type(self), self.on_cycle, self.nodes, edges), vars(self)

    def __repr__(self) -> str:
        return f"<swarmstate.HandoffGraph of {len(self.nodes)} nodes, {len(self.edges)} edges>"


def _made_again(
    cls: type[HandoffGraph],
    on_cycle: Literal["error", "allow"],
    nodes: Iterable[str],
    edges: Iterable[tuple[str, str, str | None, int]],
) -> HandoffGraph:
    """Return the graph that `HandoffGraph.__reduce__` describes, bypassing subclass methods."""
    graph = HandoffGraph.__new__(cls, on_cycle=on_cycle)
    for node in nodes:
        _core.HandoffGraph.add_node(graph, node)
    for edge in edges:
        _core.HandoffGraph.insert_edge(graph, *edge)
    return graph


def _checked(value: Any, kind: type | tuple[type, ...], what: str) -> Any:
    if not isinstance(value, kind):
        raise GraphError(f"expected {what}, found {value!r:.200}")
    return value


def _check_keys(
    data: Mapping[str, Any], needed: set[str], others: Iterable[str], what: str
) -> None:
    if not isinstance(data, Mapping) or not needed <= data.keys() <= needed | set(others):
        raise GraphError(
            f"expected {what} with {sorted(needed)} and optionally {sorted(others)}, "
            f"found {data!r:.200}"
        )

"""Handoff graphs: order, cycles, explanations, probable mistakes, drawings."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import re
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from swarmstate import HandoffGraph
from swarmstate.errors import ConditionError, GraphError
from swarmstate.graph import Edge


def made(edges: list[tuple[Any, ...]], on_cycle: Any = "error") -> HandoffGraph:
    graph = HandoffGraph(on_cycle=on_cycle)
    for name in dict.fromkeys(name for edge in edges for name in edge[:2]):
        graph.add_node(name)
    for source, target, *rest in edges:
        when, priority = (*rest, None, None)[:2]
        graph.add_edge(source, target, when=when, priority=priority or 0)
    return graph


TRIAGE = [
    ("triage", "billing", "topic == 'invoice'"),
    ("triage", "human", "angry", 10),
    ("triage", "lamps", "matches(topic, 'lamp|bulb')"),
    ("triage", "front"),
    ("billing", "human", "amount > 100"),
]


@pytest.mark.parametrize(
    ("state", "target", "everyone"),
    [
        ({"topic": "invoice"}, "billing", ["billing", "front"]),
        ({"topic": "invoice", "angry": True}, "human", ["human", "billing", "front"]),
        ({"topic": "bulbs"}, "lamps", ["lamps", "front"]),
        ({}, "front", ["front"]),
    ],
)
def test_the_first_edge_that_holds_is_taken(
    state: dict[str, Any], target: str, everyone: list[str]
) -> None:
    graph = made(TRIAGE)
    assert graph.route("triage", state) == target
    assert graph.route_all("triage", state) == everyone
    assert graph.route_many("triage", iter([state, {}])) == [target, "front"]


def test_no_edge_is_no_route() -> None:
    graph = made(TRIAGE)
    assert graph.route("billing", {"amount": 3}) is None
    assert graph.route_all("human", {}) == []
    assert graph.route_many("human", [{}, {}]) == [None, None]


def test_unknown_and_known_nodes() -> None:
    graph = made(TRIAGE)
    with pytest.raises(GraphError, match='found "nobody"'):
        graph.route("nobody", {})
    with pytest.raises(GraphError, match='found "nobody"'):
        graph.add_edge("triage", "nobody")
    with pytest.raises(GraphError, match='the graph already has a node "triage"'):
        graph.add_node("triage")
    with pytest.raises(ValueError, match="on_cycle must be"):
        HandoffGraph(on_cycle="ignore")  # type: ignore[arg-type] # invalid on purpose


def test_cycles() -> None:
    edges = [("a", "b"), ("b", "c"), ("c", "a", "again")]
    with pytest.raises(GraphError, match="cycle c -> a -> b -> c"):
        made(edges)
    with pytest.raises(GraphError, match="cycle a -> a"):
        made([("a", "a")])
    graph = made(edges, on_cycle="allow")
    assert not graph.is_dag()
    assert graph.path("b", "a") == ["b", "c", "a"]
    assert made(edges[:2]).is_dag()
    assert made(edges[:2]).path("c", "a") is None


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from("abcde")), max_size=12))
def test_edges_are_refused_exactly_if_they_close_a_cycle(pairs: list[tuple[str, str]]) -> None:
    graph = HandoffGraph()
    for name in "abcde":
        graph.add_node(name)
    reach: dict[str, set[str]] = {name: {name} for name in "abcde"}
    for source, target in pairs:
        if source in reach[target]:
            with pytest.raises(GraphError, match="cycle"):
                graph.add_edge(source, target)
            continue
        graph.add_edge(source, target)
        for reached in reach.values():
            if source in reached:
                reached |= reach[target]
    assert graph.is_dag()
    for name in "abcde":
        for other in "abcde":
            assert (graph.path(name, other) is not None) == (other in reach[name])


def test_explains_what_decided() -> None:
    explained = made(TRIAGE).explain("triage", {"topic": "bulb", "angry": False, "size": 3})
    assert explained.target == "lamps"
    assert [question.holds for question in explained.questions] == [False, False, True]
    assert explained.questions[1].values == {"topic": "bulb"}
    assert str(explained) == (
        "triage -> lamps\n"
        "  human: angry: no (angry = False)\n"
        "  billing: topic == 'invoice': no (topic = 'bulb')\n"
        "  lamps: matches(topic, 'lamp|bulb'): yes (topic = 'bulb')"
    )
    nobody = made(TRIAGE).explain("billing", {})
    assert (nobody.target, nobody.questions[0].values) == (None, {})
    assert str(nobody).startswith("billing -> none: no edge")


def test_validates() -> None:
    graph = made(
        [
            ("a", "b", "x == 1"),
            ("a", "c", "( x==1 )"),
            ("a", "d", None, 5),
            ("e", "a", "y"),
        ]
    )
    found = [(problem.kind, problem.node) for problem in graph.validate()]
    assert found == [
        ("shadowed", "a"),
        ("shadowed", "a"),
        ("unreachable", "e"),
        ("missing_default", "e"),
    ]
    assert "to 'd' (always) comes before it" in graph.validate()[0].message
    assert [problem.kind for problem in graph.validate("e")].count("unreachable") == 0
    assert made([("a", "b", "x"), ("a", "c", "y"), ("a", "b")]).validate() == []
    assert HandoffGraph().validate() == []
    for one, other in [
        ("x == 1", "(x) == 1"),
        ("x.y[0] == 'a'", 'x . y[ 0 ]=="a"'),
        ("exists(x['y'])", 'exists( x["y"] )'),
    ]:
        same = made([("a", "b", one), ("a", "c", other), ("a", "d")])
        assert f"to 'b' ({one}) comes before it" in same.validate()[0].message
    # If several edges come before it, the first is named.
    [problem] = made([("a", "b", "x"), ("a", "c"), ("a", "d", "x")]).validate()
    assert "to 'b' (x) comes before it" in problem.message


def test_round_trips_as_plain_data() -> None:
    graph = made(TRIAGE, on_cycle="allow")
    data = graph.to_dict()
    again = HandoffGraph.from_dict(data)
    assert again.to_dict() == data
    assert again.edges == graph.edges
    assert graph.edges[0] == Edge("triage", "human", "angry", 10)
    assert again.on_cycle == "allow"


class Desk(HandoffGraph):
    """A subclass with its own constructor and its own way to add edges."""

    def __new__(cls, owner: str) -> Desk:
        return super().__new__(cls, on_cycle="allow")

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.me = self

    def add_node(self, name: str) -> None:
        super().add_node(f"{self.owner}/{name}")


def pickled(protocol: int) -> Callable[[HandoffGraph], HandoffGraph]:
    def again(graph: HandoffGraph) -> HandoffGraph:
        made: HandoffGraph = pickle.loads(pickle.dumps(graph, protocol))
        return made

    return again


@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, *map(pickled, range(pickle.HIGHEST_PROTOCOL + 1))],
)
def test_can_be_copied_and_pickled(again: Callable[[HandoffGraph], HandoffGraph]) -> None:
    graph = made([*TRIAGE, ("human", "triage", "again")], on_cycle="allow")
    copied = again(graph)
    assert copied.to_dict() == graph.to_dict()
    assert copied.route("triage", {"topic": "bulbs"}) == "lamps"

    copied.add_node("night")
    copied.add_edge("triage", "night", when="late", priority=11)
    assert copied.route("triage", {"late": True}) == "night"
    assert graph.route("triage", {"late": True}) == "front"
    assert "night" not in graph.nodes

    strict = again(made([("a", "b")]))
    with pytest.raises(GraphError, match="cycle"):
        strict.add_edge("b", "a")
    assert again(HandoffGraph()).to_dict() == HandoffGraph().to_dict()


@pytest.mark.parametrize("again", [copy.deepcopy, pickled(pickle.DEFAULT_PROTOCOL)])
def test_copies_of_subclasses_keep_what_these_added(
    again: Callable[[HandoffGraph], HandoffGraph],
) -> None:
    desk = Desk("ada")
    desk.add_node("triage")
    desk.add_node("human")
    desk.add_edge("ada/triage", "ada/human")
    copied = again(desk)
    assert isinstance(copied, Desk)
    assert copied.to_dict() == desk.to_dict()
    assert (copied.owner, copied.on_cycle) == ("ada", "allow")
    assert copied.me is copied


def test_worker_processes_route_by_a_graph_that_they_are_given() -> None:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        route = pool.submit(made(TRIAGE).route, "triage", {"topic": "invoice"})
        assert route.result() == "billing"


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"nodes": ["a"], "edges": [], "more": 1},
        {"nodes": ["a"], "edges": [{"from": "a"}]},
        {"nodes": ["a"], "edges": [{"from": "a", "to": "b", "if": "x"}]},
        {"nodes": ["a"], "edges": [{"from": "a", "to": "b"}]},
        {"nodes": 3, "edges": []},
        {"nodes": "ab", "edges": []},
        {"nodes": [3], "edges": []},
        {"nodes": [["a"]], "edges": []},
        {"nodes": ["\ud800"], "edges": []},
        {"nodes": [], "edges": None},
        {"nodes": [], "edges": [3]},
        {"nodes": [], "edges": [], "on_cycle": "sometimes"},
        {"nodes": ["a", "b"], "edges": [{"from": "a", "to": ["b"]}]},
        {"nodes": ["a", "b"], "edges": [{"from": "a", "to": "b", "when": 1}]},
        {"nodes": ["a", "b"], "edges": [{"from": "a", "to": "b", "priority": None}]},
        {"nodes": ["a", "b"], "edges": [{"from": "a", "to": "b", "priority": 0.5}]},
        {"nodes": ["a", "b"], "edges": [{"from": "a", "to": "b", "priority": 1 << 63}]},
    ],
)
def test_refuses_what_is_no_graph(data: Any) -> None:
    with pytest.raises(GraphError):
        HandoffGraph.from_dict(data)


def test_names_that_no_node_can_have_are_unknown() -> None:
    graph = made([("a", "b")])
    for ask in (
        lambda: graph.add_node(""),
        lambda: graph.validate(""),
        lambda: graph.add_node("\ud800"),
        lambda: graph.add_edge("a", "\ud800"),
        lambda: graph.add_edge("\ud800", "a"),
        lambda: graph.add_edge("a", "b", priority=1 << 70),
        lambda: graph.route("\ud800", {}),
        lambda: graph.explain("\ud800", {}),
        lambda: graph.validate("\ud800"),
        lambda: graph.path("a", "\ud800"),
    ):
        with pytest.raises(GraphError):
            ask()
    with pytest.raises(ConditionError, match="expected a condition in UTF-8"):
        graph.add_edge("a", "b", when="x == '\ud800'")
    assert graph.edges == [Edge("a", "b")]


def test_a_refused_edge_changes_nothing() -> None:
    graph = made(TRIAGE)
    before = graph.to_dict()
    with pytest.raises(ConditionError):
        graph.add_edge("triage", "billing", when="topic ==")
    assert graph.to_dict() == before


NAMES = st.text(min_size=1, max_size=8)


@given(st.lists(st.tuples(NAMES, NAMES, st.sampled_from([None, "x < 1", "s == '\"<&>]|'"]))))
def test_drawings_are_sound(edges: list[tuple[str, str, str | None]]) -> None:
    graph = made(edges, on_cycle="allow")
    root = ElementTree.fromstring(graph.to_svg())
    texts = ["".join(each.itertext()) for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert len(texts) == len(graph.nodes) + sum(edge.when is not None for edge in graph.edges)
    assert graph._repr_html_() == graph.to_svg()
    lines = graph.to_mermaid().splitlines()
    assert len(lines) == 1 + len(graph.nodes) + len(graph.edges)


def test_a_name_that_is_refused_may_look_at_the_graph() -> None:
    class Name(str):
        def __repr__(self) -> str:
            return f"a name like {graph.nodes}"

    graph = made([("a", "b")])
    name = Name("\ud800")
    attempts: list[Callable[[], None]] = [
        lambda: graph.add_node(name),
        lambda: graph.add_edge(name, "b"),
        lambda: graph.add_edge("a", name),
    ]
    for refused in attempts:
        with pytest.raises(GraphError, match=r"found a name like \['a', 'b'\]"):
            refused()


def test_a_drawing_shows_names_as_they_are() -> None:
    root = ElementTree.fromstring(made([("👩\u200d💻 & co", "a\x00b")]).to_svg())
    assert [text for each in root if (text := "".join(each.itertext()).strip())] == [
        "👩\u200d💻 & co",
        "a\ufffdb",
    ]


def test_a_drawing_needs_no_order_of_painting() -> None:
    # Converters to PNG and PDF paint the stroke over the text, whatever `paint-order` says.
    root = ElementTree.fromstring(made(TRIAGE).to_svg())
    texts = list(root.iter("{http://www.w3.org/2000/svg}text"))
    assert len(texts) > len(made(TRIAGE).nodes)
    assert not any("stroke" in each.attrib for each in texts)


def test_a_drawing_shows_what_each_condition_belongs_to() -> None:
    # An edge back has its condition between the two nodes; a self-loop has it beside the node.
    edges = [("a", "b", "x"), ("b", "a", "not x"), ("b", "b", "again"), ("b", "a", None)]
    root = ElementTree.fromstring(made(edges, on_cycle="allow").to_svg())
    texts = list(root.iter("{http://www.w3.org/2000/svg}text"))
    heights = {each.text: float(each.attrib["y"]) for each in texts}
    assert sorted(heights, key=lambda text: heights[text]) == ["a", "not x", "x", "b", "again"]
    paths = [each.attrib["d"] for each in root.iter("{http://www.w3.org/2000/svg}path")][1:]
    ends = [end for path in paths for end in re.findall(r"^M(\S+ [^C]+)|(\S+ \S+)$", path)]
    assert len(paths) == len(edges)
    assert len(set(ends)) == len(ends)


def test_a_drawing_has_room_for_what_it_shows() -> None:
    long = "matches(lower(text), 'a text that is much wider than its node')"
    root = ElementTree.fromstring(
        made([("MW", "ij"), ("ij", "ij", long)], on_cycle="allow").to_svg()
    )
    left, _, width, _ = map(float, root.attrib["viewBox"].split())
    for each in root.iter("{http://www.w3.org/2000/svg}rect"):
        x = float(each.get("x", left))
        assert left <= x
        assert x + float(each.attrib["width"]) <= left + width
    name = "\u5ba2\u670d\u4e2d\u5fc3\u63a5\u5f85"
    graph = HandoffGraph()
    graph.add_node(name)
    [_, wide] = ElementTree.fromstring(graph.to_svg()).findall("{*}rect")
    assert float(wide.attrib["width"]) > 13 * len(name)


def test_a_mermaid_chart() -> None:
    graph = made([("start here", "b", "x == 'y'"), ("start here", "c")])
    assert graph.to_mermaid() == (
        "flowchart TD\n"
        '    n0["start here"]\n'
        '    n1["b"]\n'
        '    n2["c"]\n'
        "    n0 -->|\"x == 'y'\"| n1\n"
        "    n0 --> n2\n"
    )


def test_names_in_a_mermaid_chart_are_no_markdown() -> None:
    graph = made([("1. triage", "__end__", "tags[0].last_name == 'x'"), ("1. triage", "[a](b)")])
    assert graph.to_mermaid() == (
        "flowchart TD\n"
        '    n0["1#46; triage"]\n'
        '    n1["#95;#95;end#95;#95;"]\n'
        '    n2["[a#93;#40;b)"]\n'
        "    n0 -->|\"tags[0].last_name == 'x'\"| n1\n"
        "    n0 --> n2\n"
    )


def test_may_be_asked_while_it_changes() -> None:
    graph = HandoffGraph()
    for number in range(51):
        graph.add_node(str(number))

    class Changing:
        """Adds an edge when it is read."""

        number = 0

        @property
        def topic(self) -> str:
            self.number += 1
            graph.add_edge("0", str(self.number), when="False")
            return "none"

    graph.add_edge("0", "50", when="topic == 'lamp'", priority=1)
    assert graph.route("0", Changing()) is None

    def ask(_: int) -> None:
        for _ in range(200):
            assert graph.route("0", {"topic": "lamp"}) == "50"

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask, number) for number in range(4)]
        for number in range(2, 50):
            graph.add_edge("0", str(number), when=f"topic == '{number}'")
        for each in asked:
            each.result()
    assert len(graph.edges) == 50


def test_routers() -> None:
    graph = made(TRIAGE)
    router = graph.as_router("triage")
    assert router({"topic": "invoice"}) == "billing"
    assert graph.as_router("billing")({}) == "__end__"
    assert graph.as_router("billing", end="stop")({}) == "stop"
    with pytest.raises(GraphError, match="nobody"):
        graph.as_router("nobody")


def test_a_path_is_a_shortest_one() -> None:
    graph = HandoffGraph()
    for node in "abcde":
        graph.add_node(node)
    for source, target in ("ab", "ac", "bd", "ce", "ed"):
        graph.add_edge(source, target)
    assert graph.path("a", "d") == ["a", "b", "d"]
    assert graph.path("a", "a") == ["a"]
    assert graph.path("d", "a") is None


def test_all_routes_name_a_node_once() -> None:
    graph = HandoffGraph()
    for node in ("a", "b", "c"):
        graph.add_node(node)
    graph.add_edge("a", "b", when="urgent")
    graph.add_edge("a", "c")
    graph.add_edge("a", "b", when="amount > 1")
    assert graph.route_all("a", {"urgent": True, "amount": 2}) == ["b", "c"]


def test_attributes_of_plain_data_are_no_state() -> None:
    graph = HandoffGraph()
    for node in ("a", "b"):
        graph.add_node(node)
    graph.add_edge("a", "b", when="exists(amount.real) or exists(name.real)")
    assert graph.route("a", {"amount": 1, "name": "x"}) is None
    assert graph.route("a", {"amount": 1.5}) is None
    assert graph.route("a", {"amount": {"real": 1}}) == "b"

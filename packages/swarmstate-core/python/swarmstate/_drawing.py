"""Drawings of graphs: Mermaid, and SVG in layers from top to bottom."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from itertools import count
from typing import TYPE_CHECKING, NamedTuple
from unicodedata import east_asian_width

if TYPE_CHECKING:
    from swarmstate.graph import Edge

__all__ = ["letters", "mermaid", "svg", "xml_text"]

_HEIGHT = 34
_GAP = 30
_BETWEEN = 60.0
_ROW = 15
_LETTER = 7.4
_LABEL_LETTER = 5.6
_MARGIN = 20.0


def mermaid(nodes: Sequence[str], edges: Sequence[Edge]) -> str:
    """Return a flowchart; names are shown literally, whatever they contain."""
    numbers = {name: number for number, name in enumerate(nodes)}
    lines = ["flowchart TD"]
    lines += [f'    n{number}["{_quoted(name)}"]' for name, number in numbers.items()]
    for source, target, when, _ in edges:
        label = f'|"{_quoted(when)}"|' if when is not None else ""
        lines.append(f"    n{numbers[source]} -->{label} n{numbers[target]}")
    return "\n".join(lines) + "\n"


# What Mermaid would interpret as Markdown: emphasis, a list item's number, a link.
_MARKDOWN = re.compile(r"(?<![^\W_])_|_(?![^\W_])|^\s*\d+[.)]|\]\(")


def _quoted(text: str) -> str:
    """Return text escaped for Mermaid's labels: with entities, which begin with #."""
    marked = {place for found in _MARKDOWN.finditer(text) for place in range(*found.span())}
    return "".join(
        each
        if each.isalnum() or (each in " _.,=!()[]'" and place not in marked)
        else f"#{ord(each)};"
        for place, each in enumerate(text)
    )


def svg(nodes: Sequence[str], edges: Sequence[Edge]) -> str:
    """Return an SVG document with each node below those that lead to it, except in cycles."""
    plan = _planned(nodes, edges)
    lines, labels = _drawn_edges(plan, edges)
    left = min([0.0, *(x - _MARGIN for x, _, _, _ in labels)])
    right = max([plan.width, *(x + covered + _MARGIN for x, _, covered, _ in labels)])
    size = f'width="{right - left:.0f}" height="{plan.height:.0f}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} '
        f'viewBox="{left:.0f} 0 {right - left:.0f} {plan.height:.0f}" '
        'font-family="sans-serif" font-size="13">',
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto"><path d="M0 0L8 4L0 8z" fill="#57606a"/></marker></defs>',
        f'<rect x="{left:.0f}" {size} fill="#ffffff"/>',
        *lines,
    ]
    for x, y, covered, text in labels:
        # Avoid what many converters do not support, such as painting a stroke below the text.
        parts.append(
            f'<rect x="{x:.1f}" y="{y - 11:.1f}" width="{covered:.1f}" '
            f'height="{_ROW}" fill="#ffffff"/>'
            f'<text x="{x + covered / 2:.1f}" y="{y:.1f}" text-anchor="middle" '
            f'font-size="11" fill="#0a3069">{xml_text(text)}</text>'
        )
    for name, (x, y) in plan.places.items():
        width = plan.widths[name]
        parts.append(
            f'<rect x="{x - width / 2:.1f}" y="{y:.1f}" width="{width:.1f}" '
            f'height="{_HEIGHT}" rx="8" fill="#ddf4ff" stroke="#0969da"/>'
            f'<text x="{x:.1f}" y="{y + 22:.1f}" text-anchor="middle">{xml_text(name)}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def letters(text: str) -> float:
    """Return the approximate width of a text, in letters of average width."""
    return sum(
        1.8 if each in "MWm@%" or east_asian_width(each) in "WF" else 1.2 if each.isupper() else 1.0
        for each in text
    )


class _Plan(NamedTuple):
    """The layout of a drawing.

    Attributes:
        width: The width of the drawing.
        height: Its height.
        places: The middle of the upper side of each node, in node order.
        widths: The width of each node.
        depths: The layer of each node.
        rows: The number of edge labels above each node.
        beside: For each layer, the number of edges between its own nodes.
    """

    width: float
    height: float
    places: dict[str, tuple[float, float]]
    widths: dict[str, float]
    depths: dict[str, int]
    rows: dict[str, int]
    beside: list[int]


def _planned(nodes: Sequence[str], edges: Sequence[Edge]) -> _Plan:
    layers = _layers(nodes, edges)
    depths = {name: depth for depth, layer in enumerate(layers) for name in layer}
    widths = {name: max(60.0, letters(name) * _LETTER + 24) for name in nodes}
    # The labels of edges that lead down are stacked above the node that they lead to.
    columns = dict(widths)
    rows = dict.fromkeys(nodes, 0)
    # Below a layer are first its sideways edges, then the labels of edges that lead up to it.
    beside, up = [0] * len(layers), [0] * len(layers)
    for source, target, when, _ in edges:
        depth = depths[target]
        if depth > depths[source]:
            label = letters(when or "") * _LABEL_LETTER
            columns[target] = max(columns[target], label)
            rows[target] += when is not None
        else:
            beside[depth] += depth == depths[source]
            up[depth] += depth < depths[source] and when is not None
    spans = [sum(columns[name] for name in layer) + _GAP * (len(layer) - 1) for layer in layers]
    width = max(spans, default=0) + 2 * _MARGIN + 2 * _GAP
    places = dict.fromkeys(nodes, (0.0, 0.0))
    y = _MARGIN
    for depth, (layer, span) in enumerate(zip(layers, spans, strict=True)):
        y += (_BETWEEN if depth else 0) + _ROW * max(rows[name] for name in layer)
        x = (width - span) / 2
        for name in layer:
            places[name] = (x + columns[name] / 2, y)
            x += columns[name] + _GAP
        y += _HEIGHT + _ROW * (up[depth] + beside[depth] + (beside[depth] > 0))
    return _Plan(width, y + _MARGIN, places, widths, depths, rows, beside)


class _Ends:
    """Where edges touch one side of each node: next to each other, as far as there is room."""

    def __init__(self, widths: dict[str, float]) -> None:
        self._widths = widths
        self._taken: dict[str, set[int]] = {name: set() for name in widths}

    def next(self, name: str, side: int) -> float:
        """Return how far from the middle of a node its next edge is.

        Args:
            name: The node.
            side: 1 for the right of the middle, -1 for the left, 0 for the nearest place.
        """
        taken = self._taken[name]
        places = (step * sign for step in count() for sign in (1, -1) if step or not side)
        place = next(each for each in places if each not in taken and each * side >= 0)
        taken.add(place)
        room = self._widths[name] / 2 - 8
        return max(-room, min(room, 14.0 * place))


# The left end of a label, its baseline, its width, and the text.
_Label = tuple[float, float, float, str]


def _drawn_edges(plan: _Plan, edges: Sequence[Edge]) -> tuple[list[str], list[_Label]]:
    """Return the SVG elements of all edges, and their labels."""
    lines: list[str] = []
    labels: list[_Label] = []
    above, below = _Ends(plan.widths), _Ends(plan.widths)
    labelled = dict.fromkeys(plan.places, 0)
    sideways, upwards = [0] * len(plan.beside), list(plan.beside)
    for source, target, when, _ in edges:
        (x1, y1), (x2, y2) = plan.places[source], plan.places[target]
        depth = plan.depths[target]
        covered = letters(when or "") * _LABEL_LETTER
        if depth > plan.depths[source]:
            shift = above.next(target, 0)
            # Of several edges between two nodes, the outer one turns away from the others early.
            bend = shift * (0.6 if x2 > x1 else -0.6)
            path = _curve((x1, y1 + _HEIGHT), (x2 + shift, y2), bend)
            labelled[target] += when is not None
            row = y2 - 14 - _ROW * (plan.rows[target] - labelled[target])
            place = x2 - covered / 2
        elif depth == plan.depths[source]:
            sideways[depth] += 1
            row = y2 + _HEIGHT + _ROW * (sideways[depth] + 0.5)
            side = 1 if x1 < x2 else -1
            start, end = x1 + below.next(source, side), x2 + below.next(target, -side)
            # The curve reaches three quarters of this depth, which is the height of the row.
            low = y2 + _HEIGHT + _ROW * (sideways[depth] + 0.5) / 0.75
            path = (
                f"M{start:.1f} {y1 + _HEIGHT:.1f}"
                f"C{start:.1f} {low:.1f} {end:.1f} {low:.1f} {end:.1f} {y2 + _HEIGHT:.1f}"
            )
            place = max(start, end) + 6 if source == target else (start + end - covered) / 2
            row += 0 if source == target else 4
        else:
            upwards[depth] += when is not None
            row = y2 + _HEIGHT + _BETWEEN / 2 + _ROW * upwards[depth]
            # On the same side of both, so as not to cross an edge that leads down between them.
            side = -1 if x1 < x2 else 1
            first = x1 + above.next(source, side), y1
            last = x2 + below.next(target, side), y2 + _HEIGHT
            path = _curve(first, last)
            place = _crossing(first, last, row) - covered / 2
            row += 4
        dash = "" if when is not None else ' stroke-dasharray="5 4"'
        lines.append(
            f'<path d="{path}" fill="none" stroke="#57606a"{dash} marker-end="url(#arrow)"/>'
        )
        if when is not None:
            labels.append((place, row, covered, when))
    return lines, labels


# Characters that XML cannot represent, even escaped.
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def xml_text(text: str) -> str:
    """Return text escaped for XML, without the characters that it cannot represent."""
    return escape(_NOT_IN_XML.sub("\ufffd", text))


def _layers(nodes: Sequence[str], edges: Sequence[Edge]) -> list[list[str]]:
    """Return nodes in layers, by how many steps the first path to them takes."""
    targets: dict[str, list[str]] = {}
    for edge in edges:
        targets.setdefault(edge.source, []).append(edge.target)
    led_to = {edge.target for edge in edges if edge.target != edge.source}
    depths: dict[str, int] = {}
    # Start with the nodes that nothing leads to; then add those that only a cycle leads to.
    for start in [*(name for name in nodes if name not in led_to), *nodes]:
        if start in depths:
            continue
        depths[start] = 0
        reached = [start]
        for name in reached:
            for target in targets.get(name, ()):
                if target not in depths:
                    depths[target] = depths[name] + 1
                    reached.append(target)
    layers: list[list[str]] = [[] for _ in range(max(depths.values(), default=-1) + 1)]
    for name in nodes:
        layers[depths[name]].append(name)
    return layers


def _curve(start: tuple[float, float], end: tuple[float, float], bend: float = 0.0) -> str:
    """Return a path that begins and ends vertically, and turns `bend` above the middle."""
    (x1, y1), (x2, y2) = start, end
    middle = (y1 + y2) / 2 - bend
    return f"M{x1:.1f} {y1:.1f}C{x1:.1f} {middle:.1f} {x2:.1f} {middle:.1f} {x2:.1f} {y2:.1f}"


def _crossing(start: tuple[float, float], end: tuple[float, float], y: float) -> float:
    """Return where such a path without a bend is at a given height."""
    (x1, y1), (x2, y2) = start, end
    least, most = 0.0, 1.0
    for _ in range(20):
        t = (least + most) / 2
        # The two inner control points are at half the height.
        passed = 1.5 * t * (1 - t) + t**3
        least, most = (t, most) if y1 + (y2 - y1) * passed > y else (least, t)
    return x1 + (x2 - x1) * (3 * t * t - 2 * t**3)

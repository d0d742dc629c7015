"""Drawings of graphs: Mermaid, and SVG in layers from top to bottom."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from swarmstate.graph import Edge

__all__ = ["mermaid", "svg", "xml_text"]

_HEIGHT = 34
_GAP = 30
_BETWEEN = 60.0
_ROW = 15
_LETTER = 7.4
_LABEL_LETTER = 5.6
_MARGIN = 20.0


def mermaid(nodes: Sequence[str], edges: Sequence[Edge]) -> str:
    """Return a flowchart; names are shown as they are, whatever they hold."""
    numbers = {name: number for number, name in enumerate(nodes)}
    lines = ["flowchart TD"]
    lines += [f'    n{number}["{_quoted(name)}"]' for name, number in numbers.items()]
    for source, target, when, _ in edges:
        label = f'|"{_quoted(when)}"|' if when is not None else ""
        lines.append(f"    n{numbers[source]} -->{label} n{numbers[target]}")
    return "\n".join(lines) + "\n"


# What Mermaid would take for Markdown: emphasis, the number of an item, a link.
_MARKDOWN = re.compile(r"(?<![^\W_])_|_(?![^\W_])|^\s*\d+[.)]|\]\(")


def _quoted(text: str) -> str:
    """Return text as Mermaid's labels take it: with entities, which are written with #."""
    marked = {place for found in _MARKDOWN.finditer(text) for place in range(*found.span())}
    return "".join(
        each
        if each.isalnum() or (each in " _.,=!()[]'" and place not in marked)
        else f"#{ord(each)};"
        for place, each in enumerate(text)
    )


def svg(nodes: Sequence[str], edges: Sequence[Edge]) -> str:
    """Return an SVG document: each node below those that lead to it, cycles aside."""
    plan = _planned(nodes, edges)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{plan.width:.0f}" '
        f'height="{plan.height:.0f}" viewBox="0 0 {plan.width:.0f} {plan.height:.0f}" '
        'font-family="sans-serif" font-size="13">',
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto"><path d="M0 0L8 4L0 8z" fill="#57606a"/></marker></defs>',
        f'<rect width="{plan.width:.0f}" height="{plan.height:.0f}" fill="#ffffff"/>',
        *_drawn_edges(plan, edges),
    ]
    for name, (x, y) in plan.places.items():
        width = plan.widths[name]
        parts.append(
            f'<rect x="{x - width / 2:.1f}" y="{y:.1f}" width="{width:.1f}" '
            f'height="{_HEIGHT}" rx="8" fill="#ddf4ff" stroke="#0969da"/>'
            f'<text x="{x:.1f}" y="{y + 22:.1f}" text-anchor="middle">{xml_text(name)}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


class _Plan(NamedTuple):
    """Where everything is in a drawing.

    Attributes:
        width: The width of the drawing.
        height: Its height.
        places: The middle of the upper side of each node, in the nodes' order.
        widths: The width of each node.
        rows: How many labels of edges stand above each node.
    """

    width: float
    height: float
    places: dict[str, tuple[float, float]]
    widths: dict[str, float]
    rows: dict[str, int]


def _planned(nodes: Sequence[str], edges: Sequence[Edge]) -> _Plan:
    layers = _layers(nodes, edges)
    widths = {name: max(60.0, len(name) * _LETTER + 24) for name in nodes}
    # The labels of edges stand in a column above the node that they lead to.
    columns = dict(widths)
    rows = dict.fromkeys(nodes, 0)
    for edge in edges:
        label = len(edge.when or "") * _LABEL_LETTER
        columns[edge.target] = max(columns[edge.target], label)
        rows[edge.target] += edge.when is not None
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
        y += _HEIGHT
    return _Plan(width, y + _MARGIN + _BETWEEN / 2, places, widths, rows)


def _drawn_edges(plan: _Plan, edges: Sequence[Edge]) -> list[str]:
    """Return all edges, and over them their labels."""
    lines, labels = [], []
    entered = dict.fromkeys(plan.places, 0)
    labelled = dict.fromkeys(plan.places, 0)
    for edge in edges:
        x, y = plan.places[edge.target]
        # Edges to one node end beside each other.
        shift = (entered[edge.target] + 1) // 2 * (14 if entered[edge.target] % 2 else -14)
        entered[edge.target] += 1
        dash = "" if edge.when is not None else ' stroke-dasharray="5 4"'
        lines.append(
            f'<path d="{_curve(plan.places[edge.source], (x + shift, y))}" fill="none" '
            f'stroke="#57606a"{dash} marker-end="url(#arrow)"/>'
        )
        if edge.when is not None:
            labelled[edge.target] += 1
            row = y - 14 - _ROW * (plan.rows[edge.target] - labelled[edge.target])
            covered = len(edge.when) * _LABEL_LETTER
            # What many converters do not know, such as a stroke below the text, is not used.
            labels.append(
                f'<rect x="{x - covered / 2:.1f}" y="{row - 11:.1f}" width="{covered:.1f}" '
                f'height="{_ROW}" fill="#ffffff"/>'
                f'<text x="{x:.1f}" y="{row:.1f}" text-anchor="middle" '
                f'font-size="11" fill="#0a3069">{xml_text(edge.when)}</text>'
            )
    return lines + labels


# What XML has no way to write, not even escaped.
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def xml_text(text: str) -> str:
    """Return text as XML takes it, which has no control characters."""
    return escape(_NOT_IN_XML.sub("\ufffd", text))


def _layers(nodes: Sequence[str], edges: Sequence[Edge]) -> list[list[str]]:
    """Return nodes by how many steps the first path to them takes, in their own order."""
    targets: dict[str, list[str]] = {}
    for edge in edges:
        targets.setdefault(edge.source, []).append(edge.target)
    led_to = {edge.target for edge in edges if edge.target != edge.source}
    depths: dict[str, int] = {}
    # Those that nothing leads to begin; then whatever only a cycle leads to.
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


def _curve(start: tuple[float, float], end: tuple[float, float]) -> str:
    """Return the path of an edge between the places of two nodes."""
    (x1, y1), (x2, y2) = start, end
    if y2 > y1:
        y1 += _HEIGHT
        middle = (y1 + y2) / 2
        return f"M{x1:.1f} {y1:.1f}C{x1:.1f} {middle:.1f} {x2:.1f} {middle:.1f} {x2:.1f} {y2:.1f}"
    # Back or beside: around below both.
    y1, y2 = y1 + _HEIGHT, y2 + _HEIGHT
    low = y1 + _BETWEEN / 2
    return f"M{x1:.1f} {y1:.1f}C{x1 + 50:.1f} {low:.1f} {x2 + 50:.1f} {low:.1f} {x2:.1f} {y2:.1f}"

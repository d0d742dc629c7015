"""Flame graphs of where time went: blocks as wide as their time, above their parts."""

from __future__ import annotations

from collections.abc import Iterator

from swarmstate._drawing import letters, xml_text
from swarmstate.observability._timeline import Kind, Path

__all__ = ["Block", "flame"]

_WIDTH = 960.0
_ROW = 22
_LETTER = 6.6
_MARGIN = 10.0
_HEAD = 28
_COLOURS: dict[Kind, str] = {
    "framework": "#b0bec5",
    "node": "#ffb74d",
    "encode": "#ef9a9a",
    "decode": "#ce93d8",
    "store I/O": "#90caf9",
    "waiting": "#eceff1",
}


class Block:
    """Something that took time, and its parts.

    Args:
        name: Its name.
        kind: The category, which determines its color.
    """

    def __init__(self, name: str, kind: Kind) -> None:
        self.name = name
        self.kind: Kind = kind
        self.seconds = 0.0
        self.parts: dict[str, Block] = {}

    def add(self, path: Path, kind: Kind, seconds: float) -> None:
        """Add time to one of its parts, and so to the block itself."""
        self.seconds += seconds
        if path:
            part = self.parts.setdefault(path[0], Block(path[0], kind))
            if len(path) == 1:
                part.kind = kind
            part.add(path[1:], kind, seconds)

    def depth(self) -> int:
        """Return the number of levels of parts."""
        return 1 + max((part.depth() for part in self.parts.values()), default=-1)


def flame(root: Block, title: str) -> str:
    """Return an SVG document; each block has its name, if it fits, and its time in a title."""
    height = _HEAD + root.depth() * _ROW + 2 * _MARGIN
    total = root.seconds or 1.0
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {_WIDTH:.0f} {height:.0f}" font-family="Helvetica, Arial, sans-serif" '
        'font-size="12">',
        f'<rect width="{_WIDTH:.0f}" height="{height:.0f}" fill="#ffffff"/>',
        f'<text x="{_MARGIN}" y="{_MARGIN + 12}" fill="#263238">{xml_text(title)}, '
        f"{root.seconds * 1e3:.2f} ms</text>",
    ]
    scale = (_WIDTH - 2 * _MARGIN) / total
    lines += _draw(root, _MARGIN, float(_HEAD), scale, total)
    return "\n".join([*lines, "</svg>"]) + "\n"


def _draw(block: Block, x: float, y: float, scale: float, total: float) -> Iterator[str]:
    for part in sorted(block.parts.values(), key=lambda part: -part.seconds):
        width = part.seconds * scale
        if width <= 0:
            continue
        said = f"{part.name}: {part.seconds * 1e3:.3f} ms, {part.seconds / total:.1%}"
        yield (
            f'<g><title>{xml_text(said)}</title><rect x="{x:.2f}" y="{y:.0f}" width="{width:.2f}" '
            f'height="{_ROW - 1}" fill="{_COLOURS[part.kind]}" stroke="#ffffff"/>'
        )
        fitting = int((width - 6) / _LETTER)
        if fitting >= 3:
            label = _cut(part.name, fitting)
            yield (
                f'<text x="{x + 4:.2f}" y="{y + 15:.0f}" fill="#263238">{xml_text(label)}</text>'
            )
        yield "</g>"
        yield from _draw(part, x, y + _ROW, scale, total)
        x += width


def _cut(name: str, fitting: int) -> str:
    """Return as much of a name as there is room for."""
    if letters(name[: fitting + 1]) <= fitting:
        return name
    head = name[: fitting - 1]
    while letters(head) > fitting - 1:
        head = head[:-1]
    return f"{head}…"

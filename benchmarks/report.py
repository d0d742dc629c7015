"""Tables that read well both as plain text and as Markdown."""

from __future__ import annotations

from pathlib import Path


class Table:
    """A titled table; all columns but the first two are numeric.

    Args:
        title: What was measured, with its size.
        columns: The column headings.
    """

    def __init__(self, title: str, columns: list[str]) -> None:
        self.title = title
        self.columns = columns
        self.rows: list[list[str]] = []

    def add(self, *cells: str) -> None:
        """Add a row."""
        self.rows.append(list(cells))

    def __str__(self) -> str:
        """Return the table as Markdown with aligned columns."""
        cells = [self.columns, *self.rows]
        widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(self.columns))]
        left = [not any(row[i][:1].isdigit() for row in self.rows) for i in range(len(widths))]

        def line(row: list[str]) -> str:
            padded = (
                cell.ljust(width) if is_left else cell.rjust(width)
                for cell, width, is_left in zip(row, widths, left, strict=True)
            )
            return f"| {' | '.join(padded)} |"

        rule = "|".join(
            "-" * (width + 2) if is_left else "-" * (width + 1) + ":"
            for width, is_left in zip(widths, left, strict=True)
        )
        lines = [line(self.columns), f"|{rule}|", *map(line, self.rows)]
        return "\n".join([f"**{self.title}**", "", *lines])


def seconds(value: float) -> str:
    """Return a duration with its unit."""
    if value < 1e-3:
        return f"{value * 1e6:.1f} µs"
    return f"{value * 1e3:.1f} ms" if value < 1 else f"{value:.2f} s"


def milliseconds(value: float) -> str:
    """Return a duration in ms, or in seconds from 1 s up."""
    return f"{value * 1e3:.2f} ms" if value < 1 else f"{value:.2f} s"


def megabytes(value: float) -> str:
    """Return a number of bytes in MB."""
    return f"{value / 1e6:.2f} MB"


def ratio(value: float | None) -> str:
    """Return a ratio; "-" if there is nothing to divide by."""
    if value is None:
        return "-"
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def replace_between(path: Path, name: str, content: str) -> None:
    """Replace the text between the markers `name` in a Markdown file.

    Raises:
        ValueError: The file has no such markers.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = path.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"expected {begin} and {end} in {path}, found at most one of them")
    path.write_text(f"{before}{begin}\n{content.strip()}\n{end}{after}")

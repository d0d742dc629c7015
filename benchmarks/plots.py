"""Plots of the growth benchmark; they need the dependency group `bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.contenders import (
    CONTENDERS,
    FULL,
    MEMORY,
    NORMAL,
    NOTHING,
    OURS,
    POSTGRES,
    REDIS,
    Contender,
)
from benchmarks.rounds import Rounds, at

# Contenders with the same `keeps` share a color, since only they are compared. Ours are bold.
_COLORS = {
    NOTHING: "#777777",
    MEMORY: "#d9730d",
    FULL: "#14539a",
    NORMAL: "#5aa9e6",
    POSTGRES: "#14539a",
    REDIS: "#b02a30",
}
_HEIGHT = 4.5
# The distance between two labels as a fraction of the plot's height: about a line of text.
_LABEL_GAP = 0.052


class _Line(NamedTuple):
    contender: Contender
    is_ours: bool
    values: list[float]


def growth(name: str, rounds: Rounds, turns: int, folder: Path) -> list[Path]:
    """Plot the time a turn and the bytes stored over a benchmark's turns as SVG; return the files.

    Raises:
        ModuleNotFoundError: matplotlib is missing; the message says how to install it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    time, stored = folder / f"{name}-time.svg", folder / f"{name}-size.svg"
    _plot(_lines(rounds, "turn_seconds", 1e3), turns, "ms a turn", "linear", time)
    _plot(_lines(rounds, "stored_bytes", 1e-6), turns, "MB stored", "log", stored)
    return [time, stored]


def _lines(rounds: Rounds, what: str, unit: float) -> list[_Line]:
    """Return one figure, by tenth of the run, for each contender that has it."""
    lines = []
    for name, results in rounds.results.items():
        if results[0][what][-1] is not None:
            tenths = range(len(results[0][what]))
            values = [rounds.median(name, at(what, tenth)) * unit for tenth in tenths]
            lines.append(_Line(CONTENDERS[name], name in OURS.values(), values))
    return lines


def _plot(lines: list[_Line], turns: int, label: str, scale: str, target: Path) -> None:
    pyplot = load_pyplot()
    figure, axes = pyplot.subplots(figsize=(10, _HEIGHT))
    for line in lines:
        count = len(line.values)
        axes.plot(
            [turns * (tenth + 1) / count for tenth in range(count)],
            line.values,
            color=_COLORS[line.contender.keeps],
            linewidth=2.8 if line.is_ours else 1.3,
            linestyle="-" if line.is_ours else _style(line.contender),
        )
    axes.set_yscale(scale)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlim(turns / 10, turns)
    if scale == "linear":
        axes.set_ylim(bottom=0)
    axes.set_xlabel("turns on the thread")
    axes.set_ylabel(label)
    axes.grid(True, alpha=0.2)
    axes.spines[["top", "right"]].set_visible(False)
    _label(axes, lines)
    figure.tight_layout()
    # Without a date and with fixed ids, the file changes only when the results do.
    figure.savefig(target, metadata={"Date": None})
    pyplot.close(figure)


def _style(contender: Contender) -> str:
    if contender.delta:
        return ":"
    return "-." if contender.peer else "--"


def _label(axes: Any, lines: list[_Line]) -> None:
    """Write each line's name at its end, moved up far enough to clear the name below."""
    to_height = axes.transData + axes.transAxes.inverted()
    ends = [(to_height.transform((1, line.values[-1]))[1], line) for line in lines]
    next_free = 0.0
    for height, line in sorted(ends, key=lambda end: end[0]):
        place = max(height, next_free)
        next_free = place + _LABEL_GAP
        color = _COLORS[line.contender.keeps]
        axes.annotate(
            f"{line.contender.label} ({line.contender.keeps})",
            xy=(1, height),
            xytext=(1.04, place),
            xycoords="axes fraction",
            color=color,
            fontsize=8,
            fontweight="bold" if line.is_ours else "normal",
            verticalalignment="center",
            arrowprops={
                "arrowstyle": "-",
                "color": color,
                "linewidth": 0.6,
                "relpos": (0, 0.5),
                "shrinkA": 2,
            },
        )


def load_pyplot() -> Any:
    """Return matplotlib's pyplot, set up to draw SVG.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "expected matplotlib for the plots, found none; run `uv sync --group bench`"
        ) from error
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "swarmstate"
    from matplotlib import pyplot

    return pyplot

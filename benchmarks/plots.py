"""Plots of the growth benchmark; they need the dependency group `bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.contenders import CONTENDERS, OURS
from benchmarks.rounds import Rounds, at


def growth(name: str, rounds: Rounds, turns: int, folder: Path) -> list[Path]:
    """Write time a turn and bytes stored over the turns of a benchmark as SVG; return the files.

    Raises:
        ModuleNotFoundError: matplotlib is missing; the message says how to install it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    time, stored = folder / f"{name}-time.svg", folder / f"{name}-size.svg"
    _plot(rounds, turns, "turn_seconds", 1e3, "ms a turn", "linear", time)
    _plot(rounds, turns, "stored_bytes", 1e-6, "MB stored", "log", stored)
    return [time, stored]


def _plot(
    rounds: Rounds, turns: int, what: str, unit: float, label: str, scale: str, target: Path
) -> None:
    pyplot = load_pyplot()
    figure, axes = pyplot.subplots(figsize=(10, 4.5))
    colors = pyplot.colormaps["tab20"].colors
    for name, results in rounds.results.items():
        if results[0][what][-1] is None:
            continue
        tenths = range(len(results[0][what]))
        values = [rounds.median(name, at(what, tenth)) * unit for tenth in tenths]
        contender = CONTENDERS[name]
        ours = name in OURS.values()
        axes.plot(
            [turns * (tenth + 1) / len(values) for tenth in tenths],
            values,
            label=f"{contender.label} ({contender.keeps})",
            # The same contender has the same colour in every plot.
            color=colors[list(CONTENDERS).index(name) % len(colors)],
            linewidth=2.5 if ours else 1.2,
            linestyle="-" if ours else "--",
        )
    axes.set_yscale(scale)
    axes.set_xlabel("turns on the thread")
    axes.set_ylabel(label)
    axes.grid(True, which="both", alpha=0.2)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.tight_layout()
    # Without a date and with fixed ids the file changes only when the results do.
    figure.savefig(target, metadata={"Date": None})
    pyplot.close(figure)


def load_pyplot() -> Any:
    """Return matplotlib's pyplot, set up to draw SVG.

    Raises:
        ModuleNotFoundError: There is no matplotlib.
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

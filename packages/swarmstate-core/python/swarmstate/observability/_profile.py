"""Where the time of runs went."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import NamedTuple

from swarmstate.observability._flame import Block, flame
from swarmstate.observability._timeline import Path, Spent, Timeline

__all__ = ["Profile", "ProfileRow", "profile"]


def profile(*, everywhere: bool = False) -> AbstractContextManager[Profile]:
    """Profile where the time of LangGraph runs goes, sync and async.

        with swarmstate.profile() as found:
            graph.invoke(...)
        print(found)

    All runs that begin inside the block are profiled, whatever their graph, with the threads
    and tasks that LangGraph starts for them. A graph run by a node is part of that node. With
    nested blocks, only the innermost one gets a run. Encoding, decoding and store I/O of a
    checkpointer are listed separately if it is a `SwarmStateSaver`; the time of any other
    checkpointer counts as the framework's or as waiting.

    While such a block is active, functions of LangGraph and of the saver are replaced; the
    originals are restored when the last block ends.

    Args:
        everywhere: Also profile runs that other threads and tasks begin in the meantime.

    Raises:
        ModuleNotFoundError: LangGraph, or langgraph-checkpoint-swarmstate, is not installed.
        RuntimeError: The installed LangGraph lacks a function to be measured.
    """
    from swarmstate.integrations.langgraph import profiling

    return profiling(everywhere=everywhere)


class ProfileRow(NamedTuple):
    """Where time went, in seconds, summed over all runs.

    Attributes:
        name: "framework", "node NAME" (for a node in a subgraph, "node OUTER / INNER"),
            "encode", "decode", "store I/O" or "waiting".
        seconds: Its share of the runs' time: the rows add up to the total.
        busy: How long it was under way, even while the time counted for something else.
        calls: How often it began.
    """

    name: str
    seconds: float
    busy: float
    calls: int


class Profile:
    """Where the time of runs went; returned by `swarmstate.profile`.

    Every moment of a run counts for one thing: for a running node, else for encoding or
    decoding, else for the framework, else for the store, else for waiting. Nodes that run
    concurrently share it. So background work of a checkpointer takes time only while nothing
    else is going on; how long it was busy is listed separately.

    The framework's time is the processor time, between nodes, of the thread that called or
    that took a chunk of a stream. In an event loop, this includes what other tasks do there
    in the meantime. What a loop over `stream()` does with its chunks is not part of the run.
    """

    def __init__(self) -> None:
        self._runs: list[Timeline] = []

    @property
    def runs(self) -> int:
        """The number of runs that have ended."""
        return len(self._runs)

    @property
    def seconds(self) -> float:
        """The total time of these runs."""
        return sum(row.seconds for row in self.rows())

    def add(self, run: Timeline) -> None:
        """Add a run that has ended."""
        self._runs.append(run)

    def rows(self) -> list[ProfileRow]:
        """Return where the time went, with nodes ordered by name."""
        rows: dict[str, ProfileRow] = {}
        for path, spent in sorted(self._spent().items()):
            nodes = [part.removeprefix("node ") for part in path if part.startswith("node ")]
            name = f"node {' / '.join(nodes)}" if spent.kind == "node" else spent.kind
            _, seconds, busy, calls = rows.get(name, ProfileRow(name, 0.0, 0.0, 0))
            rows[name] = ProfileRow(
                name, seconds + spent.seconds, busy + spent.busy, calls + spent.calls
            )
        last = [rows.pop(name, None) for name in ("encode", "decode", "store I/O", "waiting")]
        first = rows.pop("framework", None)
        return [row for row in (first, *rows.values(), *last) if row is not None]

    def to_svg(self) -> str:
        """Return a flame graph as SVG: widths are times, and callees are below their callers."""
        root = Block("", "framework")
        for path, spent in sorted(self._spent().items()):
            root.add(path, spent.kind, spent.seconds)
        runs = self.runs
        return flame(root, f"{runs} run{'' if runs == 1 else 's'}")

    def _repr_html_(self) -> str:
        """Return the drawing, for notebooks."""
        return self.to_svg()

    def __str__(self) -> str:
        """Return a table of where the time of an average run went."""
        runs = self.runs
        if not runs:
            return "no run has finished"
        rows = self.rows()
        total = sum(row.seconds for row in rows)
        width = max(len(row.name) for row in rows)
        lines = [
            f"{runs} run{'' if runs == 1 else 's'}, {total / runs * 1e3:.2f} ms each",
            f"{'':<{width}} {'ms':>10} {'share':>7} {'busy ms':>10} {'calls':>8}",
        ]
        for row in rows:
            share = row.seconds / total if total else 0.0
            calls = f"{row.calls / runs:,.4g}" if row.calls else ""
            lines.append(
                f"{row.name:<{width}} {row.seconds / runs * 1e3:>10.3f} {share:>7.1%} "
                f"{row.busy / runs * 1e3:>10.3f} {calls:>8}"
            )
        return "\n".join(lines)

    def _spent(self) -> dict[Path, Spent]:
        found: dict[Path, Spent] = {}
        for run in list(self._runs):
            for path, (kind, *figures) in run.spent().items():
                _, *known = found.get(path, Spent(kind))
                seconds, busy, calls = map(sum, zip(known, figures, strict=True))
                found[path] = Spent(kind, seconds, busy, int(calls))
        return found

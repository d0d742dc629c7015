"""Where the time of runs went."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import NamedTuple

from swarmstate.observability._flame import Block, flame
from swarmstate.observability._timeline import Path, Spent, Timeline

__all__ = ["Profile", "ProfileRow", "profile"]


def profile(*, everywhere: bool = False) -> AbstractContextManager[Profile]:
    """Find out where LangGraph runs spend their time, sync and async.

        with swarmstate.profile() as found:
            graph.invoke(...)
        print(found)

    Profiles all runs that begin inside the block, of any graph, with all the
    threads and tasks that LangGraph starts for them; a graph that a node runs is part of that
    node. If blocks are nested, the innermost one gets the run. For a `SwarmStateSaver`,
    encoding, decoding and store I/O are listed separately; the time of any
    other checkpointer counts as the framework's or as waiting.

    Inside such a block, some functions of LangGraph and of the saver are replaced; the
    originals return when the last block has ended.

    Args:
        everywhere: Also profile runs that other threads and tasks begin meanwhile.

    Raises:
        ModuleNotFoundError: LangGraph, or langgraph-checkpoint-swarmstate, is not installed.
        RuntimeError: The installed LangGraph lacks the functions to measure.
    """
    from swarmstate.integrations.langgraph import profiling

    return profiling(everywhere=everywhere)


class ProfileRow(NamedTuple):
    """Where time went, in seconds, for all runs together.

    Attributes:
        name: "framework", "node NAME" (for a node in a subgraph, "node OUTER / INNER"),
            "encode", "decode", "store I/O" or "waiting".
        seconds: Its share of the runs' time; the rows add up to the total.
        busy: How long it was active, even while the time counted for something else.
        calls: How often it began.
    """

    name: str
    seconds: float
    busy: float
    calls: int


class Profile:
    """Where the time of runs went; made by `swarmstate.profile`.

    Every moment of a run counts for one thing: for a node that runs, else for encoding or
    decoding, else for the framework, else for the store, and for waiting if there is none of
    these; nodes that run at once share it. So what a checkpointer does in the background
    takes time only while nothing else goes on; how long it was busy is told beside.

    The framework's time is the processor time of the thread that called, or that took a chunk of
    a stream, between nodes; in an event loop, what other tasks do there meanwhile counts as well.
    What a loop over `stream()` does with its chunks is no part of the run.
    """

    def __init__(self) -> None:
        self._runs: list[Timeline] = []

    @property
    def runs(self) -> int:
        """How many runs have ended."""
        return len(self._runs)

    @property
    def seconds(self) -> float:
        """How long they took together."""
        return sum(row.seconds for row in self.rows())

    def add(self, run: Timeline) -> None:
        """Take a run that has ended."""
        self._runs.append(run)

    def rows(self) -> list[ProfileRow]:
        """Return where the time went; nodes in the order of their names."""
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
        """Return a drawing, as wide as the time: what was called stands below what called it."""
        root = Block("", "framework")
        for path, spent in sorted(self._spent().items()):
            root.add(path, spent.kind, spent.seconds)
        runs = self.runs
        return flame(root, f"{runs} run{'' if runs == 1 else 's'}")

    def _repr_html_(self) -> str:
        """Return the drawing, for notebooks."""
        return self.to_svg()

    def __str__(self) -> str:
        """Return a table: what took the time of an average run."""
        runs = self.runs
        if not runs:
            return "no run has ended"
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

"""A swarm of 200 agents on one store, with live metrics: who works, and what it costs.

Each agent has its own thread and turns; all run at once in one event loop, on one file. They post
their findings to a memory that all of them read. Rules decide who works next, without a model; the
models are scripted, so it needs no network.

    python examples/swarm.py [DIRECTORY] [--agents 200] [--rounds 3]
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Annotated, Any

from langchain_core.messages import AnyMessage
from langgraph.checkpoint.swarmstate import SwarmStateSaver, add_messages
from langgraph.graph import START, StateGraph
from langgraph.types import Command
from swarmstate import BaseStore, DiskStore, HandoffGraph
from swarmstate.layers import MeteredStore
from swarmstate.observability import Summary
from typing_extensions import TypedDict

TOPICS = ("lamps", "invoices", "returns", "weather")
# Operations that the display shows, and what it calls them.
SHOWN = {
    "checkpoint.get": "threads loaded",
    "checkpoint.put": "checkpoints",
    "checkpoint.put_writes": "pending writes",
    "read": "reads",
    "write": "writes",
}


class Work(TypedDict, total=False):
    """The state of one agent."""

    messages: Annotated[list[AnyMessage], add_messages]
    agent: int
    topic: str
    known: int


def rules() -> HandoffGraph:
    """Return the rules for who works on what; they need no model."""
    graph = HandoffGraph()
    for name in ("dispatch", "researcher", "clerk", "nobody"):
        graph.add_node(name)
    graph.add_edge("dispatch", "clerk", when="topic in ('invoices', 'returns')")
    graph.add_edge("dispatch", "researcher", when="topic == 'lamps'")
    graph.add_edge("dispatch", "nobody")
    return graph


def build(store: BaseStore) -> StateGraph[Any]:
    """Return the graph that every agent runs; the agents also share `store`."""

    async def work(state: Work, role: str) -> Command[str]:
        agent, topic = state["agent"], state["topic"]
        await store.aset("findings", f"{topic}/{agent}/{len(state['messages'])}", role)
        known = len(await store.akeys("findings", f"{topic}/"))
        said = f"{role}: what {known} of us know of {topic} is on record"
        return Command(update={"messages": [("ai", said)], "known": known})

    async def researcher(state: Work) -> Command[str]:
        return await work(state, "researcher")

    async def clerk(state: Work) -> Command[str]:
        return await work(state, "clerk")

    builder: StateGraph[Any] = StateGraph(Work)
    builder.add_node("dispatch", rules().as_node("dispatch"))
    builder.add_node("researcher", researcher)
    builder.add_node("clerk", clerk)
    builder.add_node("nobody", lambda state: {"messages": [("ai", "Not my business.")]})
    builder.add_edge(START, "dispatch")
    return builder


class Display:
    """What a terminal shows while the swarm works: one table, redrawn in place.

    Args:
        summary: The measurements.
        turns: The number of turns to come.
    """

    def __init__(self, summary: Summary, turns: int) -> None:
        self.turns_done = 0
        self._summary = summary
        self._turns = turns
        self._started = perf_counter()
        self._lines = 0

    async def live(self) -> None:
        """Redraw the table until cancelled; does nothing if this is not a terminal."""
        while sys.stdout.isatty():
            self.draw()
            await asyncio.sleep(0.1)

    def draw(self) -> None:
        """Draw the table."""
        seconds = perf_counter() - self._started
        rate = self.turns_done / seconds
        columns = f"{'count':>8}{'per s':>10}{'p50 ms':>9}{'p99 ms':>9}{'KB':>9}{'errors':>8}"
        lines = [
            f"   {self.turns_done:,} of {self._turns:,} turns, {rate:,.0f} per second",
            f"   {'':<16}{columns}",
        ]
        for (_, operation), stats in self._summary.stats().items():
            if operation in SHOWN:
                size = (stats.read_bytes + stats.written_bytes) / 1e3
                lines.append(
                    f"   {SHOWN[operation]:<16}{stats.calls:>8,}{stats.calls / seconds:>10,.0f}"
                    f"{stats.p50 * 1e3:>9.2f}{stats.p99 * 1e3:>9.2f}{size:>9,.0f}{stats.errors:>8,}"
                )
        if self._lines:
            print(f"\033[{self._lines}F\033[J", end="")
        print("\n".join(lines), flush=True)
        self._lines = len(lines) if sys.stdout.isatty() else 0


def check(claim: str, holds: bool) -> None:
    """Print a claim, and end the program if it is false."""
    if not holds:
        raise SystemExit(f"   FAILED: {claim}")
    print(f"   ok: {claim}")


async def main(folder: Path, agents: int, rounds: int) -> None:
    """Let all agents work at once, then check the results."""
    summary = Summary()
    display = Display(summary, agents * rounds)
    store = MeteredStore(DiskStore(folder / "swarm.db"), summary, label="swarm")
    async with store:
        saver = SwarmStateSaver(store, metrics=summary)
        graph = build(store).compile(checkpointer=saver)

        async def agent(number: int) -> int:
            thread: Any = {"configurable": {"thread_id": f"agent-{number}"}}
            for turn in range(rounds):
                topic = TOPICS[(number + turn) % len(TOPICS)]
                given = {"messages": [("user", f"Any news of {topic}?")], "agent": number}
                state = await graph.ainvoke({**given, "topic": topic}, thread)
                display.turns_done += 1
            return len(state["messages"])

        print(f"{agents} agents, {rounds} turns each, one file")
        drawing = asyncio.create_task(display.live())
        said = await asyncio.gather(*map(agent, range(agents)))
        drawing.cancel()
        display.draw()

        stats = {operation: found for (_, operation), found in summary.stats().items()}
        threads = await saver.athreads()
        findings = await store.akeys("findings")
        topics = [TOPICS[(one + turn) % 4] for one in range(agents) for turn in range(rounds)]
        check("every agent has its own complete thread", said == [2 * rounds] * agents)
        check(f"all {agents} threads are in one store", len(threads) == agents)
        check(
            "every finding is stored, and no agent overwrote another's",
            len(findings) == len(topics) - topics.count("weather"),
        )
        check("no operation failed", not any(found.errors for found in stats.values()))
        puts = stats["checkpoint.put"]
        check("a checkpoint is one round trip", puts.round_trips == puts.calls)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("directory", type=Path, nargs="?")
    parser.add_argument("--agents", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if min(options.agents, options.rounds) < 1:
        parser.error("expected at least one agent and one round")
    with TemporaryDirectory() as temporary:
        folder = options.directory or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "swarm.db").exists():
            parser.error(f"{folder} has the agents of an earlier swarm: choose another directory")
        asyncio.run(main(folder, options.agents, options.rounds))

"""Run graphs on the oldest supported LangGraph; `check_wheels.py` runs this on installed wheels."""

from __future__ import annotations

import asyncio
import operator
from typing import Annotated, Any

from langgraph.checkpoint.swarmstate import SwarmStateSaver, accelerate
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt
from typing_extensions import TypedDict


class State(TypedDict):
    """A log that grows."""

    log: Annotated[list[str], operator.add]


def ask(state: State) -> dict[str, Any]:
    """Log the answer to a question."""
    return {"log": [interrupt("go on?")]}


builder = StateGraph(State)
builder.add_node("note", lambda state: {"log": [f"note {len(state['log'])}"]})
builder.add_node("ask", ask)
builder.add_edge(START, "note")
builder.add_edge("note", "ask")
EXPECTED = ["in", "note 1", "yes", "in", "note 4", "yes"]


def run(thread: Any, durability: Any) -> None:
    """Run two turns, each resumed by a saver that opens the file again."""
    turn: list[Any] = [{"log": ["in"]}, Command(resume="yes")]
    for _ in range(2):
        for given in turn:
            with SwarmStateSaver("graphs.db") as saver:
                graph = builder.compile(checkpointer=saver)
                graph.invoke(given, thread, durability=durability)
                found = graph.get_state(thread).values["log"]
    assert found == EXPECTED, found


async def arun(thread: Any, durability: Any) -> None:
    """Read with the async methods what `run` stored, and continue."""
    async with SwarmStateSaver("graphs.db") as saver:
        graph = builder.compile(checkpointer=saver)
        await graph.ainvoke({"log": ["in"]}, thread, durability=durability)
        found = (await graph.aget_state(thread)).values["log"]
    assert found == [*EXPECTED, "in", "note 7"], found


for accelerated in (False, True):
    # Patches that do not fit this version are skipped, and say why.
    acceleration = accelerate() if accelerated else None
    for durability in ("sync", "async", "exit"):
        config = {"configurable": {"thread_id": f"{durability} {accelerated}"}}
        run(config, durability)
        asyncio.run(arun(config, durability))
    if acceleration is not None:
        acceleration.undo()
        for patch in acceleration.patches:
            assert patch.applied or patch.reason, patch

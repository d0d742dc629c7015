"""Processes that write checkpoints while they are killed or compete, and checks of what remains.

They are forked from a server process that has all of LangGraph imported but has
opened no store. So each starts within milliseconds and with its own state.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import sqlite3
from contextlib import closing
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_core.messages import HumanMessage
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from langgraph.checkpoint.swarmstate.testing import graphs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = [
    "Acknowledged",
    "Connection",
    "Work",
    "compete",
    "context",
    "expected_messages",
    "final_messages",
    "survey",
    "work",
]

TOOL_ROUNDS = 12
CONFIG: Any = {"configurable": {"thread_id": "t"}, "recursion_limit": 10_000}

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload([__name__])


def compete(count: int, target: Callable[..., None], path: Path, *arguments: Any) -> list[Any]:
    """Run `target` in `count` concurrent processes; return the answer of each.

    It receives the path, its process number, the further arguments, a barrier that all processes
    must wait at, and the connection to send its one answer over.
    """
    barrier = context.Barrier(count)
    workers = []
    for number in range(count):
        reader, writer = context.Pipe(duplex=False)
        process = context.Process(target=target, args=(path, number, *arguments, barrier, writer))
        process.start()
        writer.close()
        workers.append((process, reader))
    answers = [reader.recv() for _, reader in workers]
    for process, reader in workers:
        process.join()
        reader.close()
        assert process.exitcode == 0
    return answers


class Acknowledged(NamedTuple):
    """A saver call that has returned.

    `task_id` and `channels` are only set for writes.
    """

    checkpoint_id: str
    task_id: str | None = None
    channels: tuple[str, ...] = ()


class _ReportingSaver(SwarmStateSaver):
    """Sends each acknowledged call over a pipe before LangGraph sees the result."""

    connection: Connection

    def put(self, *arguments: Any) -> Any:
        stored = super().put(*arguments)
        self.connection.send(Acknowledged(stored["configurable"]["checkpoint_id"]))
        return stored

    async def aput(self, *arguments: Any) -> Any:
        stored = await super().aput(*arguments)
        self.connection.send(Acknowledged(stored["configurable"]["checkpoint_id"]))
        return stored

    def put_writes(self, config: Any, writes: Any, task_id: str, task_path: str = "") -> None:
        super().put_writes(config, writes, task_id, task_path)
        self._report_writes(config, writes, task_id)

    async def aput_writes(
        self, config: Any, writes: Any, task_id: str, task_path: str = ""
    ) -> None:
        await super().aput_writes(config, writes, task_id, task_path)
        self._report_writes(config, writes, task_id)

    def _report_writes(self, config: Any, writes: Any, task_id: str) -> None:
        channels = tuple(channel for channel, _ in writes)
        checkpoint_id = config["configurable"]["checkpoint_id"]
        self.connection.send(Acknowledged(checkpoint_id, task_id, channels))


class Work(NamedTuple):
    """The work of a process: an agent's turns on one thread of a file, until it is killed."""

    path: Path
    durability: str
    asynchronous: bool
    turns: int


def question(turn: int) -> dict[str, Any]:
    return {"messages": [HumanMessage(f"question {turn}", id=f"h{turn}")]}


def expected_messages(turns: int) -> list[Any]:
    """Return the messages of an agent after `turns` undisturbed turns."""
    graph = graphs.agent(None, tool_rounds=TOOL_ROUNDS)
    messages: list[Any] = []
    for turn in range(turns):
        asked = [*messages, *question(turn)["messages"]]
        messages = graph.invoke({"messages": asked}, {"recursion_limit": 10_000})["messages"]
    return messages


def work(task: Work, connection: Connection) -> None:
    """Continue the thread where it stopped, up to its last turn; report each call."""
    saver = _ReportingSaver(task.path)
    saver.connection = connection
    graph = graphs.agent(saver, tool_rounds=TOOL_ROUNDS)
    if task.asynchronous:
        asyncio.run(_awork(graph, task))
    else:
        state = graph.get_state(CONFIG)
        if state.values:
            graph.invoke(None, CONFIG, durability=task.durability)
        for turn in range(_turns_asked(graph.get_state(CONFIG)), task.turns):
            graph.invoke(question(turn), CONFIG, durability=task.durability)
    saver.close()
    connection.close()


async def _awork(graph: Any, task: Work) -> None:
    state = await graph.aget_state(CONFIG)
    if state.values:
        await graph.ainvoke(None, CONFIG, durability=task.durability)
    for turn in range(_turns_asked(await graph.aget_state(CONFIG)), task.turns):
        await graph.ainvoke(question(turn), CONFIG, durability=task.durability)


def _turns_asked(state: Any) -> int:
    return sum(isinstance(m, HumanMessage) for m in state.values.get("messages", ()))


def survey(path: Path, acknowledged: Sequence[Acknowledged], said: Sequence[Any]) -> int:
    """Check that a file holds all acknowledged data and nothing partial; return its size.

    `said` has the agent's messages when nothing disturbs it: each checkpoint holds a
    prefix of them.
    """
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    saver = SwarmStateSaver(path)
    found = {item.checkpoint["id"]: item for item in saver.list(CONFIG)}
    for item in found.values():
        assert saver.get_tuple(item.config) == item
        parent = item.parent_config
        assert parent is None or parent["configurable"]["checkpoint_id"] in found
        messages = item.checkpoint["channel_values"].get("messages", [])
        assert messages == said[: len(messages)]
    for entry in acknowledged:
        if entry.task_id is None:
            assert entry.checkpoint_id in found, f"lost checkpoint {entry.checkpoint_id}"
        elif entry.checkpoint_id in found:
            # Writes may be acknowledged before their checkpoint.
            pending = found[entry.checkpoint_id].pending_writes
            assert pending is not None
            kept = [channel for task, channel, _ in pending if task == entry.task_id]
            assert set(entry.channels) <= set(kept), f"lost writes of {entry.checkpoint_id}"
    saver.close()
    return len(found)


def final_messages(path: Path) -> Any:
    """Return the agent's messages, as a new process finds them."""
    saver = SwarmStateSaver(path)
    messages = graphs.agent(saver).get_state(CONFIG).values["messages"]
    saver.close()
    return messages

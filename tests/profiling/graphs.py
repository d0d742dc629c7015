"""Graphs, nodes and stores that spend their time in known places."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import START, MessagesState, StateGraph
from swarmstate import BaseStore
from swarmstate.layers import StoreLayer
from swarmstate.observability import Profile, ProfileRow

NAP = 0.02


class SlowStore(StoreLayer):
    """A store whose round trips all take a while, without using the processor."""

    def __init__(self, store: BaseStore) -> None:
        super().__init__(store)
        self.seconds = 0.0

    def read(self, queries: Any) -> Any:
        time.sleep(self.seconds)
        return super().read(queries)

    def write(self, batches: Any) -> None:
        time.sleep(self.seconds)
        super().write(batches)

    async def aread(self, queries: Any) -> Any:
        await asyncio.sleep(self.seconds)
        return await super().aread(queries)

    async def awrite(self, batches: Any) -> None:
        await asyncio.sleep(self.seconds)
        await super().awrite(batches)


def work(seconds: float) -> None:
    """Use the processor."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def nap(state: Any) -> None:
    time.sleep(NAP)


async def anap(state: Any) -> None:
    await asyncio.sleep(NAP)


def built(saver: BaseCheckpointSaver[Any] | None, **nodes: Any) -> Any:
    """A graph that runs its nodes in sequence."""
    builder = StateGraph(MessagesState)
    before = START
    for name, node in nodes.items():
        builder.add_node(name, node)
        builder.add_edge(before, name)
        before = name
    return builder.compile(checkpointer=saver)


def call(graph: Any, is_async: bool, thread: str = "1", **options: Any) -> Any:
    given = {"messages": [("user", "Hi")]}
    config = {"configurable": {"thread_id": thread}}
    if is_async:
        return asyncio.run(graph.ainvoke(given, config, **options))
    return graph.invoke(given, config, **options)


def by_name(profile: Profile) -> dict[str, ProfileRow]:
    return {row.name: row for row in profile.rows()}

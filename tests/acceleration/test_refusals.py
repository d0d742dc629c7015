"""Nothing that follows a refused checkpoint is stored either, accelerated or not."""

from __future__ import annotations

import asyncio
import operator
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Annotated, Any, TypedDict

import pytest
import swarmstate
from langgraph.checkpoint.swarmstate import SwarmStateSaver, accelerate
from langgraph.graph import START, StateGraph
from swarmstate.errors import SwarmStateError

CONFIG: Any = {"configurable": {"thread_id": "t"}}
STEPS = 8
REFUSED = 4


class State(TypedDict):
    log: Annotated[list[int], operator.add]


class RefusingStore(swarmstate.Store):
    """Refuses one checkpoint on every attempt, and stores everything else.

    Attributes:
        asked: Set when the store is asked to store that checkpoint.
        reached: The event it awaits before it refuses.
        refused: Set when it has refused.
    """

    asked: Any
    reached: Any
    refused: Any

    def __init__(self) -> None:
        super().__init__()
        self._seen: list[str] = []

    def _refuses(self, batches: Sequence[swarmstate.Batch]) -> bool:
        keys = [key for batch in batches for key in batch.put if key.startswith("checkpoint/")]
        self._seen += (key for key in keys if key not in self._seen)
        return not set(keys).isdisjoint(self._seen[REFUSED - 1 : REFUSED])

    def write(self, batches: Sequence[swarmstate.Batch]) -> None:
        if self._refuses(batches):
            self.asked.set()
            self.reached.wait()
            self.refused.set()
            raise SwarmStateError("the disk is full")
        super().write(batches)

    async def awrite(self, batches: Sequence[swarmstate.Batch]) -> None:
        if self._refuses(batches):
            self.asked.set()
            await self.reached.wait()
            self.refused.set()
            raise SwarmStateError("the disk is full")
        await super().awrite(batches)


def build(node: Callable[[int], Any], saver: SwarmStateSaver) -> Any:
    """Return a graph of nodes in a row."""
    builder = StateGraph(State)
    names = [f"node {n}" for n in range(STEPS)]
    for n, name in enumerate(names):
        builder.add_node(name, node(n))
    for before, after in zip([START, *names], names, strict=False):
        builder.add_edge(before, after)
    return builder.compile(checkpointer=saver)


@pytest.mark.parametrize("accelerated", [False, True])
def test_what_follows_a_refused_checkpoint_is_not_stored(accelerated: bool) -> None:
    store = RefusingStore()
    store.asked, store.reached, store.refused = (threading.Event() for _ in range(3))

    def node(n: int) -> Any:
        def work(state: State) -> dict[str, Any]:
            if n == REFUSED - 2:
                store.asked.wait()
            if n == STEPS - 2:
                # By now, some of what follows waits to be stored.
                store.reached.set()
                store.refused.wait()
            return {"log": [n]}

        return work

    saver = SwarmStateSaver(store)
    graph = build(node, saver)
    with (
        accelerate() if accelerated else nullcontext(),
        pytest.raises(SwarmStateError, match="the disk is full"),
    ):
        graph.invoke({"log": []}, CONFIG, durability="async")
    assert len(list(saver.list(CONFIG))) == REFUSED - 1


@pytest.mark.parametrize("accelerated", [False, True])
def test_what_follows_a_refused_checkpoint_is_not_stored_async(accelerated: bool) -> None:
    async def main() -> None:
        store = RefusingStore()
        store.asked, store.reached, store.refused = (asyncio.Event() for _ in range(3))

        def node(n: int) -> Any:
            async def work(state: State) -> dict[str, Any]:
                if n == REFUSED - 2:
                    await store.asked.wait()
                if n == STEPS - 2:
                    store.reached.set()
                    await store.refused.wait()
                return {"log": [n]}

            return work

        saver = SwarmStateSaver(store)
        graph = build(node, saver)
        with (
            accelerate() if accelerated else nullcontext(),
            pytest.raises(SwarmStateError, match="the disk is full"),
        ):
            await graph.ainvoke({"log": []}, CONFIG, durability="async")
        assert len([each async for each in saver.alist(CONFIG)]) == REFUSED - 1

    asyncio.run(main())

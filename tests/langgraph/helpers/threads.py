"""A thread that is stored step by step, and values for its state."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from pydantic import BaseModel


class Thread:
    """A growing thread, put and read through savers on one store."""

    def __init__(self, saver: SwarmStateSaver, thread_id: str = "1") -> None:
        self.saver = saver
        self.config: Any = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
        self.step = 0
        self.stored: list[tuple[Any, dict[str, Any]]] = []

    def put(self, values: dict[str, Any]) -> Any:
        self.step += 1
        checkpoint = empty_checkpoint()
        checkpoint["id"] = str(uuid6(clock_seq=self.step))
        checkpoint["channel_values"] = values
        checkpoint["channel_versions"] = dict.fromkeys(values, self.step)
        metadata: Any = {"source": "loop", "step": self.step, "parents": {}}
        self.config = self.saver.put(self.config, checkpoint, metadata, {})
        self.stored.append((self.config, copy.deepcopy(values)))
        return self.config

    def latest(self) -> dict[str, Any]:
        found = self.saver.get_tuple(
            {"configurable": {"thread_id": self.config["configurable"]["thread_id"]}}
        )
        assert found is not None
        return found.checkpoint["channel_values"]

    def check(self, saver: SwarmStateSaver) -> None:
        for config, values in self.stored:
            found = saver.get_tuple(config)
            assert found is not None
            assert found.checkpoint["channel_values"] == values


def message(rng: random.Random, size: int) -> Any:
    text = "".join(rng.choices("abcdefgh ", k=size))
    kind = rng.randrange(4)
    if kind == 0:
        return HumanMessage(text, id=str(rng.random()))
    if kind == 1:
        call = {"name": "search", "args": {"q": text, "deep": [1, {"x": 2}]}, "id": "c"}
        return AIMessage("", id=str(rng.random()), tool_calls=[call])
    if kind == 2:
        return ToolMessage(text, tool_call_id="c", artifact={"rows": [text]})
    return {"role": "user", "content": text, "tags": ["a", {"b": [1, 2]}]}


def insides(value: Any) -> Any:
    """Everything in a value, in order, including all that pydantic keeps."""
    if isinstance(value, BaseModel):
        return (
            type(value),
            insides(value.__dict__),
            sorted(value.__pydantic_fields_set__),
            insides(value.__pydantic_extra__),
            value.__pydantic_private__,
        )
    if isinstance(value, dict):
        return type(value), [(insides(key), insides(item)) for key, item in value.items()]
    if isinstance(value, list):
        return type(value), [insides(item) for item in value]
    return type(value), value


def objects(value: Any) -> Iterator[int]:
    """The addresses of all mutable objects in a value."""
    if isinstance(value, BaseModel):
        yield id(value)
        yield from objects(value.__dict__)
        yield id(value.__pydantic_fields_set__)
        yield from objects(value.__pydantic_extra__)
    elif isinstance(value, dict):
        yield id(value)
        for item in value.values():
            yield from objects(item)
    elif isinstance(value, list):
        yield id(value)
        for item in value:
            yield from objects(item)

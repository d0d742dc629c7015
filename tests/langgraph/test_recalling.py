"""What a saver holds copies of is not read from the store again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from swarmstate import BaseStore, Batch, Query, Result, Store
from swarmstate.errors import CheckpointError

from .helpers.counting import CountingStore

_LATEST: Any = {"configurable": {"thread_id": "1"}}


class WatchingStore(CountingStore):
    """Remembers which blobs were read since the last `reset`."""

    def __init__(self, inner: BaseStore) -> None:
        super().__init__(inner)
        self.blobs: list[str] = []

    def reset(self) -> None:
        super().reset()
        self.blobs.clear()

    def read(self, queries: Sequence[Query]) -> list[Result]:
        keys = [key for query in queries for key in query.keys]
        self.blobs += [key for key in keys if key.startswith("blob/")]
        return super().read(queries)


def _put(saver: SwarmStateSaver, config: Any, messages: list[BaseMessage]) -> Any:
    checkpoint = empty_checkpoint()
    checkpoint["id"] = str(uuid6())
    checkpoint["channel_values"] = {"messages": messages, "note": "long " * 1_000}
    metadata: Any = {"source": "loop", "step": 1, "parents": {}}
    return saver.put(config, checkpoint, metadata, {})


def _messages(count: int) -> list[BaseMessage]:
    kinds = (HumanMessage, AIMessage)
    return [
        kinds[i % 2](f"message {i} " * 20, id=str(i), additional_kwargs={"i": i})
        for i in range(count)
    ]


def _values(saver: SwarmStateSaver) -> dict[str, Any]:
    found = saver.get_tuple(_LATEST)
    assert found is not None
    return found.checkpoint["channel_values"]


def _stored(messages: list[BaseMessage]) -> tuple[Store, Any]:
    store = Store()
    config = _put(
        SwarmStateSaver(store),
        {"configurable": {"thread_id": "1", "checkpoint_ns": ""}},
        messages,
    )
    return store, config


def test_a_thread_that_was_read_before_is_not_read_again() -> None:
    messages = _messages(200)
    store, _ = _stored(messages)
    watching = WatchingStore(store)
    saver = SwarmStateSaver(watching)
    assert _values(saver)["messages"] == messages
    assert watching.blobs
    _values(saver)
    watching.reset()
    values = _values(saver)
    assert values["messages"] == messages
    assert values["note"] == "long " * 1_000
    assert watching.blobs == []
    values["messages"][0].additional_kwargs["i"] = "changed"
    assert _values(saver)["messages"] == messages


def test_what_others_added_is_read() -> None:
    messages = _messages(200)
    store, config = _stored(messages)
    watching = WatchingStore(store)
    saver = SwarmStateSaver(watching)
    for _ in range(3):
        _values(saver)
    other = SwarmStateSaver(store)
    more = [*_values(other)["messages"], HumanMessage("one more " * 20, id="more")]
    _put(other, config, more)
    watching.reset()
    assert _values(saver)["messages"] == more
    assert len(watching.blobs) == 1


def test_a_class_that_changed_is_read_again() -> None:
    messages = _messages(200)
    store, _ = _stored(messages)
    watching = WatchingStore(store)
    saver = SwarmStateSaver(watching)
    for _ in range(3):
        watching.reset()
        _values(saver)
    assert watching.blobs == []
    HumanMessage.model_rebuild(force=True)
    assert _values(saver)["messages"] == messages
    assert watching.blobs


def test_what_is_held_outlives_damage_in_the_store_until_it_is_read_anew() -> None:
    messages = _messages(200)
    store, _ = _stored(messages)
    saver = SwarmStateSaver(store)
    for _ in range(3):
        _values(saver)
    [namespace] = store.namespaces("langgraph:")
    blobs = [key for key in store.keys(namespace) if key.startswith("blob/")]
    store.write([Batch(namespace, delete=blobs)])
    assert _values(saver)["messages"] == messages
    with pytest.raises(CheckpointError, match="which is missing"):
        _values(SwarmStateSaver(store))

"""A saver does not read again from the store what it holds copies of."""

from __future__ import annotations

import sys
import tracemalloc
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.swarmstate import SwarmStateSaver, SwarmStateSerializer
from langgraph.checkpoint.swarmstate.testing import Driver
from langgraph.checkpoint.swarmstate.testing.checkpoints import Branch
from swarmstate import Batch, Store
from swarmstate.errors import CheckpointError

from .helpers.counting import CountingStore
from .helpers.logs import long_log, text

if TYPE_CHECKING:
    from collections.abc import Sequence

_LATEST: Any = {"configurable": {"thread_id": "1"}}


def _blobs(store: CountingStore) -> list[str]:
    """Return the blobs that were read since the last `reset`."""
    return [key for key in store.looked_up if key.startswith("blob/")]


def _put(saver: SwarmStateSaver, config: Any, messages: list[BaseMessage]) -> Any:
    return _put_values(saver, config, {"messages": messages, "note": "long " * 1_000})


def _put_values(saver: SwarmStateSaver, config: Any, values: dict[str, Any]) -> Any:
    checkpoint = empty_checkpoint()
    checkpoint["id"] = str(uuid6())
    checkpoint["channel_values"] = values
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


def _stored(messages: list[BaseMessage]) -> tuple[CountingStore, Any]:
    """Return a store that holds a thread, and the config of its checkpoint."""
    store = Store()
    config = _put(
        SwarmStateSaver(store),
        {"configurable": {"thread_id": "1", "checkpoint_ns": ""}},
        messages,
    )
    return CountingStore(store), config


def test_a_thread_that_was_read_before_is_not_read_again() -> None:
    messages = _messages(200)
    store, _ = _stored(messages)
    saver = SwarmStateSaver(store)
    assert _values(saver)["messages"] == messages
    assert _blobs(store)
    _values(saver)
    store.reset()
    values = _values(saver)
    assert values["messages"] == messages
    assert values["note"] == "long " * 1_000
    assert _blobs(store) == []
    values["messages"][0].additional_kwargs["i"] = "changed"
    assert _values(saver)["messages"] == messages


def test_what_others_added_is_read() -> None:
    messages = _messages(200)
    store, config = _stored(messages)
    saver = SwarmStateSaver(store)
    for _ in range(3):
        _values(saver)
    other = SwarmStateSaver(store)
    more = [*_values(other)["messages"], HumanMessage("one more " * 20, id="more")]
    _put(other, config, more)
    store.reset()
    assert _values(saver)["messages"] == more
    assert len(_blobs(store)) == 1


def test_texts_that_others_continue_are_read_in_two_round_trips() -> None:
    store = CountingStore(Store())
    writer, reader = SwarmStateSaver(store), SwarmStateSaver(store)
    config: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
    report, files = "", {f"/{n}": text(n, 9_000) for n in range(3)}
    for turn in range(12):
        report += text(turn, 3_000)
        # Files also copy one another: parts that one file shares with another must be read for it.
        files[f"/{turn % 3}"] = files[f"/{turn % 2}"] + text(turn, 300)
        values = {"report": report, "files": {**files}}
        config = _put_values(writer, config, values)
        for _ in range(3):
            store.reset()
            assert _values(reader) == values
            assert len(store.trips) <= 2


@pytest.mark.parametrize("name", ["report", "files"])
def test_a_text_of_which_others_changed_the_beginning_is_read_in_two_round_trips(name: str) -> None:
    store = CountingStore(Store())
    writer, reader = SwarmStateSaver(store), SwarmStateSaver(store)
    config: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
    end = text("end", 20_000)
    for turn in range(6):
        # Its blobs stay the same: the first bytes are in the record.
        changed = f"{turn}{end}"
        values = {"report": changed} if name == "report" else {"files": {"a": changed, "b": 1}}
        config = _put_values(writer, config, values)
        for _ in range(3):
            store.reset()
            assert _values(reader) == values
            assert len(store.trips) <= 2


def test_a_text_that_was_read_before_is_not_read_again() -> None:
    store = CountingStore(Store())
    config: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
    writer, values = SwarmStateSaver(store), {}
    for turn in range(3):
        values = {"report": text(turn, 9_000), "files": {"a": text(turn + 10, 20_000), "b": 1}}
        config = _put_values(writer, config, values)
    saver = SwarmStateSaver(store)
    _values(saver), _values(saver)
    for _ in range(3):
        store.reset()
        assert _values(saver) == values
        assert _blobs(store) == []


def test_bytes_that_are_the_encoding_of_what_was_there_before_are_bytes() -> None:
    store = Store()
    saver, note = SwarmStateSaver(store), text("note", 9_000)
    _, encoded = SwarmStateSerializer().dumps_typed(note)
    for first, second in ((note, encoded), (encoded, note)):
        config = _put_values(
            saver, {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}, {"note": first}
        )
        assert _values(saver)["note"] == first
        _put_values(SwarmStateSaver(store), config, {"note": second})
        assert _values(saver)["note"] == second


def test_a_thread_that_is_too_large_to_remember_does_not_displace_the_others() -> None:
    messages = _messages(200)
    store, _ = _stored(messages)
    saver = SwarmStateSaver(store, memory_budget=1_000_000)
    for _ in range(2):
        _values(saver)
    large: Any = {"configurable": {"thread_id": "large", "checkpoint_ns": ""}}
    for _ in range(2):
        _put(saver, large, _messages(10_000))
    found = saver.get_tuple(large)
    assert found is not None
    assert found.checkpoint["channel_values"]["messages"] == _messages(10_000)
    store.reset()
    assert _values(saver)["messages"] == messages
    assert _blobs(store) == []


def test_what_a_write_recognized_takes_room_like_all_that_is_remembered() -> None:
    budget = 300_000
    saver = SwarmStateSaver(Store(), memory_budget=budget)
    refs: list[weakref.ref[HumanMessage]] = []
    for thread in range(20):
        # A task that was given all this hands it on, and the run waits for a person.
        messages = [HumanMessage("m" * 90, id=str(n)) for n in range(100)]
        address = {"configurable": {"thread_id": str(thread), "checkpoint_ns": ""}}
        config = _put_values(saver, address, {"messages": messages})
        saver.put_writes(config, [("messages", messages)], "task")
        refs += map(weakref.ref, messages)
        del messages
    kept = [message for ref in refs if (message := ref()) is not None]
    parts = [each for item in kept for each in (item, vars(item), item.model_fields_set)]
    held = sum(map(sys.getsizeof, parts))
    assert held < budget / 2, "what it consists of, and where it lies, takes as much again"


class _Sent(CountingStore):
    """Counts the bytes that are written."""

    size = 0

    def write(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            self.size += sum(map(len, [*batch.put.values(), *batch.put_if_absent.values()]))
        super().write(batches)


def test_what_a_run_was_given_takes_no_room_from_the_state() -> None:
    store = _Sent(Store())
    # Room for two copies of the state with the image, not for everything made of it.
    branch = Branch(Driver(SwarmStateSaver(store, memory_budget=2_000_000), "sync"))
    branch.put(log=long_log())
    image = text("image", 600_000)
    branch.put(__start__={"log": [image]})
    branch.drop("__start__")
    branch.put(log=[*branch.values["log"], image])
    store.size = 0
    branch.put(log=[*branch.values["log"], "seen"])
    assert store.size < 2_000, "the image was not sent again"


def test_a_saver_without_a_budget_remembers_nothing() -> None:
    messages = _messages(200)
    store, config = _stored(messages)
    saver = SwarmStateSaver(store, memory_budget=0)
    for _ in range(3):
        store.reset()
        assert _values(saver)["messages"] == messages
        assert _blobs(store)
    more = [*messages, *_messages(20)]
    _put(saver, config, more)
    store.reset()
    assert _values(saver)["messages"] == more
    [namespace] = store.namespaces("langgraph:")
    assert {*_blobs(store)} == {key for key in store.keys(namespace) if key.startswith("blob/")}


def test_a_budget_is_no_negative_number() -> None:
    with pytest.raises(ValueError, match="expected memory_budget to be 0 or more bytes, found -1"):
        SwarmStateSaver(memory_budget=-1)


def test_a_class_that_changed_is_read_again() -> None:
    messages = _messages(200)
    store, _ = _stored(messages)
    saver = SwarmStateSaver(store)
    for _ in range(3):
        store.reset()
        _values(saver)
    assert _blobs(store) == []
    HumanMessage.model_rebuild(force=True)
    assert _values(saver)["messages"] == messages
    assert _blobs(store)


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


def test_threads_with_little_state_leave_nothing_in_memory(tmp_path: Path) -> None:
    def put(number: int) -> None:
        checkpoint = empty_checkpoint()
        notes = [f"{number}, {n} ".ljust(100, ".") for n in range(60)]
        checkpoint["channel_values"] = {"notes": notes, "count": number}
        checkpoint["channel_versions"] = {"notes": 1, "count": 1}
        config: Any = {"configurable": {"thread_id": str(number), "checkpoint_ns": ""}}
        saver.put(config, checkpoint, {"source": "input", "step": 0}, {"notes": 1, "count": 1})

    url = f"disk://{tmp_path / 'agents.db'}?durability=normal"
    with SwarmStateSaver(url) as saver:
        put(0)
        tracemalloc.start()
        try:
            for number in range(1, 1001):
                put(number)
            left, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert left < 2_000_000

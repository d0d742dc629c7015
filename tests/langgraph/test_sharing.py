"""Values are stored as what changed, and read back exactly as they were."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from swarmstate import Store


class Thread:
    """One growing thread, put and read through savers on one store."""

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


def mutate_in_place(rng: random.Random, value: Any) -> bool:
    """Change something deep inside `value`; False if it has nothing to change."""
    if isinstance(value, (HumanMessage, AIMessage, ToolMessage)):
        choice = rng.randrange(4)
        if choice == 0:
            value.content = str(value.content) + "!"
        elif choice == 1:
            value.additional_kwargs["note"] = {"n": rng.random()}
        elif choice == 2 and value.additional_kwargs.get("note"):
            value.additional_kwargs["note"]["n"] = rng.random()
        elif isinstance(value, AIMessage) and value.tool_calls:
            value.tool_calls[0]["args"]["deep"][1]["x"] = rng.random()
        else:
            value.response_metadata["seen"] = [rng.random()]
        return True
    if isinstance(value, dict) and value:
        key = rng.choice(list(value))
        if not mutate_in_place(rng, value[key]):
            value[key] = rng.random()
        return True
    if isinstance(value, list) and value:
        index = rng.randrange(len(value))
        if not mutate_in_place(rng, value[index]):
            value[index] = rng.random()
        return True
    return False


def edit_list(rng: random.Random, items: list[Any]) -> list[Any]:
    choice = rng.randrange(12)
    if choice <= 4 or not items:
        items = [*items, message(rng, rng.choice([5, 80, 500]))]
    elif choice == 5:
        items.insert(rng.randrange(len(items)), message(rng, 200))
    elif choice == 6:
        del items[rng.randrange(len(items))]
    elif choice == 7:
        items = items[len(items) // 3 :]
    elif choice == 8:
        items.reverse()
    elif choice == 9:
        items.extend(message(rng, 60) for _ in range(40))
    elif choice == 10:
        rng.shuffle(items)
    else:
        mutate_in_place(rng, items)
    return items


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("reload", [0.0, 0.3])
def test_edits_of_every_kind_read_back_exactly_at_every_checkpoint(
    seed: int, reload: float
) -> None:
    rng = random.Random(seed)
    store = Store()
    thread = Thread(SwarmStateSaver(store))
    values: dict[str, Any] = {
        "messages": [message(rng, 100) for _ in range(30)],
        "files": {f"/f{n}.txt": "x" * rng.randrange(3000) for n in range(40)},
        "nested": {"files": {f"/g{n}": {"body": "y" * 400, "n": [n]} for n in range(40)}, "n": 1},
        "count": 0,
        "text": "z" * 5000,
        "raw": b"\x00" * 3000,
        "none": None,
    }
    for step in range(80):
        thread.put(values)
        if rng.random() < reload:
            values = thread.latest()
        values = dict(values)
        values["messages"] = edit_list(rng, values["messages"])
        values["count"] += 1
        if step % 3 == 0:
            values["files"][f"/f{rng.randrange(60)}.txt"] = "w" * rng.randrange(3000)
        if step % 5 == 0:
            values["nested"]["files"].pop(next(iter(values["nested"]["files"])), None)
            mutate_in_place(rng, values["nested"])
        if step % 7 == 0:
            values["text"] += "more"
    thread.check(thread.saver)
    thread.check(SwarmStateSaver(store))


def stored_bytes(store: Store) -> int:
    return store.snapshot().size_bytes


def test_an_appended_message_costs_about_itself_not_the_history() -> None:
    store = Store()
    thread = Thread(SwarmStateSaver(store))
    rng = random.Random(1)
    messages: list[Any] = []
    said = 0
    for _ in range(400):
        messages = [*messages, HumanMessage("".join(rng.choices("abcdefgh ", k=400)))]
        said += 400
        thread.put({"messages": messages})
    assert stored_bytes(store) < 12 * said


def test_a_fresh_saver_goes_on_without_storing_the_history_again() -> None:
    store = Store()
    thread = Thread(SwarmStateSaver(store))
    rng = random.Random(1)
    thread.put({"messages": [HumanMessage("".join(rng.choices("abc", k=500))) for _ in range(300)]})
    before = stored_bytes(store)
    thread.saver = SwarmStateSaver(store)
    for _ in range(20):
        messages = thread.latest()["messages"]
        thread.put({"messages": [*messages, HumanMessage("y" * 500)]})
    assert stored_bytes(store) - before < 60_000
    thread.check(SwarmStateSaver(store))


def test_a_parent_deleted_meanwhile_is_stored_in_full() -> None:
    store = Store()
    saver = SwarmStateSaver(store)
    thread = Thread(saver)
    messages = [HumanMessage("x" * 500, id=str(n)) for n in range(50)]
    thread.put({"messages": messages})
    SwarmStateSaver(store).delete_thread("1")
    thread.stored.clear()
    thread.put({"messages": [*messages, HumanMessage("y")]})
    thread.check(SwarmStateSaver(store))


def test_forks_of_one_checkpoint_keep_their_own_values() -> None:
    store = Store()
    thread = Thread(SwarmStateSaver(store))
    messages = [HumanMessage("x" * 500, id=str(n)) for n in range(50)]
    start = thread.put({"messages": messages})
    for fork in range(4):
        thread.config = start
        thread.put({"messages": [*messages, HumanMessage(f"fork {fork}" * 100)]})
        thread.put({"messages": [*messages[:fork], HumanMessage(f"fork {fork}" * 100)]})
    thread.check(thread.saver)
    thread.check(SwarmStateSaver(store))

"""Values are stored as changes, and read back exactly as they were."""

from __future__ import annotations

import random
import resource
import sys
import weakref
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.swarmstate import SwarmStateSaver, SwarmStateSerializer
from pydantic import BaseModel
from swarmstate import Codec, Store
from swarmstate.errors import EncodeError
from swarmstate.sharing import Sharing

from tests.langgraph.helpers.threads import Thread, insides, message, objects

STATM = Path("/proc/self/statm")


class Note(BaseModel):
    text: str
    tags: list[str]


def mutate_in_place(rng: random.Random, value: Any) -> bool:
    """Change something deep inside `value`; return False if it has nothing to change."""
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


def edit_whole(rng: random.Random, value: Any) -> Any:
    """Change text, bytes, a dict with numbers as keys, or such values in a dict."""
    if isinstance(value, dict) and "text" in value:
        names = rng.sample([*value], 2)
        return {**value, **{name: edit_whole(rng, value[name]) for name in names}}
    if isinstance(value, dict):
        return {**value, rng.randrange(150): rng.randbytes(rng.randrange(300))}
    new: Any = "".join(rng.choices("abcdefgh ", k=rng.choice([0, 5, 700, 9_000])))
    if isinstance(value, bytes):
        new = new.encode()
    at = rng.choice([0, len(value), rng.randrange(len(value) + 1)])
    cut = rng.choice([0, 0, 3, 6_000])
    return value[:at] + new + value[at + cut :]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("budget", [1 << 26, 20_000, 0])
@pytest.mark.parametrize("reload", [0.0, 0.3, 0.9])
def test_edits_of_every_kind_read_back_exactly_at_every_checkpoint(
    seed: int, budget: int, reload: float
) -> None:
    rng = random.Random(seed)
    store = Store()
    savers = [SwarmStateSaver(store, memory_budget=budget) for _ in range(2)]
    thread = Thread(savers[0])
    values: dict[str, Any] = {
        "messages": [message(rng, 100) for _ in range(30)],
        "files": {f"/f{n}.txt": "x" * rng.randrange(3000) for n in range(40)},
        "nested": {"files": {f"/g{n}": {"body": "y" * 400, "n": [n]} for n in range(40)}, "n": 1},
        "count": 0,
        "text": "z" * 5000,
        "raw": b"\x00" * 3000,
        "numbered": dict.fromkeys(range(100), "n" * 90),
        "docs": {
            "text": "d" * 5000,
            "raw": b"\x01" * 9000,
            "numbered": {},
            "short": "s",
            "deep": {"text": "e" * 20_000, "short": "s"},
        },
        "none": None,
    }
    for step in range(80):
        thread.put(values)
        if rng.random() < 0.1:
            thread.saver = rng.choice(savers)
        if rng.random() < reload:
            values = thread.latest()
            assert values == thread.stored[-1][1]
            # Changing what was read before must not change the next read.
            mutate_in_place(rng, values)
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
        if step % 2 == 0:
            for name in rng.sample(["text", "raw", "numbered", "docs"], 2):
                values[name] = edit_whole(rng, values[name])
    thread.check(thread.saver)
    thread.check(SwarmStateSaver(store))


def test_what_was_recognized_is_held_so_that_nothing_is_taken_for_it() -> None:
    thread = Thread(SwarmStateSaver(Store()))
    messages = [HumanMessage("m" * 90, id=str(n)) for n in range(120)]
    for _ in range(3):
        thread.put({"messages": messages})
    ref = weakref.ref(messages[70])
    messages[70] = HumanMessage("other")
    # Dicts had versions up to Python 3.13; without one, a dict is recognized by its leaves, which
    # are held.
    assert (ref() is not None) == ((3, 11) <= sys.version_info < (3, 14))
    thread.put({"messages": messages})
    assert ref() is None


def test_objects_at_the_addresses_of_others_are_not_taken_for_them() -> None:
    thread = Thread(SwarmStateSaver(Store()))
    items: list[Any] = [{"text": "x" * 90, "parts": [n, n]} for n in range(120)]
    for step in range(20):
        for _ in range(3):
            thread.put({"items": items})
        # Emptied before it is filled again, so that the allocator reuses the addresses.
        for index in range(0, 120, 7):
            items[index] = None
        for index in range(0, 120, 7):
            kind = (index + step) % 3
            fresh = {"text": "x" * 90, "parts": [step, index]}
            items[index] = fresh if kind == 0 else [fresh] if kind == 1 else HumanMessage(str(step))
    thread.put({"items": items})
    thread.check(SwarmStateSaver(thread.saver.store))


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


@pytest.mark.parametrize("rebuilt", ["messages", "files"])
def test_equal_values_in_new_objects_are_stored_once(rebuilt: str) -> None:
    store = Store()
    thread = Thread(SwarmStateSaver(store))
    serde = SwarmStateSerializer()
    values: dict[str, Any] = {
        "messages": [
            HumanMessage(f"{index}: {'word ' * 60}", id=str(index)) for index in range(40)
        ],
        "files": {f"{index}.py": f"# {index}\n" * 200 for index in range(40)},
    }
    values = {rebuilt: values[rebuilt]}
    thread.put(values)
    first = len(store)
    for index in range(10):
        # None of these objects is the one that was put before.
        values = serde.loads_typed(serde.dumps_typed(values))
        if rebuilt == "messages":
            values["messages"].append(HumanMessage(f"new {index}: {'word ' * 60}", id=f"n{index}"))
        else:
            values["files"][f"{index}.py"] = f"# changed {index}\n" * 200
        thread.put(values)
    # A checkpoint and its new data.
    assert len(store) - first <= 10 * 3
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


def varied_thread(store: Store) -> Thread:
    """A thread of 30 checkpoints with all kinds of values, which share most of their contents."""
    thread = Thread(SwarmStateSaver(store))
    rng = random.Random(5)
    call = {"name": "search", "args": {"q": ["x", {}]}, "id": "c", "type": "tool_call"}
    special = [
        AIMessage(
            [{"type": "text", "text": "t"}, "plain"],
            id="1",
            tool_calls=[call],
            invalid_tool_calls=[{**call, "type": "invalid_tool_call", "args": "{", "error": None}],
            usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
            response_metadata={"logprobs": {"content": [{"token": "a", "logprob": -0.5}]}},
        ),
        HumanMessage("named", name="me", note="extra", more={"deep": [1]}),
        Document("text", metadata={"source": {"page": 3}}),
        [datetime(2026, 1, 2), {frozenset({1, 2})}, {1: "int key"}, (1, 2), b"raw", 2**70],
    ]
    for _ in range(30):
        latest = thread.latest()["messages"] if thread.stored else special
        added = [message(rng, rng.choice([3, 300])) for _ in range(7)]
        thread.put(
            {
                "messages": [*latest, *added],
                "files": {f"/{n}": {"body": "y" * 400, "n": [n]} for n in range(40)},
                "nested": {"deep": {"rows": {str(n): {"x": [n] * 99} for n in range(90)}}, "n": []},
                "model": AIMessage("z" * 5000, tool_calls=[call]),
                "text": "z" * 5000,
            }
        )
    return thread


def test_values_that_are_read_again_are_what_decoding_gives_and_new_each_time() -> None:
    store = Store()
    thread = varied_thread(store)
    decoded = Thread(SwarmStateSaver(store)).latest()
    assert len(decoded["messages"]) == 214
    copies = [thread.latest() for _ in range(4)]
    assert [insides(copy) for copy in copies] == [insides(decoded)] * 4
    addresses = [address for copy in copies for address in objects(copy)]
    assert len(addresses) > 4000
    assert len(set(addresses)) == len(addresses)


def test_listed_values_are_what_decoding_gives_and_share_no_more_than_their_leaves() -> None:
    store = Store()
    thread = varied_thread(store)
    found = SwarmStateSaver(store).list({"configurable": {"thread_id": "1"}})
    listed = [each.checkpoint["channel_values"] for each in found]
    alone = []
    for config, _ in reversed(thread.stored):
        read = SwarmStateSaver(store).get_tuple(config)
        assert read is not None
        alone.append(read.checkpoint["channel_values"])
    assert [insides(values) for values in listed] == [insides(values) for values in alone]
    addresses = [address for values in listed for address in objects(values)]
    assert len(set(addresses)) == len(addresses)
    texts = {id(values["files"]["/7"]["body"]) for values in listed}
    assert len(texts) == 1


def test_another_serializer_is_not_given_what_it_would_not_build() -> None:
    allowed = SwarmStateSerializer(allowed_msgpack_modules=[(Note.__module__, "Note")])
    saver = SwarmStateSaver(serde=allowed)
    thread = Thread(saver)
    for _ in range(4):
        thread.put({"notes": [Note(text="x" * 300, tags=["a"]) for _ in range(60)]})
        assert all(type(note) is Note for note in thread.latest()["notes"])
    saver.serde = SwarmStateSerializer(allowed_msgpack_modules=None)
    assert thread.latest()["notes"][0] == {"text": "x" * 300, "tags": ["a"]}
    saver.serde = allowed
    assert all(type(note) is Note for note in thread.latest()["notes"])


@pytest.mark.skipif(not STATM.exists(), reason="only Linux says how much memory a process has")
def test_threads_whose_last_put_was_refused_are_forgotten_at_last() -> None:
    sharing, codec = Sharing(budget=1 << 20), Codec()
    channel = "long" * 50_000
    before = resident_bytes()
    for thread in map(str, range(1_500)):
        split = sharing.split(codec, thread, None, {channel: ["item" * 100] * 100}, ("in", "1"))
        sharing.keep(thread, "1", split)
        with pytest.raises(EncodeError):
            sharing.split(codec, thread, "1", {channel: object()}, ("in", "2"))
    assert resident_bytes() - before < 150_000_000


def resident_bytes() -> int:
    return int(STATM.read_text().split()[1]) * resource.getpagesize()

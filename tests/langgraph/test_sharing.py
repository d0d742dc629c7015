"""Values are stored as what changed, and read back exactly as they were."""

from __future__ import annotations

import copy
import operator
import random
import sys
import weakref
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.swarmstate import SwarmStateSaver, SwarmStateSerializer
from pydantic import BaseModel
from swarmstate import Store


class Note(BaseModel):
    text: str
    tags: list[str]


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
        "none": None,
    }
    for step in range(80):
        thread.put(values)
        if rng.random() < 0.1:
            thread.saver = rng.choice(savers)
        if rng.random() < reload:
            values = thread.latest()
            assert values == thread.stored[-1][1]
            # What was read before is no part of what is read next.
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
    thread.check(thread.saver)
    thread.check(SwarmStateSaver(store))


def rename(entries: dict[str, Any], old: str, new: str) -> None:
    """Give an entry another key and leave everything else as it is."""
    items = [(new if key == old else key, value) for key, value in entries.items()]
    entries.clear()
    entries.update(items)


def reorder(entries: dict[str, Any]) -> None:
    items = list(entries.items())[::-1]
    entries.clear()
    entries.update(items)


CHANGES: dict[str, Callable[[Any], object]] = {
    "a list grows at its end": lambda item: item["list"].append("new"),
    "a list loses its end": lambda item: item["list"].pop(),
    "a list is emptied": lambda item: item["list"].clear(),
    "an item is exchanged": lambda item: operator.setitem(item["list"], 0, "other"),
    "two items change places": lambda item: item["list"].reverse(),
    "a dict grows": lambda item: operator.setitem(item["dict"], "new", None),
    "a dict loses its end": lambda item: item["dict"].popitem(),
    "a dict is emptied": lambda item: item["dict"].clear(),
    "a value is exchanged": lambda item: operator.setitem(item["dict"], "b", "other"),
    "a key is exchanged": lambda item: rename(item["dict"], "a", "c"),
    "two entries change places": lambda item: reorder(item["dict"]),
    "an int becomes a bool": lambda item: operator.setitem(item["dict"], "b", True),
    "an int becomes a float": lambda item: operator.setitem(item["dict"], "b", 1.0),
    "a leaf becomes a list": lambda item: operator.setitem(item["dict"], "b", []),
    "a list becomes a leaf": lambda item: operator.setitem(item, "list", None),
    "a list becomes a dict": lambda item: operator.setitem(item, "list", {"x": 1, "y": 2}),
    "a message's field": lambda item: setattr(item["message"], "content", "other"),
    "a message's extra field": lambda item: setattr(item["message"], "more", "other"),
    "inside a message's extra field": lambda item: item["message"].more.append(1),
    "a message's deep field": lambda item: item["message"].additional_kwargs["a"].append(1),
    "a message's class": lambda item: setattr(item["message"], "__class__", Subclass),
    "a tuple's inside": lambda item: item["tuple"][0].append(1),
    "a tuple of another length": lambda item: operator.setitem(item, "tuple", ()),
}


class Subclass(HumanMessage):
    """Stored under its own name."""


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("reloads", [0, 1, 3])
@pytest.mark.parametrize("puts", [1, 3])
def test_a_change_in_place_is_stored(what: str, reloads: int, puts: int) -> None:
    store = Store()
    thread = Thread(SwarmStateSaver(store))
    items = [
        {
            "list": ["x", "y"],
            "dict": {"a": "z" * 90, "b": 1},
            "message": HumanMessage("m" * 90, id=str(n), additional_kwargs={"a": [0]}, more=[1]),
            "tuple": ([n], "t"),
        }
        for n in range(80)
    ]
    for _ in range(puts):
        thread.put({"items": items})
    for _ in range(reloads):
        items = thread.latest()["items"]
        for _ in range(puts):
            thread.put({"items": items})
    CHANGES[what](items[40])
    thread.put({"items": items})
    expected = SwarmStateSerializer()
    expected = expected.loads_typed(expected.dumps_typed(items))
    for saver in (thread.saver, SwarmStateSaver(store)):
        found = saver.get_tuple(thread.config)
        assert found is not None
        assert insides(found.checkpoint["channel_values"]["items"]) == insides(expected)


@pytest.mark.parametrize("puts", [1, 3])
def test_a_key_of_a_large_dict_may_change_and_its_value_not(puts: int) -> None:
    thread = Thread(SwarmStateSaver(Store()))
    files = {f"/f{n}": {"body": "b" * 300} for n in range(80)}
    for _ in range(puts):
        thread.put({"files": files})
    rename(files, "/f40", "/g40")
    thread.put({"files": files})
    thread.check(SwarmStateSaver(thread.saver.store))


class Plain:
    """An object whose attributes Python may write past the methods of its dict."""

    def __init__(self) -> None:
        self.text = "t" * 90
        self.number = 0


def assign(item: Plain) -> None:
    item.number += 1


def assign_anew(item: Plain) -> None:
    object.__setattr__(item, "number", item.number + 1)


def delete(item: Plain) -> None:
    del item.number
    item.number = 1


def give_it_more(item: Plain) -> None:
    item.more = 1  # type: ignore[attr-defined]  # not before


ASSIGNMENTS = [assign, assign_anew, delete, give_it_more]


def plain(has_own_dict: bool) -> Plain:
    made = Plain()
    if has_own_dict:
        made.__dict__ = dict(vars(made))
    return made


@pytest.mark.parametrize("change", ASSIGNMENTS)
@pytest.mark.parametrize("is_hot", [False, True])
@pytest.mark.parametrize("has_own_dict", [False, True])
def test_an_attribute_of_an_object_whose_dict_is_in_the_state(
    change: Callable[[Plain], None], is_hot: bool, has_own_dict: bool
) -> None:
    # What runs often is compiled to something that takes short cuts.
    for warm in [plain(has_own_dict) for _ in range(100 * is_hot)]:
        change(warm)
        vars(warm)
        change(warm)
    thread = Thread(SwarmStateSaver(Store()))
    objects = [plain(has_own_dict) for _ in range(120)]
    for step in range(6):
        values = {"items": [vars(each) for each in objects]}
        for _ in range(step % 3 + 1):
            thread.put(values)
        change(objects[17 * step])
    thread.check(thread.saver)


class Change(NamedTuple):
    """What changes a container, as an expression about the dict `d` or the list `l`."""

    expression: str
    leaves_it_as_it_was: bool = False


DICT_CHANGES = [
    Change("d.__setitem__('a', 'other')"),
    Change("d.__setitem__('new', 1)"),
    Change("d.__delitem__('a')"),
    Change("d.pop('b')"),
    Change("d.popitem()"),
    Change("d.clear()"),
    Change("d.update(a=2)"),
    Change("d.update({'new': 1})"),
    Change("d.setdefault('new')"),
    Change("d.setdefault('a')", leaves_it_as_it_was=True),
    Change("d.__ior__({'b': 3})"),
    Change("d.__init__(b=4)"),
    Change("d.update(d)", leaves_it_as_it_was=True),
    Change("d.update(b=d.pop('b'))", leaves_it_as_it_was=True),
    Change("exec('b = 5', d) or d.pop('__builtins__')"),
    Change("d.update(a=d.pop('a'))"),
]

LIST_CHANGES = [
    Change("l.append('new')"),
    Change("l.insert(0, 'new')"),
    Change("l.pop()"),
    Change("l.pop(0)"),
    Change("l.remove('b')"),
    Change("l.clear()"),
    Change("l.reverse()"),
    Change("l.sort(key=str)"),
    Change("l.extend(l)"),
    Change("l.__setitem__(0, 'z' * 80)"),
    Change("l.__setitem__(0, ['z' * 90])"),
    Change("l.__setitem__(2, 'other')"),
    Change("l.__setitem__(slice(0, 2), l[1::-1])"),
    Change("l.__setitem__(slice(2, 4), l[3:1:-1])"),
    Change("l.__setitem__(3, dict(l[2]))"),
    Change("l.__delitem__(slice(1, 3))"),
    Change("l.__imul__(2)"),
    Change("l.append(l.pop())", leaves_it_as_it_was=True),
    Change("l.__init__(list(l))", leaves_it_as_it_was=True),
    Change("l[2].update(n=[2])"),
    Change("l[4][0].append(2)"),
]


def small_dict(n: int) -> Any:
    return {"a": "z" * 90, "b": n}


def small_list(n: int) -> Any:
    return ["z" * 90, "b", {"n": [1]}, {"n": [n]}, [[n], "t"]]


@pytest.mark.parametrize(
    ("make", "change"),
    [
        pytest.param(make, change, id=change.expression)
        for make, changes in ((small_dict, DICT_CHANGES), (small_list, LIST_CHANGES))
        for change in changes
    ],
)
def test_every_way_to_change_a_container_is_seen(
    make: Callable[[int], Any], change: Change
) -> None:
    thread = Thread(SwarmStateSaver(Store()))
    items = [make(n) for n in range(120)]
    for _ in range(3):
        thread.put({"items": items})
    before = insides(items[70])
    eval(change.expression, {"d": items[70], "l": items[70]})
    assert (insides(items[70]) == before) == change.leaves_it_as_it_was
    thread.put({"items": items})
    saver = SwarmStateSaver(thread.saver.store)
    thread.check(saver)
    found = saver.get_tuple(thread.config)
    assert found is not None
    assert insides(found.checkpoint["channel_values"]["items"]) == insides(items)


FIELDS: dict[str, Callable[[HumanMessage], Any]] = {
    "equal": lambda message: dict(vars(message)),
    "other": lambda message: {**vars(message), "content": "other"},
    "in another order": lambda message: dict(reversed(list(vars(message).items()))),
}


@pytest.mark.parametrize("what", FIELDS)
@pytest.mark.parametrize("slot", ["__dict__", "__pydantic_extra__"])
@pytest.mark.parametrize("has_extra", [True, False])
def test_the_fields_of_a_message_may_be_exchanged_for_others(
    what: str, slot: str, has_extra: bool
) -> None:
    thread = Thread(SwarmStateSaver(Store()))
    messages = [HumanMessage("m" * 90, id=str(n), more=[n]) for n in range(120)]
    if not has_extra:
        for message in messages:
            object.__setattr__(message, "__pydantic_extra__", None)
    for _ in range(3):
        thread.put({"messages": messages})
    fields = FIELDS[what](messages[70])
    object.__setattr__(messages[70], slot, fields)
    thread.put({"messages": messages})
    object.__setattr__(messages[71], slot, fields)
    thread.put({"messages": messages})
    expected = SwarmStateSerializer()
    expected = expected.loads_typed(expected.dumps_typed(messages))
    found = SwarmStateSaver(thread.saver.store).get_tuple(thread.config)
    assert found is not None
    assert insides(found.checkpoint["channel_values"]["messages"]) == insides(expected)


def test_what_was_recognized_is_held_so_that_nothing_is_taken_for_it() -> None:
    thread = Thread(SwarmStateSaver(Store()))
    messages = [HumanMessage("m" * 90, id=str(n)) for n in range(120)]
    for _ in range(3):
        thread.put({"messages": messages})
    ref = weakref.ref(messages[70])
    messages[70] = HumanMessage("other")
    # Dicts had versions up to 3.13; what has none is recognized by its leaves, which are held.
    assert (ref() is not None) == ((3, 11) <= sys.version_info < (3, 14))
    thread.put({"messages": messages})
    assert ref() is None


def test_objects_at_the_addresses_of_others_are_not_taken_for_them() -> None:
    thread = Thread(SwarmStateSaver(Store()))
    items: list[Any] = [{"text": "x" * 90, "parts": [n, n]} for n in range(120)]
    for step in range(20):
        for _ in range(3):
            thread.put({"items": items})
        # Emptied before it is filled again, so that the allocator gives out the same places.
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
        # Nothing of what comes is the object that was put before.
        values = serde.loads_typed(serde.dumps_typed(values))
        if rebuilt == "messages":
            values["messages"].append(HumanMessage(f"new {index}: {'word ' * 60}", id=f"n{index}"))
        else:
            values["files"][f"{index}.py"] = f"# changed {index}\n" * 200
        thread.put(values)
    # A checkpoint and what is new in it.
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


def insides(value: Any) -> Any:
    """Everything that a value consists of, in its order, with all that pydantic keeps."""
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
    """The addresses of all objects in a value that can change."""
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


def varied_thread(store: Store) -> Thread:
    """A thread of 30 checkpoints with values of every kind, which share most of what they hold."""
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

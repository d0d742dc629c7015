"""A value changed in place is stored as it is now, whatever the saver remembers of it."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.swarmstate import SwarmStateSaver, SwarmStateSerializer
from swarmstate import Store

from tests.langgraph.helpers.threads import Thread, insides


def rename(entries: dict[str, Any], old: str, new: str) -> None:
    """Rename the key of an entry and leave everything else unchanged."""
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
    """An object whose attributes Python may write without calling its dict's methods."""

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
    item.more = 1  # type: ignore[attr-defined]  # added dynamically


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
    # The interpreter specializes hot code, which then takes shortcuts.
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
    """A change of a container, as an expression on the dict `d` or the list `l`."""

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

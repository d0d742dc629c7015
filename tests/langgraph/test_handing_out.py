"""A loaded state belongs to the caller alone, whether its objects are new or were loaded before."""

from __future__ import annotations

import faulthandler
import gc
import random
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.swarmstate import SwarmStateSaver, SwarmStateSerializer
from pydantic import BaseModel
from swarmstate import Store

from tests.langgraph.helpers.logs import text

_THREAD: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
_COUNT = 60


def _message(index: int) -> AnyMessage:
    text = f"message {index} " * 10
    if index % 3 == 0:
        return HumanMessage([{"type": "text", "text": text}], id=str(index))
    if index % 3 == 1:
        call = {"name": "search", "args": {"q": text, "deep": [1, {"x": 2}]}, "id": f"c{index}"}
        kwargs = {"note": {"tags": ["a"]}}
        return AIMessage(text, id=str(index), tool_calls=[call], additional_kwargs=kwargs)
    return ToolMessage(text, tool_call_id=f"c{index}", id=str(index), artifact={"rows": [index]})


def _saver(values: dict[str, Any]) -> SwarmStateSaver:
    """Return a saver with stored values that it has already loaded once."""
    store = Store()
    _put(SwarmStateSaver(store), _THREAD, values)
    saver = SwarmStateSaver(store)
    _load(saver)
    return saver


def _put(saver: SwarmStateSaver, config: Any, values: dict[str, Any]) -> Any:
    checkpoint = empty_checkpoint()
    checkpoint["id"] = str(uuid6())
    checkpoint["channel_values"] = values
    metadata: Any = {"source": "loop", "step": 1, "parents": {}}
    return saver.put(config, checkpoint, metadata, {})


def _load(saver: SwarmStateSaver) -> dict[str, Any]:
    found = saver.get_tuple(_THREAD)
    assert found is not None
    return found.checkpoint["channel_values"]


def _messages_saver() -> SwarmStateSaver:
    return _saver({"messages": [_message(index) for index in range(_COUNT)]})


def _messages(saver: SwarmStateSaver, puts: int = 0) -> list[Any]:
    """Return the messages after storing them again this many times."""
    found = saver.get_tuple(_THREAD)
    assert found is not None
    config = found.config
    messages: list[Any] = found.checkpoint["channel_values"]["messages"]
    for _ in range(puts):
        config = _put(saver, config, {"messages": list(messages)})
    return messages


def _described(value: Any) -> Any:
    """Return everything observable in a value, in order."""
    if isinstance(value, dict):
        return [(key, _described(item)) for key, item in value.items()]
    if isinstance(value, list):
        return [_described(item) for item in value]
    if hasattr(value, "model_fields_set"):
        beside = (sorted(value.model_fields_set), _described(value.__pydantic_extra__))
        return type(value), _described(vars(value)), beside, value.__pydantic_private__
    return type(value), value


def _containers(value: Any) -> Iterator[Any]:
    """Yield everything mutable in a value."""
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from _containers(item)
    elif isinstance(value, list):
        yield value
        for item in value:
            yield from _containers(item)
    elif hasattr(value, "model_fields_set"):
        yield value
        yield value.model_fields_set
        yield from _containers(vars(value))
        yield from _containers(value.__pydantic_extra__)


def _noting(load: Callable[[], Any]) -> tuple[Any, Callable[[Any], bool]]:
    """Return what is loaded, and whether a container in it was there before.

    Weak references would say so, too, but what has one is not handed out.
    """
    gc.freeze()  # The collector lists only what was made since.
    try:
        loaded = load()
        made = {id(each) for each in gc.get_objects()}
    finally:
        gc.unfreeze()
    return loaded, lambda value: id(value) not in made


@pytest.mark.parametrize("puts", [0, 2])
def test_what_nobody_holds_is_handed_out_again(puts: int) -> None:
    saver = _messages_saver()
    expected = _described(_messages(saver, puts))
    again, was_there = _noting(lambda: _messages(saver))
    assert _described(again) == expected
    assert all(map(was_there, again))


@pytest.mark.parametrize("puts", [0, 2])
def test_what_is_in_a_large_dict_in_a_dict_is_handed_out_again(puts: int) -> None:
    rows = {f"row {index}": _message(index) for index in range(_COUNT)}
    saver = _saver({"report": {"rows": rows, "by": "audit"}})
    found = saver.get_tuple(_THREAD)
    assert found is not None
    config, report = found.config, found.checkpoint["channel_values"]["report"]
    for _ in range(puts):
        config = _put(saver, config, {"report": dict(report)})
    del found, report
    again, was_there = _noting(lambda: _load(saver)["report"]["rows"])
    assert again == rows
    assert all(map(was_there, again.values()))


@pytest.mark.parametrize("puts", [0, 2])
def test_an_entry_that_is_cut_by_content_is_handed_out_to_one_alone(puts: int) -> None:
    store = Store()
    writer, config, files = SwarmStateSaver(store), _THREAD, {}
    for turn in range(3):
        files = {"plan": HumanMessage(text(turn, 20_000), id="plan"), "turn": turn}
        config = _put(writer, config, {"files": files})
    saver = SwarmStateSaver(store)
    for _ in range(2):
        loaded = _load(saver)["files"]
    for _ in range(puts):
        config = _put(saver, config, {"files": dict(loaded)})
    del loaded
    again, was_there = _noting(lambda: _load(saver)["files"])
    assert again == files
    assert was_there(again["plan"])
    again["plan"].content = "changed"
    assert _load(saver)["files"] == files
    held = _load(saver)["files"]["plan"]
    other = _load(saver)["files"]
    assert other["plan"] is not held
    held.content = "changed"
    assert other == _load(saver)["files"] == files


def test_what_was_loaded_is_handed_out_again_however_the_thread_grows() -> None:
    saver = _messages_saver()
    config = saver.get_tuple(_THREAD).config  # type: ignore[union-attr]  # was put above
    for step in range(8):
        messages = _messages(saver)
        loaded = len(messages)
        more = [_message(_COUNT + 9 * step + more) for more in range(9)]
        messages = [*messages, *more] if step % 2 else [*more, *messages]
        config = _put(saver, config, {"messages": messages})
        expected = len(messages)
        del messages
        again, was_there = _noting(lambda: _messages(saver))
        assert len(again) == expected
        assert sum(map(was_there, again)) >= loaded
        del again


def test_what_is_held_is_not_handed_out_again() -> None:
    saver = _messages_saver()
    held = _messages(saver)
    expected = _described(held)
    for message in _messages(saver):
        message.content = "changed"
    assert _described(held) == expected
    assert _described(_messages(saver)) == expected


HOLDS: dict[str, Callable[[Any], Any]] = {
    "the message": lambda message: message,
    "a method": lambda message: message.pretty_repr,
    "its fields": vars,
    "a view of them": lambda message: vars(message).values(),
    "the names that are set": lambda message: message.model_fields_set,
    "extra fields": lambda message: message.__pydantic_extra__,
    "a dict": lambda message: message.additional_kwargs,
    "a dict in a dict": lambda message: message.additional_kwargs["note"],
    "a list in it": lambda message: message.additional_kwargs["note"]["tags"],
    "a list": lambda message: message.tool_calls,
    "an iterator over it": lambda message: iter(message.tool_calls),
    "a call": lambda message: message.tool_calls[0],
    "what is deep in it": lambda message: message.tool_calls[0]["args"]["deep"][1],
    "a weak reference": weakref.ref,
}


@pytest.mark.parametrize("what", HOLDS)
@pytest.mark.parametrize("puts", [0, 2])
def test_a_message_of_which_a_part_is_held_is_another_one(what: str, puts: int) -> None:
    saver = _messages_saver()
    loaded = _messages(saver, puts)
    expected = _described(loaded)
    held = HOLDS[what](loaded[1])
    del loaded
    again, was_there = _noting(lambda: _messages(saver))
    assert _described(again) == expected
    assert [*map(was_there, again)] == [index != 1 for index in range(_COUNT)]
    assert all(each is not held for each in _containers(again))
    assert not (isinstance(held, weakref.ref) and held())


CHANGES: dict[str, Callable[[Any], object]] = {
    "a field is assigned": lambda message: setattr(message, "content", "changed"),
    "an equal value is assigned": lambda message: setattr(
        message, "content", "".join(list(message.content))
    ),
    "a field is deleted": lambda message: message.__dict__.pop("name"),
    "a field moves to the end": lambda message: message.__dict__.update(
        id=message.__dict__.pop("id")
    ),
    "an attribute appears": lambda message: message.__dict__.update(cached=1),
    "an extra field appears": lambda message: setattr(message, "mark", 1),
    "a name is no longer set": lambda message: message.model_fields_set.discard("content"),
    "a name more is set": lambda message: message.model_fields_set.add("foreign"),
    "there is something private": lambda message: object.__setattr__(
        message, "__pydantic_private__", {"_x": 1}
    ),
    "a dict grows": lambda message: message.additional_kwargs.update(more=1),
    "a dict loses something": lambda message: message.additional_kwargs.clear(),
    "a nested dict changes": lambda message: message.additional_kwargs["note"].update(tags=[]),
    "a nested list grows": lambda message: message.additional_kwargs["note"]["tags"].append("b"),
    "a list is emptied": lambda message: message.tool_calls.clear(),
    "a call is exchanged": lambda message: message.tool_calls.__setitem__(
        0, dict(message.tool_calls[0], name="other")
    ),
    "something deep changes": lambda message: message.tool_calls[0]["args"]["deep"][1].update(x=3),
    "its class is another": lambda message: object.__setattr__(
        message, "__class__", type("Other", (AIMessage,), {})
    ),
}


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("puts", [0, 2])
def test_what_was_changed_is_as_it_was_stored_when_it_is_loaded_again(what: str, puts: int) -> None:
    saver = _messages_saver()
    expected = _described(_messages(saver))
    CHANGES[what](_messages(saver, puts)[1])
    assert _described(_messages(saver)) == expected


@pytest.mark.parametrize("puts", [0, 1, 3])
@pytest.mark.parametrize("held", [True, False])
def test_a_tuple_is_loaded_as_what_it_was_stored_as_however_often_it_was_put(
    puts: int, held: bool
) -> None:
    saver = _saver({"items": []})
    config: Any = _THREAD
    items = [{"text": "x" * 200, "pair": ([n], "b")} for n in range(_COUNT)]
    for _ in range(1 + puts):
        config = _put(saver, config, {"items": items})
    del items
    stored = [{"text": "x" * 200, "pair": [[n], "b"]} for n in range(_COUNT)]
    assert _described(_load(saver)["items"]) == _described(stored)
    loaded = _load(saver)["items"]
    for item in loaded:
        item["pair"] = tuple(item["pair"])
    for _ in range(1 + puts):
        config = _put(saver, config, {"items": loaded})
    pair = loaded[7]["pair"] if held else ([],)
    del loaded, item
    pair[0].append("changed")
    assert _described(_load(saver)["items"]) == _described(stored)


class Slotted(BaseModel):
    """A model with state beside its fields."""

    __slots__ = ("mark",)

    text: str


def test_what_is_in_a_slot_of_a_class_is_not_handed_out_again() -> None:
    saver = _saver({"messages": [Slotted(text=f"text {n} " * 20) for n in range(_COUNT)]})
    saver.serde = SwarmStateSerializer(allowed_msgpack_modules=[(__name__, "Slotted")])
    for message in _messages(saver):
        assert type(message) is Slotted
        object.__setattr__(message, "mark", 1)
    for message in _messages(saver):
        assert not hasattr(message, "mark")


def test_equal_parts_of_a_list_are_different_objects() -> None:
    item = {"words": ["x" * 30, ["y" * 30]]}
    saver = _saver({"items": [item] * 3_000, "more": [item] * 3_000})
    for _ in range(4):
        values = _load(saver)
        containers = list(_containers(values))
        assert len({id(each) for each in containers}) == len(containers)
        values["items"][0]["words"][1].append("changed")
        assert values["items"][1:] == values["more"][1:] == [item] * 2_999


class Note(BaseModel):
    text: str


def test_what_is_let_go_of_may_use_the_saver() -> None:
    serde = SwarmStateSerializer(allowed_msgpack_modules=[(__name__, "Note")])
    saver = _saver({"notes": [Note(text="x" * 60)] * 3_000})
    saver.serde = serde
    seen: list[Any] = []
    # Two places of the list share the notes as one blob, so loading again releases them.
    refs = [
        weakref.ref(note, lambda ref: seen.append(saver.get_tuple(_THREAD)))
        for note in _load(saver)["notes"][:2_048:2_047]
    ]
    # A thread that deadlocks on itself while holding the GIL would never end; this ends the
    # process.
    faulthandler.dump_traceback_later(60, exit=True)
    try:
        _load(saver)
    finally:
        faulthandler.cancel_dump_traceback_later()
    assert seen
    assert all(ref() is None for ref in refs)


def test_threads_that_load_at_once_share_nothing() -> None:
    saver = _messages_saver()
    count, rounds = 4, 30
    barrier = threading.Barrier(count)
    loaded: list[list[Any]] = [[] for _ in range(count)]

    def load(number: int) -> None:
        for _ in range(rounds):
            barrier.wait()
            loaded[number] = _messages(saver)
            if barrier.wait() == 0:
                containers = [id(each) for found in loaded for each in _containers(found)]
                shared.append(len(containers) - len(set(containers)))
                # Release everything, so that the next round can hand it out.
                loaded[:] = [[] for _ in range(count)]

    shared: list[int] = []
    threads = [threading.Thread(target=load, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shared == [0] * rounds


def test_the_collector_finds_what_is_kept_for_later() -> None:
    saver = _messages_saver()
    ref = weakref.ref(_messages(saver)[0])
    gc.collect()
    assert ref() is not None
    del saver
    gc.collect()
    assert ref() is None


@given(st.integers(0, 2**32))
def test_whatever_is_held_or_changed_a_load_gives_what_was_stored(seed: int) -> None:
    rng = random.Random(seed)
    saver = _messages_saver()
    expected = _described(_messages(saver))
    held: list[Any] = []
    for _ in range(6):
        loaded = _messages(saver, rng.randrange(3))
        assert _described(loaded) == expected
        mine = {id(each) for each in _containers(loaded)}
        assert not mine & {id(each) for each in held}
        for _ in range(rng.randrange(4)):
            held.append(rng.choice(list(_containers(loaded))))
        for message in rng.sample(loaded, rng.randrange(4)):
            change = rng.choice(list(CHANGES.values()))
            if isinstance(message, AIMessage):
                change(message)
        if rng.random() < 0.3:
            held += _containers(loaded)
        if rng.random() < 0.3:
            held.clear()
        del loaded

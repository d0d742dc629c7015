"""What the codec preserves, and how it refuses the rest."""

from __future__ import annotations

import collections
import contextlib
import datetime as dt
import gc
import sys
import threading
from collections import OrderedDict, deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from swarmstate import Codec, dumps, loads
from swarmstate.errors import DecodeError, EncodeError, TypeNotAllowedError

from tests.core import codec_types as types
from tests.core.codec_types import ALLOWED, Color, Derived, Frozen, Note, Point, canon

codec = Codec(allow=ALLOWED)
make_default: Any = collections.defaultdict


@given(types.everything)
def test_every_value_comes_back_as_it_was(value: Any) -> None:
    assert canon(codec.loads(codec.dumps(value))) == canon(value)


@given(types.everything)
def test_encoding_is_stable(value: Any) -> None:
    data = codec.dumps(value)
    assert dumps(value) == data
    again = codec.loads(data)
    # Sets are unordered.
    if b"set" not in data:
        assert codec.dumps(again) == data


@pytest.mark.parametrize(
    "value",
    [
        {(1, (2, "a")): 1},
        {frozenset({(1, 2)}), (3, (4, frozenset({(5,)})))},
        {Color.MIXED: Color.MIXED, dt.date(2020, 1, 1): {dt.timedelta(1): [None]}},
        {"a\ud800": ["\udfff", {"deep": {"\ud83d": ["x"]}}], "b": []},
        deque([1, 2], maxlen=2),
        10**5000,
        -(2**64),
        OrderedDict([("b", 1), ("a", OrderedDict())]),
        make_default(list, {"a": make_default(int)}),
        collections.Counter({(1, 2): 3, "a": -1}),
        [bytearray(b"x"), b"x"],
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_that_others_lose(value: Any) -> None:
    assert canon(codec.loads(codec.dumps(value))) == canon(value)


def test_moved_items_of_an_ordered_dict_keep_their_order() -> None:
    value = OrderedDict(a=1, b=2)
    value.move_to_end("a")
    assert list(loads(dumps(value))) == ["b", "a"]


def test_subclasses_of_plain_types_become_plain() -> None:
    value = {types.Word("k"): types.Loose(a=types.Word("v"))}
    assert canon(loads(dumps(value))) == canon({"k": {"a": "v"}})


def test_a_field_outside_init_keeps_its_value() -> None:
    note = Derived(2)
    note.doubled = 4
    assert codec.loads(codec.dumps(note)) == note


def test_what_comes_back_is_independent() -> None:
    value = {"a": [1]}
    data = dumps(value)
    first = loads(data)
    first["a"].append(2)
    assert loads(data) == {"a": [1]} == value


@pytest.mark.parametrize("is_enabled", [True, False])
@pytest.mark.parametrize("damage", [b"", b"\xc1"], ids=["whole", "damaged"])
def test_reading_leaves_the_garbage_collector_as_it_was(is_enabled: bool, damage: bytes) -> None:
    data = dumps([{"n": n} for n in range(5_000)]) + damage
    was_enabled = gc.isenabled()
    try:
        (gc.enable if is_enabled else gc.disable)()
        with pytest.raises(DecodeError) if damage else contextlib.nullcontext():
            loads(data)
        assert gc.isenabled() == is_enabled
    finally:
        (gc.enable if was_enabled else gc.disable)()


def test_any_buffer_can_be_read() -> None:
    data = dumps([1, "a"])
    for buffer in (bytearray(data), memoryview(data), memoryview(data * 2)[: len(data)]):
        assert loads(buffer) == [1, "a"]
    with pytest.raises(TypeError):
        loads("text")  # type: ignore[arg-type]


class Node:
    """A class that the codec has no rule for."""


class Raising:
    def model_dump(self) -> Any:
        raise RuntimeError("no luck")


class Holder:
    def __init__(self, value: Any) -> None:
        self.value = value

    def model_dump(self) -> Any:
        return {"value": self.value}


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (Node(), "at the top level"),
        ({"messages": [1, 2, 3, Note("a", {"x": Node()})]}, "at ['messages'][3].body['x']"),
        ({"a": {(1, Node()): 2}}, "(the key itself)[1]"),
        ({"a": Holder([Node()])}, "at ['a'].value[0]"),
        (({1: Node()},), "at [0][1]"),
        ({dt.date(2020, 1, 1): Node()}, "at [datetime.date(2020, 1, 1)]"),
        ({1, Node}, "type at"),
    ],
    ids=lambda case: case if isinstance(case, str) else None,
)
def test_refusals_say_what_and_where(value: Any, path: str) -> None:
    with pytest.raises(EncodeError) as caught:
        dumps(value)
    assert path in str(caught.value)
    assert isinstance(caught.value, TypeError)


def test_errors_of_hooks_are_the_cause() -> None:
    with pytest.raises(EncodeError, match=r"Raising at \['a'\]: RuntimeError: no luck") as caught:
        dumps({"a": Raising()})
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize(
    "value",
    [
        make_default(lambda: 1),
        make_default(Note("a").__eq__),
        object(),
        int,
        len,
        iter([]),
        np.ma.array([1, 2], mask=[False, True]),
        np.array([1, "a"], dtype=object),
        type("Local", (Note,), {})("a"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_would_be_lost_is_refused(value: Any) -> None:
    with pytest.raises(EncodeError):
        dumps(value)


def nested(levels: int, wrap: Any) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = wrap(value)
    return value


WRAPS = {
    "list": lambda value: [value],
    "dict": lambda value: {"a": value},
    "tuple": lambda value: (value,),
    "set": lambda value: frozenset([value]),
    "deque": lambda value: deque([value]),
    "note": Note,
    "model": Holder,
    "pairs": lambda value: {dt.date(2020, 1, 1): value},
    "key": lambda value: (value,),
}


@pytest.mark.parametrize("kind", WRAPS)
@pytest.mark.parametrize("stack", [None, 256 * 1024])
def test_deep_nesting_is_an_error_and_never_a_crash(kind: str, stack: int | None) -> None:
    value = nested(10_000, WRAPS[kind])
    value = {value: 1} if kind == "key" else value
    shallow = nested(150, WRAPS[kind])
    data = dumps(shallow if kind != "key" else {shallow: 1})
    caught: list[BaseException] = []

    def attempt() -> None:
        loads(data, allow=True)
        try:
            dumps(value)
        except EncodeError as error:
            caught.append(error)

    # Freeing a deep deque takes extra stack, so none may be left to collect while the thread runs.
    gc.collect()
    old = threading.stack_size(stack or 0)
    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    threading.stack_size(old)
    assert "nested more than" in str(caught[0])


def test_cycles_are_an_error() -> None:
    cycle: list[Any] = []
    cycle.append({"a": cycle})
    note = Note(None)
    note.body = [note]
    for value in (cycle, note):
        with pytest.raises(EncodeError, match="cyclic"):
            dumps(value)


def test_deep_data_is_an_error_and_never_a_crash() -> None:
    ext = b""
    for _ in range(10_000):
        ext = b"\xc9" + len(ext + b"\x90").to_bytes(4, "big") + b"\x2b" + (ext or b"\x90")
    for data in (b"\x91" * 10_000, b"\x81\x01" * 10_000, b"\x81" + b"\x91" * 10_000):
        with pytest.raises(DecodeError):
            loads(data + b"\x01")


class Reentrant:
    """Its hook encodes the object itself, recursively."""

    def model_dump(self) -> Any:
        return {"data": dumps(self)}


def test_hooks_that_come_back_for_ever_are_an_error() -> None:
    with pytest.raises(EncodeError, match="re-entered from its own hooks"):
        dumps(Reentrant())
    assert loads(dumps({"a": 1})) == {"a": 1}


def test_containers_that_change_meanwhile_are_an_error() -> None:
    class Sneaky:
        def __init__(self, change: Any) -> None:
            self.change = change

        def model_dump(self) -> Any:
            self.change()
            return {}

    items: list[Any] = []
    items += [Sneaky(items.clear), 1]
    fields: dict[str, Any] = {}
    fields |= {"a": Sneaky(lambda: fields.update(b=2))}
    for value in (items, fields):
        Sneaky.__qualname__ = Sneaky.__name__
        setattr(sys.modules[__name__], "Sneaky", Sneaky)  # noqa: B010
        with pytest.raises(EncodeError, match="changed size"):
            dumps(value)


def test_only_allowed_classes_are_built() -> None:
    data = dumps([Note("a", Frozen("b"))])
    with pytest.raises(
        TypeNotAllowedError, match=r'allow=\[\("tests.core.codec_types", "Frozen"\)'
    ):
        loads(data)
    assert loads(data, allow=True) == [Note("a", Frozen("b"))]
    assert loads(data, allow=[Note, ("tests.core.codec_types", "Frozen")]) == [
        Note("a", Frozen("b"))
    ]
    with pytest.raises(TypeNotAllowedError, match="Note"):
        loads(data, allow=[Frozen])


@pytest.mark.parametrize("module", ["pathlib", "pathlib._local"])
def test_a_path_is_read_whichever_python_has_written_it(module: str) -> None:
    # Only Python 3.13 names the second one as the module.
    payload = dumps([module, type(Path()).__name__, ["a", "b"]])
    assert loads(bytes([0xC7, len(payload), 1]) + payload) == Path("a", "b")


def test_nothing_is_imported_for_a_class_that_is_not_allowed() -> None:
    name = b"antigravity"
    data = bytes([0x93, 0xA0 | len(name)]) + name + b"\xa1x\x90"
    data = bytes([0xC7, len(data), 1]) + data
    sys.modules.pop("antigravity", None)
    with pytest.raises(TypeNotAllowedError):
        loads(data)
    assert "antigravity" not in sys.modules


def test_a_codec_writes_only_what_it_reads() -> None:
    with pytest.raises(TypeNotAllowedError, match=r'allow=\[\("tests.core.codec_types", "Point"\)'):
        Codec().dumps({"a": Point(1, 2)})
    with pytest.raises(TypeNotAllowedError, match="Note"):
        Codec().dumps(make_default(Note))
    assert Codec(allow=[Note]).loads(Codec(allow=[Note]).dumps(make_default(Note))) == {}
    assert Codec(allow=True).loads(Codec().dumps({"a": {1}})) == {"a": {1}}


@pytest.mark.parametrize("allow", ["Note", [1], [("a",)], [("a", 1)], 5])
def test_bad_allow_arguments_are_refused(allow: Any) -> None:
    with pytest.raises(TypeError):
        Codec(allow=allow)


def test_a_class_that_no_longer_takes_its_data_is_named() -> None:
    data = dumps(Note("a")).replace(b"body", b"bods")
    with pytest.raises(DecodeError, match=r"tests\.core\.codec_types\.Note could not be built"):
        loads(data, allow=True)

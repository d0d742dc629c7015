"""LangGraph's rules about classes: results, events and log records equal those of stock."""

from __future__ import annotations

import collections
import logging
from typing import Any

import pytest
from langgraph.checkpoint.serde import _msgpack, jsonplus
from langgraph.checkpoint.serde.event_hooks import register_serde_event_listener
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.swarmstate.serde import SwarmStateSerializer

from tests.core import codec_types as types
from tests.core.codec_types import Color, Frozen, Model, Note, Point, canon

VALUE = {
    "notes": [Note("a", Frozen("b")), Note("c", {1})],
    "point": Point(Color.RED, Model(name="m")),
    "frozen": Frozen("d"),
}


def observe(
    make: Any, data: tuple[str, bytes], caplog: pytest.LogCaptureFixture
) -> tuple[Any, list[Any], list[str]]:
    """Load `data` in a process that has not warned yet; return the result, events and log."""
    for seen in (
        jsonplus._warned_unregistered_types,
        jsonplus._warned_blocked_types,
        jsonplus._warned_unreconstructable_types,
    ):
        seen.clear()
    events: list[Any] = []
    unregister = register_serde_event_listener(events.append)
    caplog.clear()
    try:
        with caplog.at_level(logging.DEBUG):
            serde = make()
            result = [serde.loads_typed(data), serde.loads_typed(data)]
    finally:
        unregister()
    return canon(result), events, [f"{r.name} {r.levelname} {r.message}" for r in caplog.records]


def compare(
    options: dict[str, Any],
    data: tuple[str, bytes],
    caplog: pytest.LogCaptureFixture,
    extra: Any = None,
) -> tuple[Any, list[Any], list[str]]:
    def make(kind: Any) -> Any:
        serde = kind(**options)
        return serde if extra is None else serde.with_msgpack_allowlist(extra)

    expected = observe(lambda: make(JsonPlusSerializer), data, caplog)
    assert observe(lambda: make(SwarmStateSerializer), data, caplog) == expected
    assert type(make(SwarmStateSerializer)) is SwarmStateSerializer
    return expected


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"allowed_msgpack_modules": None},
        {"allowed_msgpack_modules": True},
        {"allowed_msgpack_modules": []},
        {"allowed_msgpack_modules": [Note]},
        {"allowed_msgpack_modules": [("tests.core.codec_types", "Frozen"), Model, Color]},
        {"allowed_msgpack_modules": types.ALLOWED},
        {"allowed_msgpack_modules": [("three", "part", "name"), Point]},
    ],
    ids=str,
)
@pytest.mark.parametrize("extra", [None, [], [Note], [("tests.core.codec_types", "Point")]])
@pytest.mark.parametrize("strict", [False, True])
def test_rules(
    options: dict[str, Any],
    extra: Any,
    strict: bool,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_msgpack, "STRICT_MSGPACK_ENABLED", strict)
    data = JsonPlusSerializer().dumps_typed(VALUE)
    _, events, _ = compare(options, data, caplog, extra)
    if options == {} and extra is None:
        kind = "msgpack_blocked" if strict else "msgpack_unregistered_allowed"
        assert {event["kind"] for event in events} == {kind}


def test_strict_mode_gives_back_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_msgpack, "STRICT_MSGPACK_ENABLED", True)
    serde = SwarmStateSerializer()
    found = serde.loads_typed(serde.dumps_typed([Note("a"), Color.RED, {1}]))
    assert found == [{"title": "a", "body": None}, "red", {1}]


def packed(code: int, *parts: Any) -> tuple[str, bytes]:
    """Return an ext as it may occur in stock data."""
    import ormsgpack

    inner = ormsgpack.packb(parts, option=ormsgpack.OPT_NON_STR_KEYS)
    return "msgpack", ormsgpack.packb({"a": ormsgpack.Ext(code, inner)})


BROKEN = {
    "no module": packed(0, "no_such_module", "Thing", {"a": 1}),
    "no class": packed(1, "tests.core.codec_types", "Gone", [1]),
    "wrong fields": packed(2, "tests.core.codec_types", "Note", {"gone": 1}),
    "wrong args": packed(1, "tests.core.codec_types", "Note", [1, 2, 3]),
    "not a date": packed(3, "datetime", "datetime", "yesterday", "fromisoformat"),
    "bad value": packed(0, "tests.core.codec_types", "Color", "green"),
    "unhashable": packed(0, "builtins", "set", [{"a": 1}]),
    "no model": packed(5, "tests.core.codec_types", "Gone", {"a": 1}, "model_validate_json"),
    "bad model": packed(5, "tests.core.codec_types", "Model", {"value": 1}, "model_validate_json"),
    "not a model": packed(5, "tests.core.codec_types", "Note", [1], "model_validate_json"),
    "no v1 model": packed(4, "tests.core.codec_types", "Gone", {"a": 1}),
    "method": packed(3, "datetime", "datetime", 5, "fromtimestamp"),
    "other method": packed(3, "os", "environ", "HOME", "get"),
    "exception": packed(0, "builtins", "ValueError", "x"),
}


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize("allowed", [True, None, types.ALLOWED])
def test_what_cannot_be_rebuilt_stays_as_its_data(
    case: str, allowed: Any, caplog: pytest.LogCaptureFixture
) -> None:
    compare({"allowed_msgpack_modules": allowed}, BROKEN[case], caplog)


def test_a_listener_that_fails_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def fail(event: Any) -> None:
        raise RuntimeError("listener")

    unregister = register_serde_event_listener(fail)
    try:
        compare({}, JsonPlusSerializer().dumps_typed(VALUE), caplog)
    finally:
        unregister()


def test_the_allowlist_of_a_copy_does_not_reach_the_original() -> None:
    serde = SwarmStateSerializer(allowed_msgpack_modules=None)
    data = serde.dumps_typed(Note("a"))
    assert serde.loads_typed(data) == {"title": "a", "body": None}
    wider = serde.with_msgpack_allowlist([Note])
    assert wider.loads_typed(data) == Note("a")
    assert serde.loads_typed(data) == {"title": "a", "body": None}
    assert wider.with_msgpack_allowlist([Note]) is wider


def test_blocked_factories_leave_a_dict() -> None:
    defaultdict: Any = collections.defaultdict
    serde = SwarmStateSerializer(allowed_msgpack_modules=None)
    data = serde.dumps_typed([defaultdict(Note, a=1), defaultdict(list, a=[1])])
    found = serde.loads_typed(data)
    assert canon(found) == canon([{"a": 1}, defaultdict(list, a=[1])])
    found = serde.with_msgpack_allowlist([Note]).loads_typed(data)
    assert found[0].default_factory is Note

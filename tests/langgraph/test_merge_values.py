"""Values of swarmstate.merge in checkpoints: no warnings, and LangGraph's serializer reads them."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.swarmstate import SwarmStateSerializer
from swarmstate.merge import GCounter, LWWMap, ORSet, PNCounter

VALUES = [
    GCounter().increment("a", 2),
    PNCounter().increment("a").decrement("b", 3),
    LWWMap().set("k", {"v": [1]}, replica="a", at=1).remove("gone", replica="b", at=2),
    ORSet().add("x", 1, (1, "t"), None, replica="a").remove(1),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("strict", ["true", "false"])
def test_round_trips(
    value: Any, strict: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("LANGGRAPH_STRICT_MSGPACK", strict)
    ours = SwarmStateSerializer()
    stock = JsonPlusSerializer(allowed_msgpack_modules=[type(value)])
    assert ours.loads_typed(ours.dumps_typed(value)) == value
    assert not caplog.records
    assert ours.dumps_typed(value) == stock.dumps_typed(value)
    assert stock.loads_typed(ours.dumps_typed(value)) == value

"""The serializers alone: LangGraph's own beside ours."""

from __future__ import annotations

import copy
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from benchmarks.report import Table, ratio, seconds
from benchmarks.rounds import Rounds, WrongResultError, at
from benchmarks.scenarios import Chat
from benchmarks.text import text

CONTENDER_NAMES = ("stock", "ours")
PARAMETERS = {"messages": 1_000, "repetitions": 20}
_LABELS = {"stock": "JsonPlusSerializer", "ours": "SwarmStateSerializer"}
_CASES = {"messages": "messages", "dict": "dict of 4 entries"}
_OPERATIONS = {"encode": "encode", "again": "encode again", "decode": "decode"}


def _serializer(contender: str) -> Any:
    if contender == "ours":
        from langgraph.checkpoint.swarmstate import SwarmStateSerializer

        return SwarmStateSerializer()
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

    return JsonPlusSerializer()


def _messages(count: int) -> list[Any]:
    """Return a conversation as the chat scenario makes it."""
    chat = Chat()
    graph = chat.build(delta=False).compile()
    messages: list[Any] = []
    for turn in range(-(-count // 4)):
        messages += graph.invoke(chat.given(turn))["messages"]
    return messages[:count]


def measure(contender: str, folder: Path, *, messages: int, repetitions: int) -> dict[str, Any]:
    """Return the median seconds of encoding new objects, the same again, and decoding."""
    serializer = _serializer(contender)
    small = {"step": 3, "status": "running", "score": 0.5, "notes": text("small", 40)}
    return {
        "messages": _measure(serializer, _messages(messages), repetitions),
        "dict": _measure(serializer, small, repetitions * 100),
    }


def _measure(serializer: Any, value: Any, repetitions: int) -> dict[str, float]:
    timings: dict[str, list[float]] = {operation: [] for operation in _OPERATIONS}
    encoded = serializer.dumps_typed(value)
    for _ in range(repetitions):
        fresh = copy.deepcopy(value)
        started = perf_counter()
        first = serializer.dumps_typed(fresh)
        timings["encode"].append(perf_counter() - started)
        started = perf_counter()
        second = serializer.dumps_typed(fresh)
        timings["again"].append(perf_counter() - started)
        started = perf_counter()
        decoded = serializer.loads_typed(first)
        timings["decode"].append(perf_counter() - started)
        if first != encoded or second != encoded:
            raise WrongResultError("expected equal values to have equal bytes")
        if decoded != value:
            raise WrongResultError(f"expected {value!r:.200}, found {decoded!r:.200}")
    return {operation: median(values) for operation, values in timings.items()}


def tables(rounds: Rounds, parameters: dict[str, Any]) -> list[Table]:
    """Return one table for each kind of value."""
    result = []
    for case, label in _CASES.items():
        title = f"{parameters['messages']:,} {label}" if case == "messages" else f"A {label}"
        headings = [heading for name in _OPERATIONS.values() for heading in (name, "÷ ours")]
        table = Table(f"Serializer: {title}", ["serializer", *headings])
        for name in rounds.results:
            row = [_LABELS[name]]
            for operation in _OPERATIONS:
                row.append(seconds(rounds.median(name, at(case, operation))))
                row.append(ratio(rounds.ratio(name, "ours", at(case, operation))))
            table.add(*row)
        result.append(table)
    return result

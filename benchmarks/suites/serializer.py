"""The serializers alone: LangGraph's own and ours."""

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
_OPERATIONS = {
    "encode": "encode",
    "again": "encode again",
    "unchanged": "put again, unchanged",
    "decode": "decode",
    "repeated": "read again",
}


def _serializer(contender: str) -> Any:
    if contender == "ours":
        from langgraph.checkpoint.swarmstate import SwarmStateSerializer

        return SwarmStateSerializer()
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

    return JsonPlusSerializer()


class _Values:
    """Encodes and decodes a value as a saver that has stored or read it before.

    Our saver detects what is unchanged; a stock saver just calls its serializer.
    """

    def __init__(self, contender: str, serializer: Any, value: Any) -> None:
        self._serializer = serializer
        self._values: Any = None
        if contender == "ours":
            from langgraph.checkpoint.swarmstate.values import values_of
            from swarmstate.sharing import Sharing

            budget = 64 * 1024 * 1024
            self._values = values_of(serializer, Sharing(budget=budget), budget)
        self._blobs: dict[str, bytes] = {}
        self._stored: Any = None
        self.put(value)

    def put(self, value: Any) -> None:
        """Encode a value, or as much of it as a saver needs."""
        if self._values is None:
            self._stored = self._serializer.dumps_typed(value)
            return
        base = None if self._stored is None else "base"
        split = self._values.split("thread", base, {"value": value}, "base")
        self._values.keep("thread", "base", split)
        self._blobs.update(split.blobs)
        self._stored = split.entries

    def read(self) -> Any:
        """Return a new value, equal to the one put last."""
        if self._values is None:
            return self._serializer.loads_typed(self._stored)
        recalled = self._values.recall("thread", self._stored)
        blobs = {name: self._blobs[name] for name in recalled.blobs}
        joined = self._values.join("thread", "base", self._stored, blobs, recalled)
        return joined["value"]


def _messages(count: int) -> list[Any]:
    """Return a conversation made by the chat scenario."""
    chat = Chat()
    graph = chat.build(delta=False).compile()
    messages: list[Any] = []
    for turn in range(-(-count // 4)):
        messages += graph.invoke(chat.given(turn))["messages"]
    return messages[:count]


def measure(contender: str, folder: Path, *, messages: int, repetitions: int) -> dict[str, Any]:
    """Return the median seconds of encoding new objects, encoding them again, and decoding.

    Also time what a saver does with a value that it has stored or read before.
    """
    serializer = _serializer(contender)
    small = {"step": 3, "status": "running", "score": 0.5, "notes": text("small", 40)}
    return {
        "messages": _measure(contender, serializer, _messages(messages), repetitions),
        "dict": _measure(contender, serializer, small, repetitions * 100),
    }


def _measure(contender: str, serializer: Any, value: Any, repetitions: int) -> dict[str, float]:
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
        found = serializer.loads_typed(first)
        timings["decode"].append(perf_counter() - started)
        # Free the previous value only now: that is not part of decoding.
        decoded = found
        if first != encoded or second != encoded:
            raise WrongResultError("expected equal values to have equal bytes")
        if decoded != value:
            raise WrongResultError(f"expected {value!r:.200}, found {decoded!r:.200}")
    values = _Values(contender, serializer, value)
    for _ in range(repetitions):
        started = perf_counter()
        values.put(value)
        timings["unchanged"].append(perf_counter() - started)
    for _ in range(repetitions):
        started = perf_counter()
        found = values.read()
        timings["repeated"].append(perf_counter() - started)
        read = found
        if read != value:
            raise WrongResultError(f"expected {value!r:.200}, found {read!r:.200}")
    return {operation: median(values) for operation, values in timings.items()}


def tables(rounds: Rounds, parameters: dict[str, Any]) -> list[Table]:
    """Return one table for each kind of value."""
    result = []
    for case, label in _CASES.items():
        title = f"{parameters['messages']:,} {label}" if case == "messages" else f"a {label}"
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

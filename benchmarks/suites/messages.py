"""The message reducer alone: LangGraph's and ours, appending to long histories."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from benchmarks.report import Table, ratio, seconds
from benchmarks.rounds import Rounds, WrongResultError, at

CONTENDER_NAMES = ("stock", "ours")
PARAMETERS = {"lengths": [10, 1_000, 10_000], "appended": 300}
_LABELS = {"stock": "langgraph.graph.add_messages", "ours": "swarmstate's add_messages"}
_CASES = {"new": "a message without an id", "known": "a message with an id", "dict": "a dict"}


def _reducer(contender: str) -> Any:
    if contender == "ours":
        from langgraph.checkpoint.swarmstate import add_messages

        return add_messages
    from langgraph.graph import add_messages as stock

    return stock


def _history(count: int) -> list[Any]:
    from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

    messages: list[Any] = []
    while len(messages) < count:
        turn = len(messages)
        call = {"name": "search", "args": {"query": f"lamps {turn}"}, "id": f"call-{turn}"}
        messages += [
            HumanMessage(f"Question {turn} " + "x" * 300, id=f"question-{turn}"),
            AIMessage("", id=f"run-{turn}", tool_calls=[call]),
            ToolMessage("r" * 800, tool_call_id=f"call-{turn}", id=f"tool-{turn}"),
            AIMessage("a" * 400, id=f"answer-{turn}"),
        ]
    return messages[:count]


def _appended(case: str, number: int) -> Any:
    from langchain_core.messages import AIMessage, HumanMessage

    if case == "dict":
        return {"role": "user", "content": f"appended {number}"}
    if case == "known":
        return AIMessage(f"appended {number}", id=f"run-appended-{number}")
    return HumanMessage(f"appended {number}")


def measure(contender: str, folder: Path, *, lengths: list[int], appended: int) -> dict[str, Any]:
    """Return the median seconds of appending one message, by length and kind of message."""
    reducer = _reducer(contender)
    return {
        str(length): {case: _append_seconds(reducer, length, appended, case) for case in _CASES}
        for length in lengths
    }


def _append_seconds(reducer: Any, length: int, appended: int, case: str) -> float:
    start = _history(length)
    messages = reducer(start, [])
    timings = []
    for number in range(appended):
        message = _appended(case, number)
        started = perf_counter()
        longer = reducer(messages, message)
        timings.append(perf_counter() - started)
        messages = longer
    if messages[:length] != start or [each.content for each in messages[length:]] != [
        f"appended {number}" for number in range(appended)
    ]:
        raise WrongResultError("expected the history followed by what was appended")
    if len({each.id for each in messages}) != length + appended:
        raise WrongResultError("expected each message to have an id of its own")
    return median(timings)


def tables(rounds: Rounds, parameters: dict[str, Any]) -> list[Table]:
    """Return one table for each kind of message."""
    result = []
    for case, label in _CASES.items():
        headings = [
            heading
            for length in parameters["lengths"]
            for heading in (f"{length:,} messages", "÷ ours")
        ]
        table = Table(f"Reducer: appending {label}, time per call", ["reducer", *headings])
        for name in rounds.results:
            row = [_LABELS[name]]
            for length in parameters["lengths"]:
                figure = at(str(length), case)
                row.append(seconds(rounds.median(name, figure)))
                row.append(ratio(rounds.ratio(name, "ours", figure)))
            table.add(*row)
        result.append(table)
    return result

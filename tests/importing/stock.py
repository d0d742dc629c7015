"""Threads that real graphs store in LangGraph's own savers."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.types import TASKS
from langgraph.checkpoint.swarmstate.testing import graphs
from langgraph.checkpoint.swarmstate.testing.checkpoints import make_checkpoint, make_metadata
from langgraph.types import Command, Send

Saver = BaseCheckpointSaver[Any]


def at(thread: str) -> Any:
    return {"configurable": {"thread_id": thread}, "metadata": {"owner": f"of {thread}"}}


def say(turn: int) -> dict[str, Any]:
    return {"messages": [HumanMessage(f"question {turn} " * 20, id=f"human-{turn}")]}


def fill(saver: Saver) -> None:
    """Run graphs of all kinds, and stop some of them halfway."""
    agent = graphs.agent(saver)
    for turn in range(1, 9):
        agent.invoke(say(turn), at("agent"))
    history = list(agent.get_state_history(at("agent")))
    agent.update_state(history[5].config, say(99), as_node="__start__")
    agent.invoke(None, agent.get_state(at("agent")).config)

    graphs.approval(saver, []).invoke({"n": 1, "log": []}, at("asked: a/b%2F"))

    nested = graphs.nested(saver, [], own=True, asks=True)
    nested.invoke({"n": 1, "log": [], "trace": []}, at("nested"))

    fan_out = graphs.fan_out(saver, [], asks=frozenset({12}), fails={3})
    with suppress(ValueError):
        # Run workers one by one, so that those before the failing one have finished.
        fan_out.invoke(
            {"items": list(range(24)), "results": [], "answer": ""},
            {**at("fan"), "max_concurrency": 1},
        )

    delta = graphs.delta_log(saver)
    for number in range(20):
        delta.invoke({"n": number, "log": [f"input {number}"]}, at("delta"))

    graphs.noting(saver, "log", "plan").invoke({"log": [], "plan": ["p" * 20_000]}, at("releases"))
    graphs.noting(saver, "log").invoke({"log": []}, at("releases"))

    old_format(saver)


def old_format(saver: Saver) -> None:
    """Put checkpoints as old releases did, with sends among the parent's writes."""
    config: Any = {"configurable": {"thread_id": "old", "checkpoint_ns": ""}}
    parent = make_checkpoint({"n": 1, "log": ["a"]}, {"n": "1", "log": "1"}, v=1)
    versions: Any = dict(parent["channel_versions"])
    config = saver.put(config, parent, make_metadata(0), versions)
    sends = [(TASKS, Send("work", {"item": 1})), (TASKS, Send("work", {"item": 2}))]
    saver.put_writes(config, sends, "task-1", "~path")
    saver.put_writes(config, [("n", 2), *((f"c{n}", n) for n in range(12))], "task-2", "~a")
    child = make_checkpoint({"n": 2, "log": ["a", "b"]}, {"n": "2", "log": "2"}, v=2)
    saver.put(config, child, make_metadata(1), dict(child["channel_versions"]))


def resume(saver: Saver) -> dict[str, Any]:
    """Resume every thread, and return the results."""
    calls: list[str] = []
    agent = graphs.agent(saver)
    approval = graphs.approval(saver, calls)
    asked = approval.invoke(Command(resume="yes"), at("asked: a/b%2F"))
    answered = approval.invoke(Command(resume="sure"), at("asked: a/b%2F"))
    fan_out = graphs.fan_out(saver, calls, asks=frozenset({12}))
    fan_out.invoke(None, at("fan"))
    return {
        "agent": agent.invoke(say(100), at("agent")),
        "asked": asked["__interrupt__"][0].value,
        "answered": answered,
        "nested": graphs.nested(saver, calls, own=True, asks=True).invoke(
            Command(resume="go"), at("nested")
        ),
        "fan": fan_out.invoke(Command(resume="twelve"), at("fan")),
        "delta": graphs.delta_log(saver).invoke({"n": 21, "log": []}, at("delta")),
        "calls": sorted(calls),
    }

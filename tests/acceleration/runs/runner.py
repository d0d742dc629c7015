"""The runner of graphs, which records what they do, and the names of all runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langchain_core.messages import HumanMessage
from langgraph.checkpoint.swarmstate.testing import Driver

MODES: Any = ["values", "updates", "messages", "custom", "checkpoints", "tasks", "debug"]


class Runner:
    """Runs graphs in one mode, and records what they do.

    Attributes:
        driver: Calls the graphs.
        saver: Their checkpointer, or None.
        noted: What happened, in order.
    """

    def __init__(self, driver: Driver, saver: Any) -> None:
        self.driver = driver
        self.saver = saver
        self.noted: list[Any] = []

    @property
    def config(self) -> Any:
        """The config of the only thread."""
        return {
            "configurable": {"thread_id": "t", "custom": 1},
            "tags": ["a-tag"],
            "metadata": {"about": {"deep": [1]}, "lc_versions": {"mine": "1"}},
        }

    def note(self, *what: Any) -> None:
        """Record something that a node saw."""
        self.noted.append(what)

    def invoke(self, graph: Any, value: Any, config: Any = None, **options: Any) -> Any:
        """Invoke a graph; record what it returns or raises."""
        try:
            result = self.driver.invoke(graph, value, config or self.config, **options)
        except Exception as error:
            result = error
        self.noted.append(("returned", result))
        return result

    def stream(self, graph: Any, value: Any, modes: Any = MODES, **options: Any) -> None:
        """Stream a graph; record all events in order."""
        try:
            for event in self.driver._collect(
                graph, "stream", value, self.config, stream_mode=modes, **options
            ):
                self.noted.append(("event", event))
        except Exception as error:
            self.noted.append(("raised", error))

    def end(self, graph: Any) -> None:
        """Record everything stored, as LangGraph shows it and as the saver has it."""
        if self.saver is None:
            return
        self.noted.append(("history", list(self.driver.history(graph, self.config))))
        self.noted.append(("stored", self.driver.list({"configurable": {"thread_id": "t"}})))


Run = Callable[[Runner], Any]

RUNS: dict[str, Run] = {}


def registered(function: Run) -> Run:
    RUNS[function.__name__.strip("_")] = function
    return function


def say(*texts: str) -> dict[str, Any]:
    # With ids: LangGraph assigns missing ones in place, while the messages are being stored
    # without.
    return {"messages": [HumanMessage(text, id=f"{text} {n}") for n, text in enumerate(texts)]}

"""What runs graphs and notes what they show, and the names of the runs there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langchain_core.messages import HumanMessage
from langgraph.checkpoint.swarmstate.testing import Driver

MODES: Any = ["values", "updates", "messages", "custom", "checkpoints", "tasks", "debug"]


class Runner:
    """Runs graphs in one mode, and notes what they do.

    Attributes:
        driver: Calls the graphs.
        saver: What they are compiled with; None for nothing.
        noted: What happened, in order.
    """

    def __init__(self, driver: Driver, saver: Any) -> None:
        self.driver = driver
        self.saver = saver
        self.noted: list[Any] = []

    @property
    def config(self) -> Any:
        """A config of the one thread there is."""
        return {
            "configurable": {"thread_id": "t", "custom": 1},
            "tags": ["a-tag"],
            "metadata": {"about": {"deep": [1]}, "lc_versions": {"mine": "1"}},
        }

    def note(self, *what: Any) -> None:
        """Note something that a node saw."""
        self.noted.append(what)

    def invoke(self, graph: Any, value: Any, config: Any = None, **options: Any) -> Any:
        """Invoke a graph; note what it returns, or raises."""
        try:
            result = self.driver.invoke(graph, value, config or self.config, **options)
        except Exception as error:
            result = error
        self.noted.append(("returned", result))
        return result

    def stream(self, graph: Any, value: Any, modes: Any = MODES, **options: Any) -> None:
        """Stream a graph; note all events, in order."""
        try:
            for event in self.driver._collect(
                graph, "stream", value, self.config, stream_mode=modes, **options
            ):
                self.noted.append(("event", event))
        except Exception as error:
            self.noted.append(("raised", error))

    def end(self, graph: Any) -> None:
        """Note all that is stored, as LangGraph shows it and as the saver has it."""
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
    # With ids: LangGraph assigns them in place while what is being stored still has none.
    return {"messages": [HumanMessage(text, id=f"{text} {n}") for n, text in enumerate(texts)]}

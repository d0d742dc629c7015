"""Threads started with another saver, or in an older format, continue."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.types import TASKS
from langgraph.checkpoint.swarmstate.testing import graphs
from langgraph.checkpoint.swarmstate.testing._base import ContractBase
from langgraph.checkpoint.swarmstate.testing._driver import Driver
from langgraph.checkpoint.swarmstate.testing.checkpoints import (
    at,
    make_checkpoint,
    make_metadata,
    thread_of,
)
from langgraph.types import Command, Send

__all__ = ["MigrationContract"]


class _IntVersions(InMemorySaver):
    """A saver with the versions of `BaseCheckpointSaver`: 1, 2, 3, ..."""

    def get_next_version(self, current: Any, channel: None) -> Any:
        return 1 if current is None else current + 1


class _FloatVersions(InMemorySaver):
    """A saver with versions 1.0, 2.0, 3.0, ..."""

    def get_next_version(self, current: Any, channel: None) -> Any:
        return 1.0 if current is None else current + 1.0


def _move(source: BaseCheckpointSaver[Any], driver: Driver) -> None:
    """Copy everything in `source` to the saver of `driver`, oldest first."""
    for item in [*source.list(None)][::-1]:
        thread, ns, _ = thread_of(item.config)
        stored = driver.put(
            item.parent_config or at(thread, ns),
            item.checkpoint,
            item.metadata,
            item.checkpoint["channel_versions"],
        )
        for task_id, channel, value in item.pending_writes or ():
            driver.put_writes(stored, [(channel, value)], f"{task_id}", "")


class MigrationContract(ContractBase):
    """Threads written by other savers and older versions of LangGraph continue."""

    @pytest.mark.parametrize("origin", [_IntVersions, _FloatVersions, InMemorySaver])
    def test_threads_of_other_savers_go_on(
        self, driver: Driver, origin: type[InMemorySaver]
    ) -> None:
        source = origin()
        graph = graphs.agent(source)
        for turn in range(2):
            question = {"messages": [HumanMessage(f"q{turn}", id=f"h{turn}")]}
            expected = graph.invoke(question, at())["messages"]
        _move(source, driver)
        graph = graphs.agent(driver.saver)
        assert driver.state(graph, at()).values["messages"] == expected
        by_hand = graphs.agent(None)
        for turn in range(2, 5):
            question = {"messages": [HumanMessage(f"q{turn}", id=f"h{turn}")]}
            expected = by_hand.invoke({"messages": [*expected, *question["messages"]]})["messages"]
            assert driver.invoke(graph, question, at())["messages"] == expected

    @pytest.mark.parametrize("origin", [_IntVersions, _FloatVersions, InMemorySaver])
    def test_paused_threads_of_other_savers_resume(
        self, driver: Driver, origin: type[InMemorySaver]
    ) -> None:
        calls: list[str] = []
        asks = frozenset({1})
        source = origin()
        graphs.fan_out(source, calls, asks=asks).invoke({"items": [0, 1]}, at())
        _move(source, driver)
        calls.clear()
        graph = graphs.fan_out(driver.saver, calls, asks=asks)
        assert driver.invoke(graph, Command(resume="ok"), at())["answer"] == "0: done, 1: ok"
        assert calls == ["work 1", "join"]

    def _old_sends(self, driver: Driver, v: int, **versions: Any) -> Any:
        """Put a checkpoint of format `v` whose parent holds the sends of three tasks."""
        parent = driver.put(at(), make_checkpoint({"a": 0}, v=v), make_metadata(), {"a": 1})
        driver.put_writes(parent, [(TASKS, Send("n", 2)), ("a", 5)], "task-b", "path 2")
        driver.put_writes(parent, [(TASKS, Send("n", 1))], "task-c", "path 1")
        sends = [(TASKS, Send("n", {"many": n})) for n in range(3, 15)]
        driver.put_writes(parent, sends, "task-d", "path 2")
        child = make_checkpoint({"a": 5} if versions else {}, versions, v=v)
        return driver.put(parent, child, make_metadata(1), versions)

    @pytest.mark.parametrize("v", [1, 2, 3])
    def test_pending_sends_of_old_formats_become_a_channel(
        self, driver: Driver, second: Driver, v: int
    ) -> None:
        config = self._old_sends(driver, v, a=2, b=7)
        expected = [
            Send("n", 1),
            Send("n", 2),
            *(Send("n", {"many": n}) for n in range(3, 15)),
        ]
        found = [driver.load(config), driver.load(at()), second.load(at())]
        found += [driver.list(at())[0], second.list(None)[0], driver.list(config)[0]]
        for loaded in found:
            assert loaded.checkpoint["channel_values"] == {"a": 5, TASKS: expected}
            assert loaded.checkpoint["channel_versions"] == {"a": 2, "b": 7, TASKS: 7}
        parent = driver.list(at())[1]
        assert TASKS not in parent.checkpoint["channel_values"]
        assert parent.pending_writes is not None
        assert len(parent.pending_writes) == 15

    def test_pending_sends_of_a_checkpoint_without_versions(self, driver: Driver) -> None:
        loaded = driver.load(self._old_sends(driver, 2)).checkpoint
        assert len(loaded["channel_values"][TASKS]) == 14
        assert loaded["channel_versions"][TASKS]

    def test_sends_of_the_current_format_are_left_alone(self, driver: Driver) -> None:
        loaded = driver.load(self._old_sends(driver, 4, a=2)).checkpoint
        assert loaded["channel_values"] == {"a": 5}
        assert loaded["channel_versions"] == {"a": 2}

    def test_old_formats_without_sends_stay_as_they_are(self, driver: Driver) -> None:
        old = make_checkpoint({"a": 0}, v=1)
        old["pending_sends"] = []  # type: ignore[typeddict-unknown-key]  # of old formats
        parent = driver.put(at(), old, make_metadata(), {"a": 1})
        child = make_checkpoint({"a": 1}, {"a": 2}, v=2)
        config = driver.put(parent, child, make_metadata(), {"a": 2})
        assert driver.load(parent).checkpoint == old
        assert driver.load(config).checkpoint == child

    def test_pruning_keeps_the_sends_of_an_old_format(self, driver: Driver) -> None:
        self.require("prune")
        before = driver.load(self._old_sends(driver, 2, a=2)).checkpoint
        driver.prune(["t"])
        assert driver.load(at()).checkpoint == before

    def test_a_graph_runs_the_sends_of_an_old_format(self, driver: Driver) -> None:
        calls: list[str] = []
        source = InMemorySaver()
        graph = graphs.fan_out(source, calls)
        graph.interrupt_before_nodes = ["work"]
        graph.invoke({"items": [0, 1, 2]}, at())
        latest, parent = [*source.list(at(), limit=2)]
        for item in (latest, parent):
            item.checkpoint["v"] = 3
        latest.checkpoint["channel_values"].pop(TASKS)
        latest.checkpoint["channel_versions"].pop(TASKS)
        stored = driver.put(at(), parent.checkpoint, parent.metadata, {})
        for task_id, channel, value in parent.pending_writes or ():
            driver.put_writes(stored, [(channel, value)], f"{task_id}{value!r}", "")
        driver.put(stored, latest.checkpoint, latest.metadata, {})
        calls.clear()
        found = driver.invoke(graphs.fan_out(driver.saver, calls), None, at())
        assert sorted(calls) == ["join", "work 0", "work 1", "work 2"]
        assert sorted(found["results"]) == ["0: done", "1: done", "2: done"]

    def test_sends_inside_an_old_checkpoint_are_kept(self, driver: Driver) -> None:
        # The oldest format kept them in a field; LangGraph itself moves them.
        old = make_checkpoint({"a": 0}, v=1)
        old["pending_sends"] = [Send("n", {"x": 1})]  # type: ignore[typeddict-unknown-key]  # likewise
        driver.put(at(), old, make_metadata(), {"a": 1})
        assert driver.load(at()).checkpoint == old

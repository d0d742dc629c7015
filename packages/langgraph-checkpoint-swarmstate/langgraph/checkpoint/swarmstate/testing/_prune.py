"""Pruning: it removes what is no longer needed, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.swarmstate.testing import graphs
from langgraph.checkpoint.swarmstate.testing._base import ContractBase
from langgraph.checkpoint.swarmstate.testing._driver import Driver
from langgraph.checkpoint.swarmstate.testing.checkpoints import Branch, at, thread_of
from langgraph.types import Command

__all__ = ["PruneContract"]

SPACES = ["", "child:1", "child|x", "child:1|y:2"]


def _whole(item: Any) -> Any:
    """Return a tuple without its parent, which pruning may cut off."""
    return item._replace(parent_config=None)


class PruneContract(ContractBase):
    """`prune` keeps the latest checkpoint of each namespace and all that it needs."""

    def _fill(self, driver: Driver, thread: str) -> dict[str, Any]:
        """Put five checkpoints into each namespace and return the latest of each."""
        latest = {}
        for ns in SPACES:
            branch = Branch(driver, thread, ns)
            for n in range(5):
                config = branch.put(n=n, log=[f"{thread}{ns}{i}" * 20 for i in range(n * 10)])
                driver.put_writes(config, [("n", n + 1), ("log", [ns])], f"task{n}", "path")
            latest[ns] = driver.load(branch.config)
        return latest

    def test_keep_latest_keeps_the_latest_of_each_namespace(
        self, driver: Driver, second: Driver
    ) -> None:
        self.require("prune")
        latest = self._fill(driver, "t")
        others = [driver.load(item.config) for item in self._fill(driver, "tt").values()]
        driver.prune(["t", "unknown"])
        for reader in (driver, second):
            found = reader.list(at("t", None))
            assert {thread_of(item.config)[1]: _whole(item) for item in found} == {
                ns: _whole(item) for ns, item in latest.items()
            }
            assert len(found) == len(SPACES)
            assert [_whole(reader.load(at("t", ns))) for ns in SPACES] == [
                _whole(latest[ns]) for ns in SPACES
            ]
            assert [reader.load(item.config) for item in others] == others
            assert len(reader.list(at("tt", None))) == 5 * len(SPACES)

    def test_pruning_twice_or_nothing_changes_nothing(self, driver: Driver) -> None:
        self.require("prune")
        self._fill(driver, "t")
        before = driver.list(None)
        driver.prune([])
        assert driver.list(None) == before
        driver.prune(["t"], strategy="keep_latest")
        once = driver.list(None)
        driver.prune(["t"], strategy="keep_latest")
        assert driver.list(None) == once

    def test_a_kept_checkpoint_has_no_dangling_parent(self, driver: Driver) -> None:
        self.require("prune")
        self._fill(driver, "t")
        driver.prune(["t"])
        for item in driver.list(at("t", None)):
            assert item.parent_config is None or driver.get_tuple(item.parent_config)

    def test_delete_removes_the_threads_and_no_others(self, driver: Driver) -> None:
        self.require("prune")
        for thread in ("t", "t2", "other"):
            self._fill(driver, thread)
        driver.prune(["t", "t2", "unknown"], strategy="delete")
        assert {thread_of(item.config)[0] for item in driver.list(None)} == {"other"}
        assert driver.get_tuple(at("t", "child:1")) is None
        assert len(driver.list(at("other", None))) == 5 * len(SPACES)

    def test_an_unknown_strategy_is_refused(self, driver: Driver) -> None:
        self.require("prune")
        self._fill(driver, "t")
        before = driver.list(None)
        with pytest.raises(ValueError, match="keep_everything"):
            driver.prune(["t"], strategy="keep_everything")
        assert driver.list(None) == before

    def test_a_pruned_thread_goes_on(self, driver: Driver, second: Driver) -> None:
        self.require("prune")
        graph = graphs.agent(driver.saver)
        expected: list[Any] = []
        for turn in range(4):
            question = {"messages": [HumanMessage(f"q{turn}", id=f"h{turn}")]}
            driver.prune(["t"])
            expected = driver.invoke(graph, question, at())["messages"]
        assert [m.id for m in expected if m.type == "human"] == ["h0", "h1", "h2", "h3"]
        driver.prune(["t"])
        assert driver.state(graphs.agent(second.saver), at()).values["messages"] == expected
        assert len(driver.list(at("t", None))) == 1

    @pytest.mark.parametrize("durability", ["sync", "async", "exit"])
    def test_a_pruned_interrupt_does_not_repeat_finished_tasks(
        self, driver: Driver, second: Driver, durability: str
    ) -> None:
        self.require("prune")
        calls: list[str] = []
        asks = frozenset({1})
        graph = graphs.fan_out(driver.saver, calls, asks=asks)
        driver.invoke(graph, {"items": [0, 1, 2]}, at(), durability=durability)
        paused = driver.state(graph, at())
        assert sorted(calls) == ["plan", "work 0", "work 2"]
        driver.prune(["t"])
        assert len(driver.list(at("t", None))) == 1
        calls.clear()
        graph = graphs.fan_out(second.saver, calls, asks=asks)
        assert driver.state(graph, at()).interrupts == paused.interrupts
        found = driver.invoke(graph, Command(resume="yes"), at(), durability=durability)
        assert calls == ["work 1", "join"]
        assert found["answer"] == "0: done, 1: yes, 2: done"

    @pytest.mark.parametrize("own", [None, True], ids=["inherits", "own"])
    def test_a_pruned_interrupt_in_a_subgraph_resumes_inside(
        self, driver: Driver, second: Driver, own: bool | None
    ) -> None:
        self.require("prune")
        calls: list[str] = []
        graph = graphs.nested(driver.saver, calls, own=own, asks=True)
        driver.invoke(graph, {"n": 0}, at())
        driver.prune(["t"])
        calls.clear()
        graph = graphs.nested(second.saver, calls, own=own, asks=True)
        found = driver.invoke(graph, Command(resume="yes"), at())
        assert calls == ["second"]
        assert found == {"n": 1, "log": ["aside"], "trace": ["first 1", "second yes"]}

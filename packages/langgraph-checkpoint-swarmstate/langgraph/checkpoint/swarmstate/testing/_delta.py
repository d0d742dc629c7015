"""Threads with a `DeltaChannel`, whose value is rebuilt from the writes of ancestors."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.checkpoint.swarmstate.testing import graphs
from langgraph.checkpoint.swarmstate.testing._base import ContractBase
from langgraph.checkpoint.swarmstate.testing._driver import Driver
from langgraph.checkpoint.swarmstate.testing.checkpoints import Branch, at, thread_of

__all__ = ["DeltaContract"]


def _logged(*turns: int) -> list[str]:
    return [f"{node} {turn}" for turn in turns for node in ("in", "note", "left", "right")]


def _turn(turn: int) -> dict[str, Any]:
    return {"n": turn, "log": [f"in {turn}"]}


class DeltaContract(ContractBase):
    """The writes that rebuild a `DeltaChannel` are never lost, reordered or duplicated."""

    def _run(
        self, driver: Driver, graph: Any, turns: range, durability: str = "async", **config: Any
    ) -> Any:
        found = None
        target: Any = {**at(), **config}
        for turn in turns:
            found = driver.invoke(graph, _turn(turn), target, durability=durability)
        return found

    @pytest.mark.parametrize("durability", ["sync", "async", "exit"])
    def test_hundreds_of_turns(self, driver: Driver, second: Driver, durability: str) -> None:
        graph = graphs.delta_log(driver.saver)
        found = self._run(driver, graph, range(150), durability)
        assert found["log"] == _logged(*range(150))
        reopened = graphs.delta_log(second.saver)
        assert driver.state(reopened, at()).values["log"] == _logged(*range(150))
        driver.invoke(reopened, _turn(150), at(), durability=durability)
        assert driver.state(graph, at()).values["log"] == _logged(*range(151))

    def test_every_checkpoint_reads_back(self, driver: Driver) -> None:
        graph = graphs.delta_log(driver.saver)
        self._run(driver, graph, range(30))
        whole = _logged(*range(30))
        for state in driver.history(graph, at()):
            log = state.values.get("log", [])
            assert log == whole[: len(log)]
            assert driver.state(graph, state.config).values.get("log", []) == log
        assert log == []

    def test_forks_keep_apart(self, driver: Driver, second: Driver) -> None:
        graph = graphs.delta_log(driver.saver)
        self._run(driver, graph, range(10))
        ends = {}
        for cut in (2, 5, 5):
            whole = _logged(*range(cut + 1))
            base = next(
                s
                for s in driver.history(graph, at())
                if s.values.get("log") == whole and not s.next
            )
            config = driver.update(graph, base.config, {"log": [f"fork {cut}"], "n": cut}, "left")
            driver.invoke(graph, _turn(50 + cut), config)
            state = driver.state(graph, at())
            assert state.values["log"] == [*whole, f"fork {cut}", *_logged(50 + cut)]
            ends[thread_of(state.config)[2]] = state.values["log"]
        for checkpoint_id, log in ends.items():
            found = driver.state(graphs.delta_log(second.saver), at("t", "", checkpoint_id))
            assert found.values["log"] == log
        original = max(
            (s for s in driver.history(graph, at()) if not s.next),
            key=lambda s: s.values["log"].count("note 9"),
        )
        assert original.values["log"] == _logged(*range(10))

    def test_a_copy_loses_nothing(self, driver: Driver) -> None:
        self.require("copy_thread")
        graph = graphs.delta_log(driver.saver)
        self._run(driver, graph, range(25))
        driver.copy_thread("t", "copy")
        driver.delete_thread("t")
        assert driver.state(graph, at("copy")).values["log"] == _logged(*range(25))
        driver.invoke(graph, _turn(25), at("copy"))
        assert driver.state(graph, at("copy")).values["log"] == _logged(*range(26))

    @pytest.mark.parametrize("turns", [1, 2, 3, 4, 5, 40])
    def test_pruning_loses_nothing(self, driver: Driver, second: Driver, turns: int) -> None:
        self.require("prune")
        graph = graphs.delta_log(driver.saver)
        self._run(driver, graph, range(turns))
        count = len(driver.list(at()))
        driver.prune(["t"])
        assert len(driver.list(at())) <= min(count, 30), "what precedes a snapshot can go"
        reopened = graphs.delta_log(second.saver)
        assert driver.state(reopened, at()).values["log"] == _logged(*range(turns))
        for turn in range(turns, turns + 10):
            driver.invoke(graph, _turn(turn), at())
            driver.prune(["t"])
            assert driver.state(reopened, at()).values["log"] == _logged(*range(turn + 1))

    def test_deleting_old_runs_loses_nothing(self, driver: Driver, second: Driver) -> None:
        self.require("delete_for_runs")
        graph = graphs.delta_log(driver.saver)
        for turn in range(9):
            self._run(driver, graph, range(turn, turn + 1), metadata={"run_id": f"r{turn}"})
        for run in ("r8x", "r0", "r4", "r7"):
            # Checkpoints that are needed to rebuild the latest one may stay.
            driver.delete_for_runs([run])
            state = driver.state(graphs.delta_log(second.saver), at())
            assert state.values["log"] == _logged(*range(9)), f"after deleting {run}"
        driver.delete_for_runs(["r8"])
        assert driver.state(graph, at()).values.get("n") != 8
        driver.delete_for_runs([f"r{turn}" for turn in range(9)])
        assert driver.list(None) == []

    @pytest.mark.parametrize("durability", ["sync", "async", "exit"])
    def test_a_run_from_a_checkpoint_that_is_gone_begins_anew(
        self, driver: Driver, second: Driver, durability: str
    ) -> None:
        graph = graphs.delta_log(driver.saver)
        self._run(driver, graph, range(2))
        gone = driver.state(graph, at()).config
        driver.delete_thread("t")
        driver.invoke(graph, _turn(2), gone, durability=durability)
        reopened = graphs.delta_log(second.saver)
        assert driver.state(reopened, at()).values["log"] == _logged(2)
        self._run(driver, reopened, range(3, 5), durability)
        assert driver.state(graph, at()).values["log"] == _logged(2, 3, 4)

    @pytest.mark.parametrize("durability", ["async", "exit"])
    def test_a_plain_channel_becomes_a_delta_channel_and_back(
        self, driver: Driver, second: Driver, durability: str
    ) -> None:
        plain, delta = graphs.plain_log(driver.saver), graphs.delta_log(second.saver)
        self._run(driver, plain, range(4), durability)
        assert driver.state(delta, at()).values["log"] == _logged(*range(4))
        self._run(driver, delta, range(4, 20), durability)
        assert driver.state(delta, at()).values["log"] == _logged(*range(20))
        self._run(driver, plain, range(20, 23), durability)
        assert driver.state(plain, at()).values["log"] == _logged(*range(23))

    def test_history_of_channels(self, driver: Driver, second: Driver) -> None:
        branch = Branch(driver)
        branch.put(d=["older seed"], other=0)
        driver.put_writes(branch.config, [("d", "lost: before the seed")], "task")
        branch.put(d=["seed"], other=1)
        driver.put_writes(branch.config, [("d", "b1"), ("x", "b2"), ("d", "b3")], "b", "path 1")
        driver.put_writes(branch.config, [("d", "a1")], "a", "path 2")
        driver.put_writes(branch.config, [("d", "z1")], "z")
        branch.drop("d")
        side = branch.fork()
        branch.put(other=2)
        driver.put_writes(branch.config, [("d", n) for n in range(12)], "c", "path")
        side.put(other=3)
        driver.put_writes(side.config, [("d", "of another branch")], "task")
        branch.put(other=4)
        driver.put_writes(branch.config, [("d", "pending")], "task")
        expected = {
            "d": {
                "writes": [
                    ("z", "d", "z1"),
                    ("b", "d", "b1"),
                    ("b", "d", "b3"),
                    ("a", "d", "a1"),
                    *(("c", "d", n) for n in range(12)),
                ],
                "seed": ["seed"],
            },
            "x": {"writes": [("b", "x", "b2")]},
            "never": {"writes": []},
        }
        for reader in (driver, second):
            assert reader.delta_history(branch.config, ["d", "x", "never"]) == expected
            assert reader.delta_history(branch.config, ["d"]) == {"d": expected["d"]}
            assert reader.delta_history(branch.config, []) == {}

    def test_history_of_the_latest_and_of_nothing(self, driver: Driver) -> None:
        assert driver.delta_history(at(), ["d"]) == {"d": {"writes": []}}
        branch = Branch(driver)
        branch.put(other=0)
        driver.put_writes(branch.config, [("d", 1)], "task")
        assert driver.delta_history(branch.config, ["d"]) == {"d": {"writes": []}}
        branch.put(other=1)
        latest = {"d": {"writes": [("task", "d", 1)]}}
        assert driver.delta_history(at(), ["d"]) == driver.delta_history(branch.config, ["d"])
        assert driver.delta_history(at(), ["d"]) == latest
        assert driver.delta_history(at("t", "child"), ["d"]) == {"d": {"writes": []}}

    def test_seeds_may_be_snapshots_none_or_falsy(self, driver: Driver) -> None:
        branch = Branch(driver)
        seeds: dict[str, Any] = {
            "snapshot": _DeltaSnapshot([1, {"a": "b"}]),
            "none": None,
            "empty": [],
            "zero": 0,
        }
        branch.put(**seeds)
        driver.put_writes(branch.config, [(channel, "w") for channel in seeds], "task")
        for channel in seeds:
            branch.drop(channel)
        branch.put(other=1)
        assert driver.delta_history(branch.config, list(seeds)) == {
            channel: {"writes": [("task", channel, "w")], "seed": seed}
            for channel, seed in seeds.items()
        }

    def test_history_equals_the_plain_walk(self, driver: Driver) -> None:
        graph = graphs.delta_log(driver.saver)
        self._run(driver, graph, range(12))
        channels = ["log", "n", "never"]
        for item in driver.list(at()):
            if driver.mode == "sync":
                walked = BaseCheckpointSaver.get_delta_channel_history(
                    driver.saver, config=item.config, channels=channels
                )
            else:
                walked = driver.run(
                    BaseCheckpointSaver.aget_delta_channel_history(
                        driver.saver, config=item.config, channels=channels
                    )
                )
            assert driver.delta_history(item.config, channels) == walked

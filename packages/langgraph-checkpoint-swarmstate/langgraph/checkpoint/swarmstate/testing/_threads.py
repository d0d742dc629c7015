"""Threads: their ids, isolation, deletion and copies."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.checkpoint.swarmstate.testing._base import ContractBase
from langgraph.checkpoint.swarmstate.testing._driver import Driver
from langgraph.checkpoint.swarmstate.testing.checkpoints import (
    Branch,
    at,
    ids,
    make_checkpoint,
    make_metadata,
    thread_of,
)

__all__ = ["THREAD_IDS", "ThreadsContract"]

THREAD_IDS = [
    "1",
    "10",
    "1/a",
    "a:b-c*[|]{}",
    "with spaces ",
    "/",
    "a/b/c",
    "%2F",
    "a%b_c",
    "unit\x1fseparator",
    "new\nline\ttab",
    "quo'te\"s`",
    "back\\slash",
    "😀é漢",
    "x" * 600,
    "..",
    "langgraph:1",
]


class ThreadsContract(ContractBase):
    """A thread may have any id, and no operation on one affects another."""

    def test_ids_of_threads_may_hold_anything(self, driver: Driver, second: Driver) -> None:
        configs = {}
        for name in THREAD_IDS:
            branch = Branch(driver, name)
            branch.put(name=name)
            configs[name] = branch.put(again=1)
            driver.put_writes(branch.config, [("name", name)], "task")
        for reader in (driver, second):
            for name in THREAD_IDS:
                loaded = reader.load(at(name))
                assert loaded.config == configs[name]
                assert loaded.checkpoint["channel_values"] == {"name": name, "again": 1}
                assert loaded.pending_writes == [("task", "name", name)]
                assert len(reader.list(at(name, None))) == 2
            assert len(reader.list(None)) == 2 * len(THREAD_IDS)

    @pytest.mark.parametrize("name", ["1", "10", "1/a", "%2F", "a/b/c", "a:b-c*[|]{}", "a%b_c"])
    def test_deleting_a_thread_spares_its_likes(self, driver: Driver, name: str) -> None:
        for other in THREAD_IDS:
            Branch(driver, other).put(name=other)
            Branch(driver, other, "child").put(name=other)
        driver.delete_thread(name)
        assert driver.get_tuple(at(name)) is None
        assert driver.list(at(name, None)) == []
        left = {thread_of(item.config)[0] for item in driver.list(None)}
        assert left == set(THREAD_IDS) - {name}
        assert len(driver.list(None)) == 2 * len(left)

    def test_a_thread_id_may_be_an_integer(self, driver: Driver) -> None:
        branch = Branch(driver, 7)
        branch.put(a=1)
        driver.put_writes(branch.config, [("a", 2)], "task")
        for name in (7, "7"):
            loaded = driver.load(at(name))
            assert loaded.checkpoint["channel_values"] == {"a": 1}
            assert loaded.pending_writes == [("task", "a", 2)]
            assert ids(driver.list(at(name))) == [branch.id]
        assert driver.get_tuple(at(70)) is None
        driver.delete_thread("7")
        assert driver.get_tuple(at(7)) is None

    def test_namespaces_may_hold_anything(self, driver: Driver) -> None:
        names = [
            "",
            "a",
            "a/b",
            "a:b",
            "a|b",
            "a%2Fb",
            "a\nb",
            "a\x1fb",
            "é😀",
            "x" * 600,
            " ",
            "'",
        ]
        for ns in names:
            branch = Branch(driver, ns=ns)
            driver.put_writes(branch.put(ns=ns), [("ns", ns)], "task")
        for ns in names:
            loaded = driver.load(at("t", ns))
            assert loaded.checkpoint["channel_values"] == {"ns": ns}
            assert loaded.pending_writes == [("task", "ns", ns)]
            assert len(driver.list(at("t", ns))) == 1

    def test_deleting_an_unknown_thread_does_nothing(self, driver: Driver) -> None:
        driver.delete_thread("unknown")
        Branch(driver).put(a=1)
        driver.delete_thread("unknown")
        assert len(driver.list(None)) == 1

    def test_a_deleted_thread_starts_clean(self, driver: Driver, second: Driver) -> None:
        old = Branch(driver)
        for n in range(3):
            config = old.put(a=[n] * 100, gone="x")
            driver.put_writes(config, [("a", n)], "task")
        Branch(driver, ns="child").put(a=1)
        assert second.get_tuple(at()) is not None
        driver.delete_thread("t")
        for reader in (driver, second):
            assert reader.get_tuple(at()) is None
            assert reader.get_tuple(old.config) is None
            assert reader.list(at("t", None)) == []
            assert reader.list(None) == []
        new = Branch(driver)
        new.put(a=[7])
        for reader in (driver, second):
            loaded = reader.load(at())
            assert loaded.checkpoint["channel_values"] == {"a": [7]}
            assert (loaded.parent_config, loaded.pending_writes) == (None, [])
            assert ids(reader.list(at("t", None))) == [new.id]

    def test_a_checkpoint_put_again_after_its_deletion_has_no_old_writes(
        self, driver: Driver
    ) -> None:
        checkpoint = make_checkpoint({"a": 1})
        config = driver.put(at(), checkpoint, make_metadata(), {"a": 1})
        driver.put_writes(config, [("a", "old")], "task")
        driver.delete_thread("t")
        driver.put(at(), checkpoint, make_metadata(), {"a": 1})
        assert driver.load(at()).pending_writes == []

    def _runs(self, driver: Driver) -> dict[str, list[Any]]:
        """Put checkpoints of three runs into two namespaces of each of two threads."""
        by_run: dict[str, list[Any]] = {"r1": [], "r2": [], "r10": []}
        for thread in ("t", "u"):
            for ns in ("", "child:1"):
                branch = Branch(driver, thread, ns)
                for n, run in enumerate(("r1", "r2", "r1", "r10")):
                    config = branch.put({"run_id": run}, n=n, kept=["same"] * 50)
                    driver.put_writes(config, [("n", n)], f"task{n}")
                    by_run[run].append(config)
        return by_run

    def test_delete_for_runs_spans_threads_and_namespaces(self, driver: Driver) -> None:
        self.require("delete_for_runs")
        by_run = self._runs(driver)
        kept = {run: [driver.load(config) for config in by_run[run]] for run in ("r2", "r10")}
        driver.delete_for_runs([])
        driver.delete_for_runs(["r", "unknown", "*", "r%"])
        assert len(driver.list(None)) == 16
        driver.delete_for_runs(["r1", "unknown"])
        assert [driver.get_tuple(config) for config in by_run["r1"]] == [None] * 8
        for run, before in kept.items():
            found = [driver.load(item.config) for item in before]
            for item, old in zip(found, before, strict=True):
                assert item.checkpoint == old.checkpoint
                assert item.metadata == old.metadata
                assert item.pending_writes == old.pending_writes
            assert len(driver.list(None, filter={"run_id": run})) == len(before)
        driver.delete_for_runs(["r2", "r10"])
        assert driver.list(None) == []
        assert driver.get_tuple(at()) is None

    def test_delete_for_runs_makes_the_newest_left_the_latest(self, driver: Driver) -> None:
        self.require("delete_for_runs")
        by_run = self._runs(driver)
        driver.delete_for_runs(["r10"])
        loaded = driver.load(at())
        assert loaded.config == by_run["r1"][1]
        assert loaded.checkpoint["channel_values"]["n"] == 2

    def test_a_rewritten_checkpoint_belongs_to_its_last_run_only(self, driver: Driver) -> None:
        self.require("delete_for_runs")
        checkpoint = make_checkpoint({"a": 1})
        driver.put(at(), checkpoint, make_metadata(run_id="old"), {"a": 1})
        driver.put(at(), checkpoint, make_metadata(run_id="new"), {"a": 1})
        driver.delete_for_runs(["old"])
        assert ids(driver.list(at())) == [checkpoint["id"]]
        driver.delete_for_runs(["new"])
        assert driver.list(at()) == []

    def test_a_copy_equals_its_source_and_outlives_it(self, driver: Driver, second: Driver) -> None:
        self.require("copy_thread")
        sources = []
        for ns in ("", "child:1", "child|x"):
            branch = Branch(driver, "t", ns)
            for n in range(4):
                config = branch.put({"run_id": f"r{n}"}, n=n, kept=[{"x": n}] * 30)
                driver.put_writes(config, [("n", n), ("kept", [n])], f"task{n}", "path")
                sources.append(driver.load(config))
        other = Branch(driver, "other")
        other.put(a=1)
        driver.copy_thread("t", "copy")

        def renamed(config: Any) -> Any:
            return config and at("copy", *thread_of(config)[1:])

        expected = [
            item._replace(config=renamed(item.config), parent_config=renamed(item.parent_config))
            for item in sources
        ]
        assert [second.load(item.config) for item in expected] == expected
        assert [driver.load(item.config) for item in sources] == sources
        assert len(driver.list(at("copy", None))) == len(sources)
        assert len(driver.list(None)) == 2 * len(sources) + 1
        driver.delete_thread("t")
        assert [second.load(item.config) for item in expected] == expected
        assert driver.list(at("t", None)) == []
        assert driver.load(at("other")).checkpoint["channel_values"] == {"a": 1}

    def test_a_copy_and_its_source_go_their_own_ways(self, driver: Driver) -> None:
        self.require("copy_thread")
        source = Branch(driver, "t")
        source.put(log=["shared"] * 40)
        driver.copy_thread("t", "copy")
        copied = source.fork()
        copied.config = driver.load(at("copy")).config
        copied.put(log=[*copied.values["log"], "copy"])
        source.put(log=[*source.values["log"], "source"])
        driver.put_writes(source.config, [("log", ["w"])], "task")
        assert driver.load(at("copy")).checkpoint["channel_values"] == copied.values
        assert driver.load(at("copy")).pending_writes == []
        assert driver.load(at("t")).checkpoint["channel_values"] == source.values
        assert len(driver.list(at("copy"))) == len(driver.list(at("t"))) == 2
        driver.delete_thread("copy")
        assert driver.load(at("t")).checkpoint["channel_values"] == source.values

    def test_runs_of_a_copy_can_be_deleted(self, driver: Driver) -> None:
        self.require("copy_thread")
        self.require("delete_for_runs")
        branch = Branch(driver, "t")
        branch.put({"run_id": "r1"}, a=1)
        branch.put({"run_id": "r2"}, a=2)
        driver.copy_thread("t", "copy")
        driver.delete_for_runs(["r1"])
        assert [item.metadata["run_id"] for item in driver.list(at("copy"))] == ["r2"]

    def test_copying_an_unknown_thread_copies_nothing(self, driver: Driver) -> None:
        self.require("copy_thread")
        driver.copy_thread("unknown", "copy")
        assert driver.list(at("copy", None)) == []
        assert driver.list(None) == []

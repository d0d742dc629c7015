"""Pending writes: order, overwriting, and the state after a failure."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langgraph.checkpoint.base import WRITES_IDX_MAP
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME, SCHEDULED
from langgraph.checkpoint.swarmstate.testing._base import ContractBase
from langgraph.checkpoint.swarmstate.testing._driver import Driver
from langgraph.checkpoint.swarmstate.testing.checkpoints import (
    Branch,
    at,
    make_checkpoint,
    make_metadata,
)
from langgraph.types import Interrupt

__all__ = ["WritesContract"]


class _Opaque:
    """A value that no serializer knows."""

    __slots__ = ()

    def __reduce__(self) -> str:
        raise TypeError("not picklable either")


def _nested(levels: int = 10_000) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


class WritesContract(ContractBase):
    """Each write is kept once, in the order in which a live run applies them."""

    def test_many_writes_of_one_task_keep_their_order(self, driver: Driver) -> None:
        config = Branch(driver).put(a=0)
        driver.put_writes(config, [("a", n) for n in range(23)], "task")
        assert driver.load(at()).pending_writes == [("task", "a", n) for n in range(23)]

    @pytest.mark.parametrize("size", [1, 20_000])
    def test_writes_may_be_pairs_of_any_kind(self, driver: Driver, size: int) -> None:
        # Caches return lists, and LangGraph passes them on.
        config = Branch(driver).put(a=["x" * size])
        pairs: Any = [["a", ["x" * size, "y"]], ["b", 2]]
        driver.put_writes(config, pairs, "task")
        expected = [("task", "a", ["x" * size, "y"]), ("task", "b", 2)]
        assert driver.load(at()).pending_writes == expected

    def test_order_is_by_path_then_task_then_index(self, driver: Driver) -> None:
        config = Branch(driver).put(a=0)
        driver.put_writes(config, [("a", "1"), ("b", "2")], "task-b", "~__pregel_pull, b")
        driver.put_writes(config, [("a", "3"), ("b", "4")], "task-c", "~__pregel_pull, a")
        driver.put_writes(config, [("a", "5")], "task-z")
        driver.put_writes(config, [("a", "6")], "task-a", "~__pregel_pull, b")
        driver.put_writes(config, [("a", "7")], "task-y", "")
        expected = [
            ("task-y", "a", "7"),
            ("task-z", "a", "5"),
            ("task-c", "a", "3"),
            ("task-c", "b", "4"),
            ("task-a", "a", "6"),
            ("task-b", "a", "1"),
            ("task-b", "b", "2"),
        ]
        assert driver.load(at()).pending_writes == expected
        assert driver.list(at())[0].pending_writes == expected

    @pytest.mark.parametrize("own", range(7))
    @pytest.mark.parametrize("others", [0, 1, 5])
    def test_the_latest_has_its_own_writes(self, driver: Driver, own: int, others: int) -> None:
        branch = Branch(driver)
        before, latest = branch.put(a=0), branch.put(a=1)
        # LangGraph may store writes before their checkpoint.
        coming = at("t", "", f"{latest['configurable']['checkpoint_id']}f")
        for config, count in ((before, others), (latest, own), (coming, others)):
            for n in range(count):
                driver.put_writes(config, [("a", n)], f"task {n}")
        elsewhere = Branch(driver, "t", "child").put(a=2)
        driver.put_writes(elsewhere, [("a", 9)], "task")
        expected = [(f"task {n}", "a", n) for n in range(own)]
        assert driver.load(at()).pending_writes == expected
        assert driver.load(latest).pending_writes == expected

    def test_regular_writes_are_written_once(self, driver: Driver, second: Driver) -> None:
        config = Branch(driver).put(a=0)
        driver.put_writes(config, [("a", 1), ("b", 2)], "task")
        for again in (driver, second):  # the second as after a restart
            again.put_writes(config, [("a", "other"), ("b", 3), ("c", 4)], "task")
            assert again.load(at()).pending_writes == [
                ("task", "a", 1),
                ("task", "b", 2),
                ("task", "c", 4),
            ]

    def test_repeating_writes_after_a_restart_changes_nothing(
        self, driver: Driver, second: Driver
    ) -> None:
        config = Branch(driver).put(a=0)
        writes: list[tuple[str, Any]] = [("a", {"n": [1]}), ("b", "x"), (INTERRUPT, ("q",))]
        driver.put_writes(config, writes, "task", "path")
        before = driver.load(at())
        second.put_writes(config, writes, "task", "path")
        driver.put_writes(config, writes, "task", "path")
        assert second.load(at()) == before

    @pytest.mark.parametrize("channel", [ERROR, SCHEDULED, INTERRUPT, RESUME])
    def test_special_writes_overwrite(self, driver: Driver, channel: str) -> None:
        config = Branch(driver).put(a=0)
        driver.put_writes(config, [(channel, "first")], "task")
        driver.put_writes(config, [(channel, "second")], "task")
        driver.put_writes(config, [(channel, "other task")], "task2")
        assert driver.load(at()).pending_writes == [
            ("task", channel, "second"),
            ("task2", channel, "other task"),
        ]

    def test_special_writes_overwrite_among_regular_ones(self, driver: Driver) -> None:
        # A batch that mixes both kinds: each write follows the rule of its own kind.
        config = Branch(driver).put(a=0)
        driver.put_writes(config, [("a", 1), (RESUME, ["old"])], "task")
        driver.put_writes(config, [("a", 2), (RESUME, ["old", "new"])], "task")
        assert driver.load(at()).pending_writes == [
            ("task", RESUME, ["old", "new"]),
            ("task", "a", 1),
        ]

    def test_special_writes_never_clash_with_regular_ones(self, driver: Driver) -> None:
        config = Branch(driver).put(a=0)
        for n, channel in enumerate((ERROR, SCHEDULED, INTERRUPT, RESUME)):
            driver.put_writes(config, [(channel, n)], "task")
        driver.put_writes(config, [("a", n) for n in range(5)], "task")
        by_index = sorted(WRITES_IDX_MAP, key=lambda channel: WRITES_IDX_MAP[channel])
        written = {ERROR: 0, SCHEDULED: 1, INTERRUPT: 2, RESUME: 3}
        assert driver.load(at()).pending_writes == [
            *(("task", channel, written[channel]) for channel in by_index),
            *(("task", "a", n) for n in range(5)),
        ]

    def test_an_error_does_not_block_a_later_success(self, driver: Driver) -> None:
        config = Branch(driver).put(a=0)
        driver.put_writes(config, [(ERROR, "ValueError('no')")], "task")
        driver.put_writes(config, [("a", "done"), ("b", "too")], "task")
        assert driver.load(at()).pending_writes == [
            ("task", ERROR, "ValueError('no')"),
            ("task", "a", "done"),
            ("task", "b", "too"),
        ]

    def test_interrupts_come_back_as_interrupts(self, driver: Driver) -> None:
        config = Branch(driver).put(a=0)
        raised = [Interrupt(value={"ask": ["a", "b"]}, id="i1")]
        driver.put_writes(config, [(INTERRUPT, raised)], "task")
        assert driver.load(at()).pending_writes == [("task", INTERRUPT, raised)]

    def test_no_writes_is_an_empty_list(self, driver: Driver) -> None:
        config = Branch(driver).put(a=0)
        assert driver.load(at()).pending_writes == []
        assert driver.load(config).pending_writes == []
        assert driver.list(at())[0].pending_writes == []
        driver.put_writes(config, [], "task")
        assert driver.load(at()).pending_writes == []

    def test_writes_may_come_before_their_checkpoint(self, driver: Driver) -> None:
        checkpoint = make_checkpoint({"a": 1})
        config = at("t", "", checkpoint["id"])
        driver.put_writes(config, [("a", "early")], "task")
        assert driver.get_tuple(config) is None
        assert driver.get_tuple(at()) is None
        assert driver.list(at()) == []
        driver.put(at(), checkpoint, make_metadata(), {"a": 1})
        assert driver.load(at()).pending_writes == [("task", "a", "early")]

    def test_writes_belong_to_one_checkpoint_of_one_namespace(self, driver: Driver) -> None:
        checkpoint = make_checkpoint({"a": 1})
        targets = [("t", ""), ("t", "child"), ("t", "child|x"), ("u", "")]
        stored = [
            driver.put(at(thread, ns), checkpoint, make_metadata(), {"a": 1})
            for thread, ns in targets
        ]
        for n, config in enumerate(stored):
            driver.put_writes(config, [("a", n)], "task")
        found = [driver.load(config).pending_writes for config in stored]
        assert found == [[("task", "a", n)] for n in range(len(targets))]

    def test_writes_without_a_namespace_belong_to_the_root(self, driver: Driver) -> None:
        config = Branch(driver).put(a=0)
        del config["configurable"]["checkpoint_ns"]
        driver.put_writes(config, [("a", 1)], "task")
        assert driver.load(at()).pending_writes == [("task", "a", 1)]

    def test_task_ids_and_paths_may_hold_anything(self, driver: Driver) -> None:
        config = Branch(driver).put(a=0)
        tasks = ["a", "a/b", "a:b", "a|b", "%2F", "a\x1fb", "é", "😀", "a\nb", "'\"", "a*", "a "]
        for task in tasks:
            driver.put_writes(config, [("a", task)], task, f"path/{task}")
        found = driver.load(at()).pending_writes
        expected = sorted(tasks, key=lambda task: (f"path/{task}", task))
        assert found == [(task, "a", task) for task in expected]

    def test_concurrent_writes_lose_nothing(self, driver: Driver) -> None:
        config = Branch(driver).put(a=0)
        if driver.mode == "sync":
            start = threading.Barrier(40)

            def write(n: int) -> None:
                start.wait()
                driver.saver.put_writes(config, [("a", n), ("b", n)], f"task{n:02}")

            with ThreadPoolExecutor(40) as pool:
                list(pool.map(write, range(40)))
        else:
            import asyncio

            async def write_all() -> None:
                await asyncio.gather(
                    *(
                        driver.saver.aput_writes(config, [("a", n), ("b", n)], f"task{n:02}")
                        for n in range(40)
                    )
                )

            driver.run(write_all())
        assert driver.load(at()).pending_writes == [
            (f"task{n:02}", channel, n) for n in range(40) for channel in "ab"
        ]

    @pytest.mark.parametrize("make_bad", [_Opaque, threading.Lock, _nested])
    def test_values_that_cannot_be_stored_change_nothing(
        self, driver: Driver, make_bad: Callable[[], Any]
    ) -> None:
        bad = make_bad()
        branch = Branch(driver)
        config = branch.put(a=0)
        driver.put_writes(config, [("a", 1)], "task")
        before = driver.list(at())
        for values in ({"a": 1, "bad": bad}, {"bad": {"deep": [bad]}}):
            with pytest.raises(self.encode_error) as raised:
                driver.put(config, make_checkpoint(values), make_metadata(1), {"a": 2, "bad": 2})
            assert str(raised.value)
        with pytest.raises(self.encode_error):
            driver.put_writes(config, [("a", 2), ("bad", bad)], "task2")
        with pytest.raises(self.encode_error):
            driver.put(at("new"), make_checkpoint({"bad": bad}), make_metadata(), {"bad": 1})
        assert driver.list(at()) == before
        assert driver.list(at("new", None)) == []
        assert [item.config for item in driver.list(None)] == [before[0].config]
        branch.put(a=2)
        assert driver.load(at()).checkpoint["channel_values"] == {"a": 2}

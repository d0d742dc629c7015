"""Reading and listing: which checkpoints are found, in which order, with which filters."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.checkpoint.base import get_checkpoint_metadata
from langgraph.checkpoint.base.id import uuid6
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

__all__ = ["ReadingContract"]

HOSTILE = [
    "a') OR 1=1 --",
    "$.source",
    "source' IS NOT NULL OR '1",
    "*",
    "%",
    "so?rce",
    'x"; DROP TABLE checkpoints; --',
    "]] redis.call('FLUSHALL') --",
    "a.b",
    "",
    "é😀",
]


class ReadingContract(ContractBase):
    """`get_tuple` and `list` find exactly what is stored, newest first."""

    def test_nothing_is_found_where_nothing_is(self, driver: Driver) -> None:
        assert driver.get_tuple(at()) is None
        assert driver.get_tuple(at("t", "", str(uuid6()))) is None
        assert driver.list(at()) == []
        assert driver.list(None) == []
        Branch(driver).put(a=1)
        assert driver.get_tuple(at("t", "", str(uuid6()))) is None
        assert driver.get_tuple(at("t", "", "unknown")) is None
        assert driver.get_tuple(at("t", "child")) is None
        assert driver.get_tuple(at("other")) is None
        assert driver.list(at("t", "", "unknown")) == []

    def test_the_latest_comes_with_its_real_config(self, driver: Driver) -> None:
        branch = Branch(driver)
        first = branch.put(a=1)
        second = branch.put(a=2)
        loaded = driver.load(at())
        assert loaded.config == second == at("t", "", branch.id)
        assert loaded.parent_config == first
        assert driver.load(first).parent_config is None
        assert driver.load(at("t", None)).config == second
        assert driver.load(second) == loaded == driver.list(at(), limit=1)[0]

    def test_the_latest_is_the_greatest_id_not_the_last_put(self, driver: Driver) -> None:
        names = [str(uuid6()) for _ in range(5)]
        for name in (names[2], names[4], names[0], names[3], names[1]):
            checkpoint = make_checkpoint({"id": name}, {"id": name}, checkpoint_id=name)
            driver.put(at(), checkpoint, make_metadata(), {"id": name})
        assert driver.load(at()).checkpoint["id"] == names[4]
        assert ids(driver.list(at())) == names[::-1]

    def test_ids_need_not_be_uuids(self, driver: Driver) -> None:
        names = ["1", "10", "2", "a", "a/b", "a b", "b%2F", "é"]
        for name in names:
            checkpoint = make_checkpoint({"id": name}, {"id": name}, checkpoint_id=name)
            driver.put(at(), checkpoint, make_metadata(), {"id": name})
        assert ids(driver.list(at())) == sorted(names, reverse=True)
        for name in names:
            assert driver.load(at("t", "", name)).checkpoint["channel_values"] == {"id": name}

    def test_a_missing_namespace_means_the_root_for_get(self, driver: Driver) -> None:
        root = Branch(driver)
        root.put(a="root")
        Branch(driver, ns="child").put(a="child")
        assert driver.load(at("t", None)).checkpoint["channel_values"] == {"a": "root"}
        assert driver.load(at("t", None, root.id)).checkpoint["channel_values"] == {"a": "root"}

    def test_list_is_newest_first_and_complete(self, driver: Driver) -> None:
        branch = Branch(driver)
        for step in range(7):
            branch.put(step=step)
            driver.put_writes(branch.config, [("step", step), ("step", -step)], "task")
        found = driver.list(at())
        assert [item.metadata["step"] for item in found] == [6, 5, 4, 3, 2, 1, 0]
        assert [driver.load(item.config) for item in found] == found
        assert [item.pending_writes for item in found] == [
            [("task", "step", n), ("task", "step", -n)] for n in range(6, -1, -1)
        ]
        assert [item.parent_config for item in found] == [item.config for item in found[1:]] + [
            None
        ]

    def test_list_spans_namespaces_and_threads_newest_first(self, driver: Driver) -> None:
        branches = [
            Branch(driver, thread, ns)
            for thread, ns in [("t", ""), ("u", ""), ("t", "child"), ("u", "child|x"), ("a", "")]
        ]
        order = [branches[(step * 3) % len(branches)].put(n=step) for step in range(20)]
        newest = order[::-1]

        def places(found: list[Any]) -> list[Any]:
            return [item.config for item in found]

        of_t = [config for config in newest if thread_of(config)[0] == "t"]
        assert places(driver.list(None)) == newest
        assert places(driver.list(at("t", None))) == of_t
        for limit in (1, 3, 7):
            assert places(driver.list(None, limit=limit)) == newest[:limit]
            assert places(driver.list(at("t", None), limit=limit)) == of_t[:limit]
        for cut in (3, 11):
            before = newest[cut]
            assert places(driver.list(None, before=before)) == newest[cut + 1 :]
            assert places(driver.list(at("t", None), before=before)) == [
                config for config in newest[cut + 1 :] if thread_of(config)[0] == "t"
            ]
            only_id = {"configurable": {"checkpoint_id": thread_of(before)[2]}}
            assert places(driver.list(at("t", None), before=only_id)) == [
                config for config in newest[cut + 1 :] if thread_of(config)[0] == "t"
            ]
        assert (
            places(driver.list(None, filter={"step": 1}, limit=2))
            == [item.config for item in driver.list(None) if item.metadata["step"] == 1][:2]
        )

    def test_namespaces_match_exactly(self, driver: Driver) -> None:
        names = ["", "child", "child|x", "child:1", "child:1|y:2", "child/x", "chil", "CHILD", "%"]
        for ns in names:
            branch = Branch(driver, ns=ns)
            branch.put(ns=ns)
            branch.put(ns=ns)
        for ns in names:
            assert driver.load(at("t", ns)).checkpoint["channel_values"] == {"ns": ns}
            assert [thread_of(item.config)[1] for item in driver.list(at("t", ns))] == [ns, ns]
        assert len(driver.list(at("t", None))) == 2 * len(names)
        assert driver.list(at("t", "child|")) == []

    def test_a_checkpoint_id_in_the_config_lists_that_one(self, driver: Driver) -> None:
        branch = Branch(driver)
        configs = [branch.put(n=n) for n in range(3)]
        assert [item.config for item in driver.list(configs[1])] == [configs[1]]

    def test_limits(self, driver: Driver) -> None:
        branch = Branch(driver)
        for n in range(4):
            branch.put(n=n)
        everything = driver.list(at())
        assert driver.list(at(), limit=0) == []
        assert driver.list(None, limit=0) == []
        assert driver.list(at(), limit=2) == everything[:2]
        assert driver.list(at(), limit=99) == everything
        assert driver.list(at(), limit=None) == everything

    def test_before_filter_and_limit_compose(self, driver: Driver) -> None:
        branch = Branch(driver)
        configs = [
            branch.put(
                {"source": "input" if n % 3 == 0 else "loop", "tag": n % 2, "run_id": f"r{n // 4}"},
                n=n,
            )
            for n in range(12)
        ]

        def steps(**options: Any) -> list[int]:
            return [item.metadata["step"] for item in driver.list(at(), **options)]

        assert steps(filter={}) == steps() == list(range(11, -1, -1))
        assert steps(filter={"source": "input"}) == [9, 6, 3, 0]
        assert steps(filter={"source": "input", "tag": 1}) == [9, 3]
        assert steps(filter={"source": "input", "tag": 1}, limit=1) == [9]
        assert steps(filter={"source": "input"}, before=configs[9]) == [6, 3, 0]
        assert steps(filter={"run_id": "r1", "tag": 0}, before=configs[6], limit=5) == [4]
        assert steps(filter={"unknown": "x"}) == []
        assert steps(filter={"source": "input", "unknown": "x"}) == []
        assert steps(before=configs[0]) == []

    def test_filter_values_of_every_kind(self, driver: Driver) -> None:
        kinds: list[Any] = [
            None,
            True,
            0,
            7,
            2.5,
            "text",
            'it\'s "quoted"',
            {"a": 1, "b": [None, {"c": "d"}]},
            [1, [2, "x"]],
            {},
            [],
        ]
        branch = Branch(driver)
        for kind in kinds:
            branch.put({"value": kind, "other": 1}, n=0)
        for step, kind in enumerate(kinds):
            found = driver.list(at(), filter={"value": kind, "other": 1})
            matches = [n for n, other in enumerate(kinds) if other == kind]
            assert step in matches
            assert sorted(item.metadata["step"] for item in found) == matches
        assert driver.list(at(), filter={"value": {"a": 1}}) == []
        assert driver.list(at(), filter={"value": "7"}) == []

    @pytest.mark.parametrize("text", HOSTILE)
    def test_filters_cannot_inject(self, driver: Driver, text: str) -> None:
        branch = Branch(driver)
        branch.put({"plain": "value"}, n=0)
        tagged = branch.put({text: "found", "value": text}, n=1)
        driver.put(at("secret"), make_checkpoint(), make_metadata(0, plain="value"), {})
        assert [item.config for item in driver.list(None, filter={text: "found"})] == [tagged]
        assert [item.config for item in driver.list(at(), filter={"value": text})] == [tagged]
        assert driver.list(at(), filter={text: "other"}) == []
        assert driver.list(at(), filter={"plain": text}) == []
        assert len(driver.list(None)) == 3

    def test_putting_while_listing_disturbs_nothing(self, driver: Driver) -> None:
        branch = Branch(driver)
        for n in range(30):
            branch.put(n=n)
        expected = ids(driver.list(at()))
        seen = []
        if driver.mode == "sync":
            for item in driver.saver.list(at()):
                seen.append(item.checkpoint["id"])
                branch.put(n=99)
                driver.put_writes(item.config, [("n", 1)], "task")
        else:
            saver, other = driver.saver, at("t2")

            async def walk() -> None:
                async for item in saver.alist(at()):
                    seen.append(item.checkpoint["id"])
                    await saver.aput(at(), make_checkpoint({"n": 99}), make_metadata(), {"n": 1})
                    await saver.aput(other, make_checkpoint({"n": 1}), make_metadata(), {"n": 1})
                    await saver.aput_writes(item.config, [("n", 1)], "task")

            driver.run(walk())
        assert seen == expected
        assert len(driver.list(at())) == 60

    def test_an_unfinished_list_blocks_no_writer(self, driver: Driver, second: Driver) -> None:
        branch = Branch(driver)
        for n in range(3):
            branch.put(n=n)
        if driver.mode == "sync":
            paused = iter(driver.saver.list(at()))
            next(paused)
            branch.put(n=3)
            second.put_writes(branch.config, [("n", 1)], "task")
            assert len(list(paused)) == 2
        else:

            async def pause() -> None:
                walk = driver.saver.alist(at())
                await anext(walk)
                await driver.saver.aput(at(), make_checkpoint({"n": 3}), make_metadata(), {"n": 1})
                await second.saver.aput_writes(branch.config, [("n", 1)], "task")
                assert len([item async for item in walk]) == 2

            driver.run(pause())
        assert len(second.list(at())) == 4

    def test_metadata_is_merged_as_langgraph_does(self, driver: Driver) -> None:
        config = at()
        config["metadata"] = {"user": "u1", "score": 0.5, "nul": "a\x00b", "source": "ignored"}
        config["configurable"] |= {
            "model": "m",
            "debug": True,
            "count": 3,
            "not_plain": {"a": 1},
            "__private": "no",
            "langgraph_step": 4,
        }
        metadata = make_metadata(2, own="x\x00y", nested={"kept": [1, None]}, run_id="r")
        config_before = at()
        config_before["metadata"] = dict(config["metadata"])
        config_before["configurable"] = dict(config["configurable"])
        expected = get_checkpoint_metadata(config_before, metadata)
        stored = driver.put(config, make_checkpoint(), metadata, {})
        assert driver.load(stored).metadata == expected
        assert expected["user"] == "u1"  # type: ignore[typeddict-item]  # a key of our own
        assert driver.list(at(), filter={"model": "m", "own": "xy"})[0].metadata == expected
        assert stored == at("t", "", thread_of(stored)[2])

    def test_nul_in_state_survives(self, driver: Driver, second: Driver) -> None:
        values = {"text": "a\x00b", "a\x00key": {"\x00": "\x00"}, "bytes": b"\x00\x01"}
        checkpoint = make_checkpoint(values)
        config = driver.put(at(), checkpoint, make_metadata(), checkpoint["channel_versions"])
        driver.put_writes(config, [("text", "x\x00y")], "task")
        loaded = second.load(at())
        assert loaded.checkpoint["channel_values"] == values
        assert loaded.pending_writes == [("task", "text", "x\x00y")]

    def test_all_fields_of_a_checkpoint_come_back(self, driver: Driver, second: Driver) -> None:
        checkpoint = make_checkpoint({"a": 1}, {"a": 3, "empty": 2})
        checkpoint["versions_seen"] = {"__input__": {}, "node": {"a": 2}, "__interrupt__": {"a": 3}}
        checkpoint["updated_channels"] = ["a", "empty"]
        config = driver.put(at(), checkpoint, make_metadata(), {"a": 3, "empty": 2})
        assert second.load(config).checkpoint == checkpoint
        assert driver.list(at())[0].checkpoint == checkpoint

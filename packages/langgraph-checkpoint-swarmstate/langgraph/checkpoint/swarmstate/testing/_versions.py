"""Versions, forks and history: the content of a checkpoint never changes."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolCall
from langgraph.checkpoint.swarmstate.testing._base import ContractBase
from langgraph.checkpoint.swarmstate.testing._driver import Driver
from langgraph.checkpoint.swarmstate.testing.checkpoints import (
    Branch,
    at,
    ids,
    make_checkpoint,
    make_metadata,
)

__all__ = ["VersionsContract"]


class VersionsContract(ContractBase):
    """Each checkpoint keeps its own values, whatever is put before or after it."""

    def test_forks_keep_their_own_values(self, driver: Driver) -> None:
        root = Branch(driver)
        root.put(text="root", log=["root"])
        left, right = root.fork(), root.fork()
        for step in range(3):  # equal step numbers on both branches
            left.put(text=f"left {step}", log=[*left.values["log"], f"l{step}"])
            right.put(text=f"right {step}", log=[*right.values["log"], f"r{step}"])
        deep = left.fork()
        deep.put(text="deep", log=[*deep.values["log"], "d"])
        left.put(text="left 3")
        for branch in (left, right, deep):
            loaded = driver.load(branch.config).checkpoint
            assert loaded["channel_values"] == branch.values
            assert loaded["channel_versions"] == branch.versions
        assert driver.load(root.config).checkpoint["channel_values"] == root.values

    def test_forks_with_equal_versions_keep_their_own_values(self, driver: Driver) -> None:
        # Versions are opaque to a saver, and may collide across branches.
        first = driver.put(at(), make_checkpoint({"a": 0}, {"a": 1}), make_metadata(), {"a": 1})
        stored = [
            driver.put(first, make_checkpoint({"a": [n]}, {"a": 2}), make_metadata(1), {"a": 2})
            for n in range(3)
        ]
        found = [driver.load(config).checkpoint["channel_values"] for config in stored]
        assert found == [{"a": [0]}, {"a": [1]}, {"a": [2]}]
        assert [driver.load(config).parent_config for config in stored] == [first] * 3

    def test_next_versions_rise_and_never_collide(self, driver: Driver) -> None:
        saver = driver.saver
        current: Any = None
        for _ in range(50):
            following = saver.get_next_version(current, None)
            assert following == following
            if current is not None:
                assert following > current
            current = following
        forks = {saver.get_next_version(current, None) for _ in range(200)}
        assert len(forks) == 200, "two forks of one checkpoint were given the same version"
        assert all(version > current for version in forks)

    @pytest.mark.parametrize(
        "current",
        [
            1,
            41,
            10**12,
            1.0,
            2.5,
            "00000000000000000000000000000007.0.5182345",
            "00000000000000000000000000000009.0.012345678901234",
            "00000000000000000000000000000099.1e-05",
        ],
    )
    def test_next_version_continues_other_savers(self, driver: Driver, current: Any) -> None:
        # A thread keeps one kind of version, since LangGraph compares them with each other.
        for _ in range(20):
            following: Any = driver.saver.get_next_version(current, None)
            assert following > current
            current = following

    def test_untouched_channels_survive_a_reload(self, driver: Driver, second: Driver) -> None:
        branch = Branch(driver)
        branch.put(kept={"deep": [1, {"x": None}]}, none=None, changing=0)
        for step in range(1, 6):
            branch.put(changing=step)
        expected = {"kept": {"deep": [1, {"x": None}]}, "none": None, "changing": 5}
        assert second.load(at()).checkpoint["channel_values"] == expected

    def test_dropped_channels_do_not_come_back(self, driver: Driver) -> None:
        branch = Branch(driver)
        first = branch.put(stays=1, goes=[1, 2])
        branch.drop("goes")  # an emptied channel has a version but no value
        second = branch.put(stays=2)
        assert driver.load(second).checkpoint["channel_values"] == {"stays": 2}
        assert driver.load(first).checkpoint["channel_values"] == {"stays": 1, "goes": [1, 2]}
        assert set(driver.load(second).checkpoint["channel_versions"]) == {"stays", "goes"}

    def test_old_checkpoints_never_change(self, driver: Driver) -> None:
        branch = Branch(driver)
        before = []
        for step in range(12):
            config = branch.put(messages=[HumanMessage(f"m{i}") for i in range(step)], n=step)
            driver.put_writes(config, [("n", step)], f"task{step}")
            before.append(driver.load(config))
        Branch(driver).put(unrelated=True)
        branch.fork().put(messages=[], n=-1)
        assert [driver.load(item.config) for item in before] == before

    def test_values_mutated_in_place_are_stored_as_they_are(self, driver: Driver) -> None:
        message = AIMessage("hi", additional_kwargs={"deep": {"seen": [1]}}, id="a")
        branch = Branch(driver)
        branch.put(messages=[message], facts={"x": {"y": [1]}})
        expected = [copy.deepcopy(branch.values)]
        configs = [branch.config]

        def change(step: int) -> None:
            if step % 3 == 0:
                message.additional_kwargs["deep"]["seen"].append(step)
            elif step % 3 == 1:
                message.tool_calls.append(_tool_call(step))
            else:
                branch.values["facts"]["x"]["y"][0] = step

        for step in range(9):
            change(step)
            configs.append(
                branch.put(messages=branch.values["messages"], facts=branch.values["facts"])
            )
            expected.append(copy.deepcopy(branch.values))
        found = [driver.load(config).checkpoint["channel_values"] for config in configs]
        assert found == expected

    def test_values_mutated_without_a_new_version_are_stored_as_they_are(
        self, driver: Driver
    ) -> None:
        # A node that changes its input in place and returns nothing does not bump the version.
        branch = Branch(driver)
        first = branch.put(facts={"n": 1, "long": list(range(300))}, other=0)
        branch.values["facts"]["n"] = 2
        branch.values["facts"]["long"][150] = "changed"
        second = branch.put(other=1)
        assert driver.load(first).checkpoint["channel_values"]["facts"] == {
            "n": 1,
            "long": list(range(300)),
        }
        assert driver.load(second).checkpoint["channel_values"] == branch.values

    def test_returned_values_are_independent(self, driver: Driver, second: Driver) -> None:
        branch = Branch(driver)
        branch.put(messages=[HumanMessage("hi", id="1")], facts={"a": [1]})
        driver.put_writes(branch.config, [("facts", {"b": [2]})], "task")
        expected = second.load(at())
        for loaded in (driver.load(at()), driver.load(branch.config), driver.list(at())[0]):
            values = loaded.checkpoint["channel_values"]
            values["messages"][0].content = "changed"
            values["messages"].append("more")
            values["facts"]["a"].clear()
            values.pop("facts")
            loaded.checkpoint["channel_versions"].clear()
            loaded.checkpoint["versions_seen"]["x"] = {}
            loaded.metadata["step"] = 99
            assert loaded.pending_writes is not None
            loaded.pending_writes[0][2]["b"].append(3)
            loaded.pending_writes.clear()
            loaded.config["configurable"]["thread_id"] = "other"
        assert driver.load(at()) == expected
        assert driver.list(at()) == [expected]
        assert second.load(at()) == expected

    def test_arguments_are_never_modified(self, driver: Driver) -> None:
        config = at()
        config["metadata"] = {"user": "u", "nul": "a\x00b"}
        config["configurable"]["extra"] = "e"
        checkpoint = make_checkpoint({"a": [1, {"b": 2}]})
        metadata = make_metadata(0, nested={"x": [1]}, nul="a\x00b")
        versions: dict[str, Any] = {"a": 1}
        writes = [("a", [1]), ("b", {"c": 1})]
        arguments = (config, checkpoint, metadata, versions, writes)
        before = copy.deepcopy(arguments)
        stored = driver.put(config, checkpoint, metadata, versions)
        driver.put_writes({**config, **stored}, writes, "task")
        conditions: dict[str, Any] = {"source": "loop", "nested": {"x": [1]}}
        driver.list(config, filter=conditions, before=stored, limit=1)
        driver.get_tuple(config)
        assert arguments == before
        assert conditions == {"source": "loop", "nested": {"x": [1]}}

    def test_a_put_with_an_existing_id_replaces_it(self, driver: Driver) -> None:
        root = Branch(driver)
        parent = root.put(a=0)
        checkpoint = make_checkpoint({"a": 1, "gone": [1]})
        stored = driver.put(parent, checkpoint, make_metadata(1, tag="old"), {"a": 1, "gone": 1})
        driver.put_writes(stored, [("a", "w")], "task")
        again = make_checkpoint({"a": 2}, checkpoint_id=checkpoint["id"])
        assert driver.put(parent, again, make_metadata(2), {"a": 1}) == stored
        loaded = driver.load(stored)
        assert loaded.checkpoint["channel_values"] == {"a": 2}
        assert loaded.metadata == make_metadata(2)
        assert loaded.pending_writes == [("task", "a", "w")]
        assert len(driver.list(at())) == 2

    @pytest.mark.parametrize("seed", range(3))
    def test_list_edits_of_every_kind_read_back_exactly(self, driver: Driver, seed: int) -> None:
        chance = random.Random(seed)
        items: list[Any] = [HumanMessage(f"first {n}", id=f"f{n}") for n in range(40)]
        branch = Branch(driver)
        expected: list[tuple[Any, list[Any]]] = []
        for step in range(80):
            kind = EDITS[step % len(EDITS)] if step < len(EDITS) else chance.choice(EDITS)
            items = _edited(items, kind, step, chance)
            config = branch.put(items=items, nested={"inner": {"items": items[::2]}})
            expected.append((config, copy.deepcopy(items)))
        for config, values in expected:
            loaded = driver.load(config).checkpoint["channel_values"]
            assert loaded["items"] == values
            assert loaded["nested"] == {"inner": {"items": values[::2]}}
        assert (
            ids(driver.list(at()))
            == [c["configurable"]["checkpoint_id"] for c, _ in expected][::-1]
        )


def _tool_call(step: int) -> ToolCall:
    return {"name": "f", "args": {"n": step}, "id": f"c{step}", "type": "tool_call"}


EDITS = ("append", "insert", "delete", "edit", "trim", "reverse", "extend", "edit_deep", "clear")


def _edited(items: list[Any], kind: str, step: int, chance: random.Random) -> list[Any]:
    """Edit `items` in one way: in place at even steps, else as a new list."""
    if step % 2:
        items = list(items)
    if kind == "append" or not items:
        items.append(AIMessage(f"appended {step}", id=f"a{step}"))
    elif kind == "insert":
        items.insert(chance.randrange(len(items)), HumanMessage(f"inserted {step}", id=f"i{step}"))
    elif kind == "delete":
        del items[chance.randrange(len(items))]
    elif kind == "edit":
        items[chance.randrange(len(items))] = AIMessage(f"edited {step}", id=f"e{step}")
    elif kind == "edit_deep":
        chosen = chance.choice(items)
        chosen.additional_kwargs.setdefault("edits", []).append(step)
    elif kind == "trim":
        items = items[-max(1, len(items) // 2) :]
    elif kind == "reverse":
        items.reverse()
    elif kind == "extend":
        items.extend(HumanMessage(f"x{step}.{n}" * 20, id=f"x{step}.{n}") for n in range(30))
    else:
        items.clear()
    return items

"""Impossible requests raise one clear exception, and nothing is touched."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from langgraph.checkpoint.swarmstate.testing import Driver
from langgraph.checkpoint.swarmstate.testing.checkpoints import (
    Branch,
    at,
    make_checkpoint,
    make_metadata,
)
from swarmstate.errors import (
    EncodeError,
    InvalidConfigError,
    InvalidNameError,
    StoreClosedError,
    StoreError,
    StoreFormatError,
    SwarmStateError,
)

from tests.langgraph.helpers.logs import long_log, written

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _use(path: Path) -> None:
    """Open a saver on `path` and use it, since either step may be the one to report a bad path."""
    saver = SwarmStateSaver(path)
    try:
        saver.get_tuple(at())
        saver.put(at(), make_checkpoint(), make_metadata(), {})
    finally:
        saver.close()


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=tmp_path.name):
        _use(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="missing"):
        _use(tmp_path / "missing" / "agents.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content", [b"not a database" * 1000, b"x", b"SQLite format 3\x00" + b"\xff" * 4096]
)
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(StoreFormatError, match=r"notes\.txt"):
        _use(path)
    assert path.read_bytes() == content


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE checkpoints (thread_id TEXT)")
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(StoreFormatError, match=r"other\.db"):
        _use(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "config",
    [{}, {"configurable": {}}, {"configurable": {"thread_id": None}}, {"configurable": None}],
)
def test_a_missing_thread_id_is_named(driver: Driver, config: Any) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: driver.get_tuple(config),
        lambda: driver.list(config),
        lambda: driver.put(config, make_checkpoint(), make_metadata(), {}),
        lambda: driver.put_writes(config, [("a", 1)], "task"),
        lambda: driver.delta_history(config, ["a"]),
    ]
    for call in calls:
        with pytest.raises(SwarmStateError, match="thread_id"):
            call()
    assert driver.list(None) == []


def test_writes_without_a_checkpoint_id_are_refused(driver: Driver) -> None:
    with pytest.raises(SwarmStateError, match="checkpoint_id"):
        driver.put_writes(at(), [("a", 1)], "task")
    assert driver.list(None) == []


@pytest.mark.parametrize("name", ["", "a\x00b", "a\ud800b"], ids=["empty", "nul", "surrogate"])
def test_thread_ids_that_cannot_be_stored_are_refused(driver: Driver, name: str) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: driver.get_tuple(at(name)),
        lambda: driver.put(at(name), make_checkpoint(), make_metadata(), {}),
        lambda: driver.put_writes(at(name, "", "id"), [("a", 1)], "task"),
        lambda: driver.delete_thread(name),
        lambda: driver.copy_thread("t", name),
        lambda: driver.prune([name]),
    ]
    for call in calls:
        with pytest.raises(InvalidNameError):
            call()
    assert driver.list(None) == []


@pytest.mark.parametrize("name", ["a\x00b", "a\ud800b"], ids=["nul", "surrogate"])
def test_namespaces_that_cannot_be_stored_are_refused(driver: Driver, name: str) -> None:
    with pytest.raises(InvalidNameError):
        driver.put(at("t", name), make_checkpoint(), make_metadata(), {})
    assert driver.list(None) == []


def test_the_name_of_a_channel_that_cannot_be_stored_is_refused(driver: Driver) -> None:
    checkpoint = make_checkpoint({"a\ud800": 1}, {"a\ud800": 1})
    with pytest.raises(EncodeError, match="a channel name"):
        driver.put(at(), checkpoint, make_metadata(), {})
    assert driver.list(None) == []


@pytest.mark.parametrize("value", ["short", long_log()], ids=["short", "long"])
def test_a_write_to_a_channel_that_cannot_be_stored_is_read_back(
    driver: Driver, value: Any
) -> None:
    config = driver.put(at(), make_checkpoint({"log": long_log()}), make_metadata(), {"log": 1})
    driver.put_writes(config, [("a\ud800", value)], "task")
    assert written(driver, config) == [("a\ud800", value)]


def test_unserialisable_values_are_named(driver: Driver) -> None:
    class Unknown:
        __slots__ = ()

    branch = Branch(driver)
    branch.put(a=1)
    with pytest.raises(SwarmStateError, match="Unknown"):
        branch.put(bad=[Unknown()])
    with pytest.raises(SwarmStateError, match="Unknown"):
        driver.put_writes(branch.config, [("bad", Unknown())], "task")
    with pytest.raises(SwarmStateError, match="Unknown"):
        driver.put(at(), make_checkpoint(), make_metadata(bad=Unknown()), {})
    assert len(driver.list(None)) == 1


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_a_closed_saver_says_so(tmp_path: Path, kind: str) -> None:
    saver = SwarmStateSaver() if kind == "memory" else SwarmStateSaver(tmp_path / "agents.db")
    config = saver.put(at(), make_checkpoint(), make_metadata(), {})
    saver.close()
    saver.close()
    calls: list[Callable[[], Any]] = [
        lambda: saver.get_tuple(at()),
        lambda: saver.get_tuple(config),
        lambda: list(saver.list(at())),
        lambda: saver.put(at(), make_checkpoint(), make_metadata(), {}),
        lambda: saver.put_writes(config, [("a", 1)], "task"),
        lambda: saver.delete_thread("t"),
        lambda: asyncio.run(saver.aget_tuple(at())),
    ]
    for call in calls:
        with pytest.raises(StoreClosedError, match=r"closed.*inside the block"):
            call()


@pytest.mark.parametrize("call", ["prune", "delete_for_runs"])
def test_one_text_is_not_taken_for_several(driver: Driver, call: str) -> None:
    for thread in ("a", "d", "ada"):
        Branch(driver, thread).put({"run_id": thread}, a=1)
    with pytest.raises(TypeError, match="did you mean \\['ada'\\]"):
        getattr(driver, call)("ada")
    with pytest.raises(TypeError, match="did you mean \\['log'\\]"):
        driver.delta_history(at("ada"), "log")
    for thread in ("a", "d", "ada"):
        assert driver.get_tuple(at(thread)) is not None


def test_a_run_may_be_named_by_what_its_id_was_made_from(driver: Driver) -> None:
    run = uuid4()
    Branch(driver).put({"run_id": str(run)}, a=1)
    ids: Any = [run, 7]
    driver.delete_for_runs(ids)
    assert driver.get_tuple(at("t")) is None


def test_a_checkpoint_id_that_is_no_text_is_unknown(driver: Driver) -> None:
    Branch(driver).put(a=1)
    config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": "", "checkpoint_id": 5}}
    assert driver.get_tuple(config) is None


def test_an_id_is_no_config(driver: Driver) -> None:
    Branch(driver, "ada").put(a=1)
    saver: Any = driver.saver
    wrong: Any = "ada"
    calls: list[Callable[[], object]] = [
        lambda: driver.get_tuple(wrong),
        lambda: driver.list(wrong),
        lambda: driver.list(at("ada"), before=wrong),
        lambda: list(saver.history(wrong)),
    ]
    for call in calls:
        with pytest.raises(TypeError, match=r"'configurable': \{'thread_id': '1'\}.* found 'ada'"):
            call()


@pytest.mark.parametrize("wrong", [3, "ada", ["ada"]], ids=str)
def test_what_a_config_holds_must_be_a_dict(driver: Driver, wrong: Any) -> None:
    config: Any = {"configurable": wrong}
    calls: list[Callable[[], object]] = [
        lambda: driver.get_tuple(config),
        lambda: driver.list(config),
        lambda: driver.list(at(), before=config),
        lambda: driver.put(config, make_checkpoint(), make_metadata(), {}),
    ]
    for call in calls:
        with pytest.raises(TypeError, match=r"expected a config such as .* found \{'configurable'"):
            call()


def test_a_config_without_a_thread_may_name_anything_else(driver: Driver) -> None:
    config: Any = {"configurable": {3: "a", "b": 4}}
    with pytest.raises(InvalidConfigError, match=r"found only \['3', 'b'\]"):
        driver.get_tuple(config)


@pytest.mark.parametrize("wrong", [3, 0, b"child", ["child"]], ids=str)
def test_a_checkpoint_namespace_must_be_a_text(driver: Driver, wrong: Any) -> None:
    config: Any = at(ns=wrong)
    parent = at("t", wrong, "1")
    calls: list[Callable[[], object]] = [
        lambda: driver.get_tuple(config),
        lambda: driver.list(config),
        lambda: driver.put(config, make_checkpoint(), make_metadata(), {}),
        lambda: driver.put_writes(parent, [("a", 1)], "task"),
    ]
    for call in calls:
        with pytest.raises(TypeError, match=r"\['checkpoint_ns'\] to be a string, found"):
            call()
    saver: Any = driver.saver
    assert saver.threads() == []


def test_a_checkpoint_id_to_list_before_need_not_be_a_text(driver: Driver) -> None:
    config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": "", "checkpoint_id": 5}}
    for checkpoint_id in ("4", "5", "6"):
        checkpoint = make_checkpoint(checkpoint_id=checkpoint_id)
        driver.put(at(), checkpoint, make_metadata(), {})
    for selected in (at(), at(ns=None), None):
        found = driver.list(selected, before=config)
        assert [each.checkpoint["id"] for each in found] == ["4"]


def test_a_place_is_no_config_to_list_before(driver: Driver) -> None:
    # LangGraph's server passes on the form of a checkpoint that its SDK uses.
    place: Any = Branch(driver).put(a=1)["configurable"]
    saver: Any = driver.saver
    calls: list[Callable[[], object]] = [
        lambda: driver.list(at(), before=place),
        lambda: list(saver.history(at(), before=place)),
    ]
    for call in calls:
        with pytest.raises(InvalidConfigError, match=r"before\['configurable'\].*'checkpoint_id'"):
            call()
    assert driver.list(at(), before={"configurable": place}) == []


@pytest.mark.parametrize("wrong", [None, 5, ""], ids=repr)
def test_a_checkpoint_without_an_id_is_refused(driver: Driver, wrong: Any) -> None:
    checkpoint: Any = {**make_checkpoint({"a": 1}), "id": wrong}
    with pytest.raises(
        TypeError, match=f"the checkpoint id to be a non-empty string, found {wrong!r}"
    ):
        driver.put(at(), checkpoint, make_metadata(), {})
    saver: Any = driver.saver
    assert saver.threads() == []


@pytest.mark.parametrize("part", ["id", "channel_values", "channel_versions", "versions_seen"])
def test_a_checkpoint_that_lacks_a_part_is_refused(driver: Driver, part: str) -> None:
    parts: Any = make_checkpoint({"a": 1})
    del parts[part]
    wrong: Any
    for wrong in (parts, None):
        with pytest.raises(TypeError, match=rf"expected a checkpoint \(a dict with .*{part}"):
            driver.put(at(), wrong, make_metadata(), {})
    saver: Any = driver.saver
    assert saver.threads() == []


@pytest.mark.parametrize(
    "wrong", [at("ada"), None, ["ada"], {"ada"}], ids=["config", "None", "list", "set"]
)
def test_what_is_no_thread_id(driver: Driver, wrong: Any) -> None:
    Branch(driver, "ada").put(a=1)
    saver: Any = driver.saver
    calls: list[Callable[[], object]] = [
        lambda: driver.delete_thread(wrong),
        lambda: driver.copy_thread(wrong, "grace"),
        lambda: driver.copy_thread("ada", wrong),
        lambda: driver.prune([wrong]),
        lambda: saver.stats(at("ada") if wrong is None else wrong),
    ]
    for call in calls:
        with pytest.raises(TypeError, match="expected a thread id, found"):
            call()
    assert saver.threads() == ["ada"]


@pytest.mark.parametrize("name", ["task_id", "task_path"])
@pytest.mark.parametrize("wrong", [None, 3], ids=str)
def test_writes_of_a_task_without_a_name_are_refused(driver: Driver, name: str, wrong: Any) -> None:
    config = Branch(driver).put(a=1)
    task: Any = {"task_id": "task", "task_path": "", name: wrong}
    with pytest.raises(TypeError, match=f"expected {name} to be a string, found {wrong}"):
        driver.put_writes(config, [("a", 1)], *task.values())
    found = driver.get_tuple(at())
    assert found is not None
    assert found.pending_writes == []


def test_arguments_of_another_type_are_named(driver: Driver) -> None:
    wrong: Any = "30"
    with pytest.raises(ValueError, match=r"older_than to be a timedelta or seconds.* found '30'"):
        driver.prune(["ada"], older_than=wrong)
    with pytest.raises(ValueError, match=r"keep_last to be at least 1, found '30'"):
        driver.prune(["ada"], keep_last=wrong)
    number: Any = 30
    with pytest.raises(TypeError, match="expected thread_ids to be a list, found 30"):
        driver.prune(number)
    with pytest.raises(TypeError, match=r"serde to have dumps_typed and loads_typed.* a str"):
        SwarmStateSaver(serde=wrong)
    with pytest.raises(TypeError, match="memory_budget to be a number of bytes, found a str"):
        SwarmStateSaver(memory_budget=wrong)


@pytest.mark.parametrize(
    ("name", "wrong", "error"),
    [
        ("limit", "3", TypeError),
        ("limit", 1.5, TypeError),
        ("limit", -1, ValueError),
        ("filter", "source", TypeError),
        ("filter", [("source", "input")], TypeError),
    ],
)
def test_what_a_listing_cannot_be_bounded_by_is_named(
    driver: Driver, name: str, wrong: Any, error: type[Exception]
) -> None:
    Branch(driver).put(a=1)
    saver: Any = driver.saver
    calls: list[Callable[[], object]] = [
        lambda: driver.list(at(), **{name: wrong}),
        lambda: driver.list(None, **{name: wrong}),
        lambda: list(saver.history(at(), **{name: wrong})),
    ]
    if name == "limit":
        calls.append(lambda: saver.threads(limit=wrong))
    for call in calls:
        with pytest.raises(error, match=f"expected {name} to be .* found "):
            call()

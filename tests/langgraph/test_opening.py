"""The ways to open a saver, and what it reports about its threads."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
import swarmstate
from langgraph.cache.swarmstate import SwarmStateCache
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from langgraph.checkpoint.swarmstate.testing import Driver, graphs
from langgraph.checkpoint.swarmstate.testing.checkpoints import (
    Branch,
    at,
    make_checkpoint,
    make_metadata,
)
from langgraph.store.swarmstate import SwarmStateStore
from swarmstate.errors import StoreClosedError, UnknownSchemeError

if TYPE_CHECKING:
    from pathlib import Path


def _targets(folder: Path) -> dict[str, Any]:
    return {
        "str": str(folder / "a.db"),
        "path": folder / "a.db",
        "url": f"disk://{folder / 'a.db'}",
    }


@pytest.mark.parametrize("kind", ["str", "path", "url"])
def test_a_file_keeps_its_threads(tmp_path: Path, kind: str) -> None:
    target = _targets(tmp_path)[kind]
    saver = SwarmStateSaver(target)
    graphs.counter(saver).invoke({"n": 0}, at())
    saver.close()
    assert (tmp_path / "a.db").is_file()
    again = SwarmStateSaver(target)
    assert graphs.counter(again).get_state(at()).values["n"] == 3
    again.close()


@pytest.mark.parametrize("opened", [SwarmStateSaver, SwarmStateStore, SwarmStateCache])
def test_what_is_no_store_is_named(opened: Any) -> None:
    """For example, the connection that LangGraph's own savers take."""
    connection = sqlite3.connect(":memory:")
    for wrong, found in (
        (connection, r"sqlite3\.Connection; connections and pools are not accepted"),
        (5, "builtins.int; .*URL"),
        (swarmstate.Store, "the class Store$"),
        (SwarmStateSaver(), "a SwarmStateSaver; pass its `store` attribute to share its store"),
    ):
        with pytest.raises(TypeError, match=f"a store, a path, a URL or None, found {found}"):
            opened(wrong)
    connection.close()


def test_printed_it_says_where_the_threads_are(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with SwarmStateSaver(path) as saver:
        assert repr(saver) == f"SwarmStateSaver(DiskStore({str(path)!r}))"
    assert str(path) in repr(saver)


def test_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    saver = SwarmStateSaver("agents.db")
    saver.put(at(), make_checkpoint(), make_metadata(), {})
    saver.close()
    assert (tmp_path / "agents.db").is_file()


def test_memory_is_each_savers_own() -> None:
    for saver in (SwarmStateSaver(), SwarmStateSaver(":memory:"), SwarmStateSaver("memory://")):
        assert saver.get_tuple(at()) is None
        saver.put(at(), make_checkpoint(), make_metadata(), {})
        assert len([*saver.list(None)]) == 1


def test_a_store_handed_in_is_shared_and_stays_open() -> None:
    store = swarmstate.Store()
    first, second = SwarmStateSaver(store), SwarmStateSaver(store)
    first.put(at(), make_checkpoint({"a": 1}), make_metadata(), {"a": 1})
    first.close()
    found = second.get_tuple(at())
    assert found is not None
    assert found.checkpoint["channel_values"] == {"a": 1}
    store.close()
    with pytest.raises(StoreClosedError):
        second.get_tuple(at())


@pytest.mark.parametrize("kind", ["str", "url"])
def test_from_conn_string_as_a_context_manager(tmp_path: Path, kind: str) -> None:
    target = _targets(tmp_path)[kind]
    with SwarmStateSaver.from_conn_string(target) as saver:
        saver.put(at(), make_checkpoint({"a": 1}), make_metadata(), {"a": 1})
    with pytest.raises(StoreClosedError):
        saver.get_tuple(at())

    async def main() -> None:
        async with SwarmStateSaver.from_conn_string(target) as saver:
            found = await saver.aget_tuple(at())
            assert found is not None
            await saver.adelete_thread("t")
        with pytest.raises(StoreClosedError):
            await saver.aget_tuple(at())

    asyncio.run(main())


def test_an_unknown_scheme_is_named() -> None:
    with pytest.raises(UnknownSchemeError, match="nosuch"):
        SwarmStateSaver("nosuch://host")


@pytest.mark.parametrize("kind", [SwarmStateSaver, SwarmStateStore])
@pytest.mark.parametrize(
    "given",
    [
        "dbname=agents",
        "host=db.internal port=5432 dbname=agents user=ada password='s3 cret'",
        " user = ada  dbname = agents ",
    ],
)
def test_a_connection_string_is_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any, given: str
) -> None:
    """LangGraph's own savers for PostgreSQL take it."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownSchemeError, match="postgresql://") as caught:
        kind.from_conn_string(given)
    assert "ada" not in str(caught.value)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("name", ["user=3.db", "host=a.db", "a dbname=x.db", "run host=a user=b"])
def test_a_file_may_have_nearly_any_name(tmp_path: Path, name: str) -> None:
    for target in (name, str(tmp_path / name)):
        with pytest.MonkeyPatch.context() as patched:
            patched.chdir(tmp_path)
            SwarmStateSaver(target).close()
    assert (tmp_path / name).is_file()


@pytest.mark.parametrize("kind", [SwarmStateSaver, SwarmStateStore])
def test_setting_up_as_other_savers_are(kind: Any) -> None:
    async def main() -> None:
        async with kind.from_conn_string(":memory:") as opened:
            assert await opened.setup() is None

    asyncio.run(main())
    with kind.from_conn_string(":memory:") as opened:
        opened.setup()


def test_threads_are_newest_first(driver: Driver) -> None:
    def threads(**options: Any) -> list[str]:
        if driver.mode == "sync":
            return [*driver.saver.threads(**options)]  # type: ignore[attr-defined]
        found = driver.run(driver.saver.athreads(**options))  # type: ignore[attr-defined]
        return [*found]

    assert threads() == []
    names = [f"t{n}" for n in range(6)] + ["a/b", "%2F", "x" * 300]
    for name in names:
        Branch(driver, name).put(a=1)
    # Newer than all others, in namespaces whose keys sort after and before those of the root.
    Branch(driver, "t1", "child").put(a=1)
    Branch(driver, "t2", "-child").put(a=1)
    newest = ["t2", "t1", *(name for name in reversed(names) if name not in {"t1", "t2"})]
    assert threads() == newest
    assert threads(limit=2) == newest[:2]
    assert threads(limit=0) == []
    driver.delete_thread("t1")
    driver.copy_thread("t0", "copy")
    assert set(threads()) == {*names, "copy"} - {"t1"}
    driver.put_writes(at("writes only", "", "id"), [("a", 1)], "task")
    assert "writes only" not in threads()

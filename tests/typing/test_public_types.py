"""What a type checker tells users: `make types` checks these, and they run, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import swarmstate
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from typing_extensions import assert_type

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_core.runnables import RunnableConfig


def test_stores_are_base_stores(tmp_path: Path) -> None:
    stores: list[swarmstate.BaseStore] = [
        swarmstate.Store(),
        swarmstate.DiskStore(tmp_path / "state.db"),
    ]
    for store in stores:
        with store as opened:
            assert_type(opened, swarmstate.BaseStore)
            assert_type(opened.keys("n"), list[str])
            assert_type(opened.delete("n", "k"), bool)
            assert_type(opened.snapshot(), swarmstate.Snapshot)
            assert_type(opened.read([swarmstate.Query("n")]), list[swarmstate.Result])


def test_opening_by_url_gives_a_store() -> None:
    with swarmstate.open("memory://") as store:
        assert_type(store, swarmstate.BaseStore)


def test_the_saver_is_a_checkpointer() -> None:
    config: RunnableConfig = {"configurable": {"thread_id": "1"}}
    with SwarmStateSaver() as saver:
        assert_type(saver, SwarmStateSaver)
        checkpointer: BaseCheckpointSaver[Any] = saver
        found: CheckpointTuple | None = checkpointer.get_tuple(config)
        assert found is None
    with SwarmStateSaver.from_conn_string(":memory:") as opened:
        assert_type(opened, SwarmStateSaver)

"""Savers work on layers as on any store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from langgraph.checkpoint.swarmstate.testing import SaverContract
from swarmstate import DiskStore, Store
from swarmstate.base import BaseStore
from swarmstate.layers import CompressedStore, EncryptedStore, ShardedStore

from tests.layers.wrapping import KEYS, Stacked


class OnLayers(SaverContract):
    def open(self, path: Path) -> BaseStore:
        raise NotImplementedError

    def make_saver(self, tmp_path: Path) -> BaseCheckpointSaver[Any]:
        return SwarmStateSaver(self.open(tmp_path))

    def reopen(self, saver: BaseCheckpointSaver[Any], tmp_path: Path) -> BaseCheckpointSaver[Any]:
        return SwarmStateSaver(self.open(tmp_path))

    def close_saver(self, saver: BaseCheckpointSaver[Any]) -> None:
        assert isinstance(saver, SwarmStateSaver)
        saver.store.close()


class TestStackOverFile(Stacked, OnLayers):
    def open(self, path: Path) -> BaseStore:
        return self.wrap(DiskStore(path / "agents.db", durability="normal"))


class TestSharded(OnLayers):
    def open(self, path: Path) -> BaseStore:
        shards: dict[str, BaseStore] = {
            name: DiskStore(path / f"{name}.db", durability="normal") for name in "abc"
        }
        return ShardedStore(shards)


def test_no_word_of_a_conversation_is_stored_in_clear() -> None:
    """Names are unencrypted; messages, metadata and writes are not."""
    below = Store()
    saver = SwarmStateSaver(CompressedStore(EncryptedStore(below, KEYS)))
    config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    checkpoint: Any = {
        "v": 4,
        "id": "1f",
        "ts": "2026-01-01T00:00:00+00:00",
        "channel_values": {"messages": ["a secret word"] * 400, "small": "a secret word"},
        "channel_versions": {"messages": 1},
        "versions_seen": {},
    }
    metadata: Any = {"source": "loop", "step": 1, "note": "a secret word"}
    config = saver.put(config, checkpoint, metadata, {})
    saver.put_writes(config, [("small", "a secret word")], "task")
    snapshot = below.snapshot()
    for name in snapshot.namespaces:
        for value in snapshot.records(name).values():
            assert b"secret" not in value
    found = saver.get_tuple(config)
    assert found is not None
    assert found.checkpoint["channel_values"] == checkpoint["channel_values"]

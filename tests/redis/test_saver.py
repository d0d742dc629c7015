"""LangGraph's checkpointer on Redis: its contract, and the conformance suite."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from langgraph.checkpoint.swarmstate.testing import SaverContract, graphs
from langgraph.checkpoint.swarmstate.testing.checkpoints import at
from swarmstate.errors import StoreIncompleteError

from tests.langgraph.helpers.conformance import assert_full_conformance
from tests.redis.test_contract import prefix_of
from tests.servers.redis import RedisServer


class TestSaver(SaverContract):
    """Savers by URL; a second one opens it again."""

    @pytest.fixture(autouse=True)
    def _server(self, redis_server: RedisServer) -> None:
        self.server = redis_server

    def make_saver(self, tmp_path: Path) -> BaseCheckpointSaver[Any]:
        return SwarmStateSaver(f"{self.server.url()}?prefix={prefix_of(tmp_path)}")

    def reopen(self, saver: BaseCheckpointSaver[Any], tmp_path: Path) -> BaseCheckpointSaver[Any]:
        return self.make_saver(tmp_path)

    def close_saver(self, saver: BaseCheckpointSaver[Any]) -> None:
        assert isinstance(saver, SwarmStateSaver)
        saver.close()


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("part", ["data", "index"])
def test_a_thread_of_which_a_part_was_evicted_can_be_deleted(
    redis_server: RedisServer, tmp_path: Path, part: str, mode: str
) -> None:
    prefix = prefix_of(tmp_path)
    with SwarmStateSaver(f"{redis_server.url()}?prefix={prefix}") as saver:
        graph = graphs.counter(saver)
        for thread in ("other", "evicted"):
            graph.invoke({"n": 0}, at(thread))
        data = f"{prefix}:langgraph:evicted"
        assert redis_server.execute("DEL", data if part == "data" else f"{{{data}}}:keys") == 1
        with pytest.raises(StoreIncompleteError):
            saver.get_tuple(at("evicted"))
        if mode == "sync":
            saver.delete_thread("evicted")
        else:
            asyncio.run(saver.adelete_thread("evicted"))
        assert saver.get_tuple(at("evicted")) is None
        assert saver.threads() == ["other"]
        assert {found.config["configurable"]["thread_id"] for found in saver.list(None)} == {
            "other"
        }
        graph.invoke({"n": 0}, at("evicted"))
        assert graph.get_state(at("evicted")).values == graph.get_state(at("other")).values
        assert saver.threads() == ["evicted", "other"]


@pytest.mark.parametrize("kind", ["standalone", "cluster"])
def test_all_capabilities_pass(
    kind: str, redis_server: RedisServer, redis_cluster: list[RedisServer], tmp_path: Path
) -> None:
    urls = {
        "standalone": f"{redis_server.url()}?",
        "cluster": f"{redis_cluster[1].url()}?cluster=true&",
    }

    def make(name: str) -> SwarmStateSaver:
        return SwarmStateSaver(f"{urls[kind]}prefix={prefix_of(tmp_path)}-{name}")

    assert_full_conformance(f"SwarmStateSaver, Redis, {kind}", make)

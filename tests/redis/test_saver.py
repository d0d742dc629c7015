"""LangGraph's checkpointer on Redis: its contract, and the conformance suite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from langgraph.checkpoint.swarmstate.testing import SaverContract

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

"""LangGraph's checkpointer on Redis: its contract, and the conformance suite."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import Capability
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from langgraph.checkpoint.swarmstate.testing import SaverContract

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
    numbers = iter(range(len(Capability)))
    urls = {
        "standalone": f"{redis_server.url()}?",
        "cluster": f"{redis_cluster[1].url()}?cluster=true&",
    }

    @checkpointer_test(name=f"SwarmStateSaver on Redis, {kind}")
    async def saver_of_its_own() -> AsyncGenerator[SwarmStateSaver, None]:
        prefix = f"{prefix_of(tmp_path)}-{next(numbers)}"
        async with SwarmStateSaver(f"{urls[kind]}prefix={prefix}") as saver:
            yield saver

    report = asyncio.run(validate(saver_of_its_own))
    assert len(Capability) == 8
    assert set(report.results) == {capability.value for capability in Capability}
    for capability, result in report.results.items():
        assert result.failures == [], capability
        assert (result.detected, result.passed) == (True, True), capability
        assert result.tests_passed > 0, capability
        assert (result.tests_failed, result.tests_skipped) == (0, 0), capability
    assert report.conformance_level() == "FULL"

"""LangGraph's checkpointer on PostgreSQL: our contract, and LangGraph's conformance suite."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import Capability
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from langgraph.checkpoint.swarmstate.testing import SaverContract

from tests.postgres.test_store_contract import schema_of
from tests.servers.postgres import PostgresServer


class TestSaver(SaverContract):
    """Savers opened by a URL, as users open them."""

    @pytest.fixture(autouse=True)
    def _server(self, postgres_server: PostgresServer) -> None:
        self.url = postgres_server.url()

    def make_saver(self, tmp_path: Path) -> SwarmStateSaver:
        return SwarmStateSaver(f"{self.url}?{urlencode({'schema': schema_of(tmp_path)})}")

    def reopen(self, saver: BaseCheckpointSaver[Any], tmp_path: Path) -> SwarmStateSaver:
        return self.make_saver(tmp_path)

    def close_saver(self, saver: BaseCheckpointSaver[Any]) -> None:
        assert isinstance(saver, SwarmStateSaver)
        saver.close()


def test_all_capabilities_pass(tmp_path: Path, postgres_server: PostgresServer) -> None:
    numbers = iter(range(len(Capability)))

    @checkpointer_test(name="SwarmStateSaver, PostgreSQL")
    async def saver_of_its_own() -> AsyncGenerator[SwarmStateSaver, None]:
        schema = schema_of(tmp_path / str(next(numbers)))
        async with SwarmStateSaver(f"{postgres_server.url()}?schema={schema}") as saver:
            yield saver

    report = asyncio.run(validate(saver_of_its_own))
    assert len(Capability) == 8
    assert set(report.results) == {capability.value for capability in Capability}
    for capability, result in report.results.items():
        assert result.failures == [], capability
        assert result.detected, capability
        assert result.passed is True, capability
        assert result.tests_passed > 0, capability
        assert (result.tests_failed, result.tests_skipped) == (0, 0), capability
    assert report.conformance_level() == "FULL"

"""LangGraph's checkpointer on PostgreSQL: our contract and LangGraph's conformance suite."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from langgraph.checkpoint.swarmstate.testing import SaverContract

from tests.langgraph.helpers.conformance import assert_full_conformance
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
    def make(name: str) -> SwarmStateSaver:
        return SwarmStateSaver(f"{postgres_server.url()}?schema={schema_of(tmp_path / name)}")

    assert_full_conformance("SwarmStateSaver, PostgreSQL", make)

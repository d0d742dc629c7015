"""The contract of a flow persistence, for ours and CrewAI's own."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from crewai.flow.persistence import SQLiteFlowPersistence
from crewai.flow.persistence.base import FlowPersistence
from crewai_swarmstate import SwarmStateFlowPersistence
from crewai_swarmstate.testing import FlowPersistenceContract
from swarmstate.errors import StoreUnavailableError

from tests.crewai.helpers.releases import of_this_crewai


class TestFile(FlowPersistenceContract):
    init_error = StoreUnavailableError

    def make_persistence(self, path: Path) -> FlowPersistence:
        return SwarmStateFlowPersistence(path / "flows.db")


class TestMemory(FlowPersistenceContract):
    def make_persistence(self, path: Path) -> FlowPersistence:
        return SwarmStateFlowPersistence("memory://")


@of_this_crewai
class TestCrewAISQLite(FlowPersistenceContract):
    init_error = sqlite3.OperationalError

    def make_persistence(self, path: Path) -> FlowPersistence:
        return SQLiteFlowPersistence(str(path / "flows.db"))

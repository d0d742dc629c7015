"""The saver contract's tests that run graphs also pass for accelerated runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.swarmstate import SwarmStateSaver, accelerate
from langgraph.checkpoint.swarmstate.testing._delta import DeltaContract
from langgraph.checkpoint.swarmstate.testing._graph_runs import GraphRunsContract
from langgraph.checkpoint.swarmstate.testing._sharing import SharingContract


class TestAcceleratedFile(GraphRunsContract, SharingContract, DeltaContract):
    """Runs on a file that a second saver opens."""

    @pytest.fixture(autouse=True)
    def _accelerated(self) -> Iterator[None]:
        with accelerate():
            yield

    def make_saver(self, tmp_path: Path) -> SwarmStateSaver:
        return SwarmStateSaver(tmp_path / "agents.db")

    def reopen(self, saver: Any, tmp_path: Path) -> SwarmStateSaver:
        return SwarmStateSaver(tmp_path / "agents.db")

    def close_saver(self, saver: Any) -> None:
        saver.close()

"""The saver contract on every store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import swarmstate
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from langgraph.checkpoint.swarmstate.testing import SaverContract

if TYPE_CHECKING:
    from pathlib import Path

    from langgraph.checkpoint.base import BaseCheckpointSaver


class TestMemory(SaverContract):
    """Savers in memory; a second one gets the store of the first."""

    def make_saver(self, tmp_path: Path) -> BaseCheckpointSaver[Any]:
        self.store = swarmstate.Store()
        return SwarmStateSaver(self.store)

    def reopen(self, saver: BaseCheckpointSaver[Any], tmp_path: Path) -> BaseCheckpointSaver[Any]:
        return SwarmStateSaver(self.store)


class TestFile(SaverContract):
    """Savers on a file; a second one opens the file again."""

    def make_saver(self, tmp_path: Path) -> BaseCheckpointSaver[Any]:
        return SwarmStateSaver(tmp_path / "agents.db")

    def reopen(self, saver: BaseCheckpointSaver[Any], tmp_path: Path) -> BaseCheckpointSaver[Any]:
        return SwarmStateSaver(tmp_path / "agents.db")

    def close_saver(self, saver: BaseCheckpointSaver[Any]) -> None:
        assert isinstance(saver, SwarmStateSaver)
        saver.close()

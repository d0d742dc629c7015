"""The contract of long-term memory on every store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import swarmstate
from langgraph.store.swarmstate.testing import MemoryContract

if TYPE_CHECKING:
    from pathlib import Path


class TestMemory(MemoryContract):
    """In memory."""

    examples = 200

    def open_store(self, folder: Path) -> swarmstate.BaseStore:
        return swarmstate.Store()


class TestFile(MemoryContract):
    """In a file."""

    examples = 25

    def open_store(self, folder: Path) -> swarmstate.BaseStore:
        return swarmstate.DiskStore(folder / "memories.db", durability="normal")

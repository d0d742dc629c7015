"""The conformance suite that LangGraph publishes, in memory and on a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from langgraph.checkpoint.swarmstate import SwarmStateSaver

from tests.langgraph.helpers.conformance import assert_full_conformance

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_all_capabilities_pass(tmp_path: Path, kind: str) -> None:
    def make(name: str) -> SwarmStateSaver:
        return SwarmStateSaver() if kind == "memory" else SwarmStateSaver(tmp_path / f"{name}.db")

    assert_full_conformance(f"SwarmStateSaver, {kind}", make)

"""The conformance suite that LangGraph publishes, with nothing left out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import Capability
from langgraph.checkpoint.swarmstate import SwarmStateSaver

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_all_capabilities_pass(tmp_path: Path, kind: str) -> None:
    numbers = iter(range(len(Capability)))

    @checkpointer_test(name=f"SwarmStateSaver, {kind}")
    async def saver_of_its_own() -> AsyncGenerator[SwarmStateSaver, None]:
        path = tmp_path / f"{next(numbers)}.db"
        saver = SwarmStateSaver() if kind == "memory" else SwarmStateSaver(path)
        yield saver
        saver.close()

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

"""The conformance suite that LangGraph publishes, with nothing left out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import Capability
from langgraph.checkpoint.swarmstate import SwarmStateSaver


def assert_full_conformance(name: str, make: Callable[[str], SwarmStateSaver]) -> None:
    """Run the suite and check that all of it ran and passed.

    Args:
        name: The saver's name in the report.
        make: Opens an empty saver, given a string that is unique in this run.
    """
    numbers = iter(range(len(Capability)))

    @checkpointer_test(name=name)
    async def saver_of_its_own() -> AsyncGenerator[SwarmStateSaver, None]:
        async with make(str(next(numbers))) as saver:
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

"""Results of tools in a swarmstate store."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from crewai import Agent, Crew, Task
from crewai.tools.tool_failure import ToolFailure
from crewai_swarmstate import SwarmStateCacheHandler, close_stores
from pydantic import ValidationError

from tests.crewai.helpers.offline import ScriptedLLM


@pytest.fixture
def cache(tmp_path: Path) -> SwarmStateCacheHandler:
    return SwarmStateCacheHandler(uri=str(tmp_path / "tools.db"))


def test_results_outlive_the_process(cache: SwarmStateCacheHandler) -> None:
    cache.add("search", '{"q": "ü\x00"}', {"hits": [1, 2]})
    close_stores()
    again = SwarmStateCacheHandler(uri=cache.uri)
    assert again.read("search", '{"q": "ü\x00"}') == {"hits": [1, 2]}
    assert again.read("search", "other") is None
    assert again.read("sear", 'ch{"q": "ü\x00"}') is None


def test_failures_are_not_cached(cache: SwarmStateCacheHandler) -> None:
    cache.add("search", "q", ToolFailure(message="no network"))
    assert cache.read("search", "q") is None


def test_what_cannot_be_stored_is_reported(
    cache: SwarmStateCacheHandler, caplog: pytest.LogCaptureFixture
) -> None:
    cache.add("search", "q", object())
    assert cache.read("search", "q") is None
    assert "'search' is not cached" in caplog.text


def test_results_are_forgotten_in_time(
    cache: SwarmStateCacheHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    brief = SwarmStateCacheHandler(uri=cache.uri, ttl=10)
    now = time.time()
    brief.add("search", "q", "found")
    assert brief.read("search", "q") == "found"
    monkeypatch.setattr(time, "time", lambda: now + 11)
    assert brief.read("search", "q") is None


def test_a_tool_can_be_cleared(cache: SwarmStateCacheHandler) -> None:
    cache.add("search", "q", 1)
    cache.add("fetch", "q", 2)
    cache.clear("search")
    assert cache.read("search", "q") is None
    assert cache.read("fetch", "q") == 2


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf")])
def test_a_senseless_ttl_is_refused(ttl: float) -> None:
    with pytest.raises(ValidationError, match="positive number of seconds"):
        SwarmStateCacheHandler(uri="memory://", ttl=ttl)


def test_a_crew_hands_it_to_its_agents(cache: SwarmStateCacheHandler) -> None:
    agent = Agent(role="r", goal="g", backstory="b", llm=ScriptedLLM(model="scripted"), cache=True)
    task = Task(description="d", expected_output="e", agent=agent)
    crew = Crew(agents=[agent], tasks=[task])
    cache.use_for(crew)
    crew.kickoff()
    assert agent.cache_handler is cache

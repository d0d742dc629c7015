"""Tool results in a swarmstate store."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from crewai import Agent, Crew, Process, Task
from crewai.tools import tool as of_function
from crewai_swarmstate import SwarmStateCacheHandler, close_stores, shared_store
from pydantic import ValidationError
from swarmstate.errors import StoreUnavailableError

from tests.crewai.helpers.offline import ScriptedLLM
from tests.crewai.helpers.releases import of_this_crewai
from tests.servers.waiting import wait_until


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


@pytest.mark.skipif(
    find_spec("crewai.tools.tool_failure") is None,
    reason="tools of this CrewAI declare no failures",
)
def test_failures_are_not_cached(
    cache: SwarmStateCacheHandler, caplog: pytest.LogCaptureFixture
) -> None:
    from crewai.tools.tool_failure import ToolFailure

    cache.add("search", "q", ToolFailure(message="no network"))
    assert cache.read("search", "q") is None
    assert not caplog.records


def test_a_crewai_whose_tools_declare_no_failures(
    cache: SwarmStateCacheHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "crewai.tools.tool_failure", None)
    cache.add("search", "q", "found")
    assert cache.read("search", "q") == "found"


def test_what_cannot_be_stored_is_reported(
    cache: SwarmStateCacheHandler, caplog: pytest.LogCaptureFixture
) -> None:
    cache.add("search", "q", object())
    assert cache.read("search", "q") is None
    assert "'search' is not cached" in caplog.text


def test_results_are_forgotten_in_time(cache: SwarmStateCacheHandler) -> None:
    brief = SwarmStateCacheHandler(uri=cache.uri, ttl=0.2)
    cache.add("search", "kept", "found")
    brief.add("search", "q", "found")
    store = shared_store(cache.uri)
    wait_until(lambda: len(store.namespaces()) == 1, "the store frees what has expired")
    assert brief.read("search", "q") is None
    assert brief.read("search", "kept") == "found"


def test_a_result_that_is_added_again_gets_its_time_anew(cache: SwarmStateCacheHandler) -> None:
    SwarmStateCacheHandler(uri=cache.uri, ttl=0.2).add("search", "q", "old")
    SwarmStateCacheHandler(uri=cache.uri, ttl=0.2).add("search", "other", "old")
    cache.add("search", "q", "new")
    store = shared_store(cache.uri)
    wait_until(lambda: len(store.namespaces()) == 1, "the store frees what has expired")
    assert cache.read("search", "q") == "new"


def test_a_tool_can_be_cleared(cache: SwarmStateCacheHandler) -> None:
    others = ["fetch", "search/deep", "search%2F", "sear", "", "\x00"]
    for tool in ("search", *others):
        cache.add(tool, "q", tool)
    cache.clear("search")
    assert cache.read("search", "q") is None
    assert [cache.read(tool, "q") for tool in others] == others


def test_a_damaged_result_counts_as_missing(
    cache: SwarmStateCacheHandler, caplog: pytest.LogCaptureFixture
) -> None:
    cache.add("search", "q", "found")
    store = shared_store(cache.uri)
    [name] = store.namespaces("crewai-tool:search/")
    store.set(name, "value", "something else")
    assert cache.read("search", "q") is None
    assert f"{name!r} cannot be read" in caplog.text


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf")])
def test_a_senseless_ttl_is_refused(ttl: float) -> None:
    with pytest.raises(ValidationError, match="positive, finite number of seconds"):
        SwarmStateCacheHandler(uri="memory://", ttl=ttl)
    assert SwarmStateCacheHandler(uri="memory://", ttl=None).ttl is None


def test_a_crew_hands_it_to_its_agents(cache: SwarmStateCacheHandler) -> None:
    agent = Agent(role="r", goal="g", backstory="b", llm=ScriptedLLM(model="scripted"), cache=True)
    task = Task(description="d", expected_output="e", agent=agent)
    crew = Crew(agents=[agent], tasks=[task])
    cache.use_for(crew)
    crew.kickoff()
    assert agent.cache_handler is cache


@of_this_crewai
def test_the_manager_of_a_crew_uses_it_too(cache: SwarmStateCacheHandler) -> None:
    llm = ScriptedLLM(model="scripted")
    agent = Agent(role="r", goal="g", backstory="b", llm=llm)
    task = Task(description="d", expected_output="e", agent=agent)
    crew = Crew(agents=[agent], tasks=[task], process=Process.hierarchical, manager_llm=llm)
    crew.cache = True
    cache.use_for(crew)
    crew.kickoff()
    assert crew.manager_agent is not None
    assert crew.manager_agent.cache_handler is cache


# Another process, because file locks only work against other processes.
BLOCK = """
import sqlite3, sys

connection = sqlite3.connect(sys.argv[1])
connection.execute("BEGIN IMMEDIATE")
print("blocked", flush=True)
sys.stdin.read()
"""


class Sender(ScriptedLLM):
    """Calls the tool `send` once."""

    def call(self, messages: Any, *args: Any, **kwargs: Any) -> str:
        answer = super().call(messages)
        if len(self.prompts) > 1:
            return answer
        return 'Thought: I send it.\nAction: send\nAction Input: {"to": "ann"}'


def test_what_a_tool_did_is_told_though_it_cannot_be_cached(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    @of_function("send")
    def send(to: str) -> str:
        """Send a letter."""
        return f"sent to {to}"

    cache = SwarmStateCacheHandler(uri=f"disk://{tmp_path}/tools.db?timeout=0.01")
    assert cache.read("send", "q") is None
    llm = Sender(model="scripted")
    agent = Agent(role="r", goal="g", backstory="b", llm=llm, tools=[send], cache=True)
    crew = Crew(agents=[agent], tasks=[Task(description="d", expected_output="e", agent=agent)])
    cache.use_for(crew)
    command = [sys.executable, "-c", BLOCK, str(tmp_path / "tools.db")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as blocking:
        assert blocking.stdout is not None
        assert blocking.stdout.readline() == b"blocked\n"
        crew.kickoff()
        blocking.communicate()
    assert "Observation: sent to ann" in llm.prompts[-1]
    assert re.search("'crewai-tool:send/[0-9a-f]+' cannot be written now", caplog.text)


def test_a_crew_works_without_its_cache(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    @of_function("send")
    def send(to: str) -> str:
        """Send a letter."""
        return f"sent to {to}"

    # A store that cannot be opened.
    (tmp_path / "tools.db").mkdir()
    cache = SwarmStateCacheHandler(uri=str(tmp_path / "tools.db"))
    assert cache.read("fetch", "q") is None
    assert "the cached result of tool 'fetch' cannot be read" in caplog.text
    llm = Sender(model="scripted")
    agent = Agent(role="r", goal="g", backstory="b", llm=llm, tools=[send], cache=True)
    crew = Crew(agents=[agent], tasks=[Task(description="d", expected_output="e", agent=agent)])
    cache.use_for(crew)
    crew.kickoff()
    assert "Observation: sent to ann" in llm.prompts[-1]
    assert "the cached result of tool 'send' cannot be read" in caplog.text
    with pytest.raises(StoreUnavailableError):
        cache.clear("send")

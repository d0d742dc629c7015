"""`install` makes CrewAI use swarmstate; `uninstall` undoes it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import crewai_swarmstate
import pytest
from crewai import Agent
from crewai.events.event_bus import CrewAIEventsBus
from crewai.flow.flow import Flow, start
from crewai.flow.persistence import factory as flow_factory
from crewai.flow.persistence import persist
from crewai.flow.persistence.sqlite import SQLiteFlowPersistence
from crewai.knowledge.knowledge import Knowledge
from crewai.knowledge.storage import factory as knowledge_factory
from crewai.memory import unified_memory
from crewai.memory.storage.lancedb_storage import LanceDBStorage
from crewai.memory.unified_memory import Memory
from crewai_core import lock_store
from crewai_swarmstate import (
    SwarmStateFlowPersistence,
    SwarmStateKnowledgeStorage,
    SwarmStateStorage,
    install,
    shared_store,
    uninstall,
)
from swarmstate.errors import StoreUnavailableError, UnknownSchemeError

from tests.crewai.helpers.offline import ScriptedLLM, embed

REPOSITORY = Path(__file__).parents[2]


def kickoff(uri: Path, topic: str, answer: str) -> str:
    process = Path(__file__).parent / "helpers" / "crew_process.py"
    done = subprocess.run(
        [sys.executable, str(process), str(uri), topic, answer],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
        env={"PYTHONPATH": str(REPOSITORY), **_environment()},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _environment() -> dict[str, str]:
    import os

    return dict(os.environ)


def test_a_second_process_recalls_what_the_first_learned(tmp_path: Path) -> None:
    uri = tmp_path / "memory.db"
    first = kickoff(uri, "Find the colour of the harbour lighthouse", "The lighthouse is green")
    assert "lighthouse is green" not in first.partition("MEMORIES")[0]
    second = kickoff(uri, "Which colour has the harbour lighthouse?", "green")
    assert "lighthouse is green" in second.partition("MEMORIES")[0]


def test_importing_the_package_does_not_import_crewai() -> None:
    code = "import sys, crewai_swarmstate; sys.exit('crewai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_defaults_are_replaced_and_given_back(tmp_path: Path) -> None:
    install(tmp_path / "a.db")
    assert isinstance(Memory(embedder=embed)._storage, SwarmStateStorage)
    assert isinstance(flow_factory.default_flow_persistence(), SwarmStateFlowPersistence)
    knowledge = Knowledge(collection_name="c", sources=[], embedder=None)
    assert isinstance(knowledge.storage, SwarmStateKnowledgeStorage)
    assert knowledge.storage.collection_name == "c"

    uninstall()
    uninstall()
    assert isinstance(Memory(embedder=embed)._storage, LanceDBStorage)
    assert isinstance(flow_factory.default_flow_persistence(), SQLiteFlowPersistence)


def test_what_was_chosen_stays(tmp_path: Path) -> None:
    install(tmp_path / "a.db")
    chosen = Memory(storage=str(tmp_path / "lance"), embedder=embed)
    assert isinstance(chosen._storage, LanceDBStorage)


def test_without_default_only_what_is_named_is_served(tmp_path: Path) -> None:
    install(tmp_path / "a.db", default=False)
    assert isinstance(Memory(embedder=embed)._storage, LanceDBStorage)
    assert isinstance(flow_factory.default_flow_persistence(), SQLiteFlowPersistence)
    named: Any = Memory(storage="swarmstate", embedder=embed)._storage
    other: Any = Memory(storage=f"swarmstate:{tmp_path}/b.db", embedder=embed)._storage
    assert named.uri == f"disk://{tmp_path}/a.db"
    assert other.uri == f"disk://{tmp_path}/b.db"


def test_earlier_factories_are_given_back(tmp_path: Path) -> None:
    mine = SwarmStateFlowPersistence("memory://")
    flow_factory.set_flow_persistence_factory(lambda: mine)
    try:
        install(tmp_path / "a.db")
        install(tmp_path / "b.db")
        uninstall()
        assert flow_factory.default_flow_persistence() is mine
    finally:
        flow_factory.set_flow_persistence_factory(None)


def test_installing_again_leaves_nothing_of_before(tmp_path: Path) -> None:
    register_entity = CrewAIEventsBus.register_entity
    install(tmp_path / "a.db", locks=True, checkpoint_memory=True)
    install(tmp_path / "b.db", default=False)
    assert isinstance(flow_factory.default_flow_persistence(), SQLiteFlowPersistence)
    assert knowledge_factory._factory is None
    assert lock_store._backend is None
    assert CrewAIEventsBus.register_entity is register_entity
    named: Any = Memory(storage="swarmstate", embedder=embed)._storage
    assert named.uri == f"disk://{tmp_path}/b.db"


def test_a_decorated_flow_uses_it(tmp_path: Path) -> None:
    install(tmp_path / "a.db")

    @persist()
    class Count(Flow[dict[str, Any]]):
        @start()
        def first(self) -> None:
            self.state["count"] = 1

    flow = Count()
    flow.kickoff()
    namespaces = shared_store(tmp_path / "a.db").namespaces("crewai-flow:")
    assert namespaces == [f"crewai-flow:{flow.state['id']}"]


def test_locks_are_held_in_the_store_if_asked_for(tmp_path: Path) -> None:
    install(tmp_path / "a.db", locks=True)
    with lock_store.lock("name"):
        assert shared_store(tmp_path / "a.db").namespaces() == ["crewai-lock:name"]
    uninstall()
    assert lock_store._backend is None


def test_a_store_that_cannot_be_opened_installs_nothing() -> None:
    with pytest.raises(UnknownSchemeError):
        install("nonsense://store")
    assert flow_factory._factory is None


def test_a_server_that_cannot_be_reached_is_reported_at_once() -> None:
    with pytest.raises(StoreUnavailableError, match=r"127\.0\.0\.1:1 cannot be reached"):
        install("redis://:secret@127.0.0.1:1/0?retry_for=0")
    assert flow_factory._factory is None


def test_a_scoring_that_does_not_exist_installs_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'cosine'"):
        install(tmp_path / "a.db", scoring="dot")  # type: ignore[arg-type]
    assert flow_factory._factory is None


WITHOUT_CREWAI = """
import sys
sys.modules["crewai"] = None

import crewai_swarmstate
from swarmstate import HandoffGraph

assert set(crewai_swarmstate.__all__) <= set(dir(crewai_swarmstate))
crewai_swarmstate.uninstall()
for call in (
    lambda: crewai_swarmstate.install(sys.argv[1]),
    lambda: crewai_swarmstate.SwarmStateFlowPersistence(sys.argv[1]),
    lambda: crewai_swarmstate.handoff_router(HandoffGraph(), "a"),
):
    try:
        call()
    except ModuleNotFoundError as error:
        print(error)
"""


def test_without_crewai_it_says_what_to_install(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_CREWAI, str(tmp_path / "a.db")]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert ["pip install 'crewai-swarmstate[crewai]'" in line for line in said] == [True] * 3


def test_a_misspelled_name_is_noticed_by_type_checkers_too() -> None:
    # If mypy misses the error, it reports an unused ignore comment.
    with pytest.raises(ImportError, match="SwarmStateStorag'"):
        from crewai_swarmstate import SwarmStateStorag  # type: ignore[attr-defined]  # noqa: F401


def test_the_core_leads_to_all_that_the_adapter_has() -> None:
    from swarmstate.integrations import crewai as alias

    adapter = {name: getattr(crewai_swarmstate, name) for name in crewai_swarmstate.__all__}
    assert {name: getattr(alias, name) for name in alias.__all__} == adapter


def test_agents_and_flows_remember_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unified_memory, "_default_embedder", lambda: embed)
    install(tmp_path / "a.db")
    agent = Agent(role="r", goal="g", backstory="b", llm=ScriptedLLM(model="scripted"), memory=True)

    class Work(Flow[dict[str, Any]]):
        @start()
        def first(self) -> None:
            pass

    for memory in (agent.memory, Work().memory):
        storage = getattr(memory, "_storage", None)
        assert isinstance(storage, SwarmStateStorage)
        assert storage.uri == f"disk://{tmp_path}/a.db"

"""CrewAI's checkpoints in a swarmstate store, written by real crews."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from crewai import Agent, Crew, Task
from crewai.events.base_events import BaseEvent
from crewai.events.event_bus import CrewAIEventsBus, crewai_event_bus
from crewai.memory import unified_memory
from crewai.memory.encoding_flow import EncodingFlow
from crewai.memory.recall_flow import RecallFlow
from crewai.state.checkpoint_config import CheckpointConfig
from crewai.state.event_record import EventRecord
from crewai.state.runtime import RuntimeState
from crewai_swarmstate import SwarmStateCheckpointProvider, install, shared_store
from pydantic_core import core_schema
from swarmstate.errors import CheckpointError

from tests.crewai.helpers.offline import ScriptedLLM, embed


@pytest.fixture
def provider(tmp_path: Path) -> SwarmStateCheckpointProvider:
    return SwarmStateCheckpointProvider(uri=str(tmp_path / "checkpoints.db"))


def make_crew(checkpoint: CheckpointConfig, llm: ScriptedLLM, **options: Any) -> Crew:
    agent = Agent(role="clerk", goal="file orders", backstory="patient", llm=llm)
    tasks = [
        Task(description=f"task {name}", expected_output="a line", agent=agent)
        for name in ("one", "two")
    ]
    return Crew(agents=[agent], tasks=tasks, checkpoint=checkpoint, **options)


class Unhurried(ScriptedLLM):
    """Answers once the previous task's checkpoint is written, like a model that takes its time.

    CrewAI writes checkpoints concurrently with the run. Two at once have the same parent, and may
    finish in any order.
    """

    def call(self, messages: Any, *args: Any, **kwargs: Any) -> str:
        crewai_event_bus.flush()
        return super().call(messages, *args, **kwargs)


def test_a_crew_is_checkpointed_and_restored(
    provider: SwarmStateCheckpointProvider, tmp_path: Path
) -> None:
    install(provider.uri, default=False, checkpoint_locked=True)
    llm = Unhurried(model="scripted", answer="filed")
    make_crew(CheckpointConfig(location="orders", provider=provider), llm).kickoff()
    crewai_event_bus.flush()
    second, first = provider.checkpoints("orders")
    assert second.parent_id == first.id
    assert first.parent_id is None
    asked = len(llm.prompts)

    config = provider.restore_config("orders", first.id, directory=tmp_path / "export")
    restored = Crew.from_checkpoint(config)
    # `kickoff(from_checkpoint=config)` does this, too. The model is a stand-in that CrewAI cannot
    # recreate.
    restored.checkpoint = config.model_copy(update={"restore_from": None})
    for agent in (*restored.agents, *(task.agent for task in restored.tasks)):
        assert agent is not None
        agent.llm = llm
    assert str(restored.kickoff()) == "filed"
    crewai_event_bus.flush()
    # The first task was done at that checkpoint, so the model is asked again only for the second.
    assert asked == 2
    assert len(llm.prompts) == 3
    assert "task two" in llm.prompts[-1]
    assert provider.checkpoints("orders")[0].parent_id == first.id


# Takes the mode, the file and a folder. Checkpoints a flow with a persistence, or restores it in a
# program that names none.
FLOW = """
import sys
from crewai.events.event_bus import crewai_event_bus
from crewai.flow.flow import Flow, listen, start
from crewai.state.checkpoint_config import CheckpointConfig
from crewai_swarmstate import SwarmStateCheckpointProvider, install

mode, uri, folder = sys.argv[1:]
install(uri, default=False, checkpoint_locked=True)
provider = SwarmStateCheckpointProvider(uri=uri)


class Work(Flow[dict]):
    @start()
    def first(self):
        self.state["steps"] = [mode]

    @listen(first)
    def second(self):
        pass


if mode == "run":
    from crewai_swarmstate import SwarmStateFlowPersistence

    events = ["method_execution_finished"]
    config = CheckpointConfig(location="flow", provider=provider, on_events=events)
    Work(persistence=SwarmStateFlowPersistence(uri), checkpoint=config).kickoff()
    crewai_event_bus.flush()
else:
    # CrewAI writes checkpoints beside the run, so the first one may hold the second step, too.
    first = provider.checkpoints("flow")[-1]
    flow = Work.from_checkpoint(provider.restore_config("flow", first.id, directory=folder))
    flow.kickoff()
    print("STEPS", flow.state["steps"])
"""


def test_a_flow_with_a_persistence_is_restored_in_another_process(tmp_path: Path) -> None:
    said = [
        subprocess.run(
            [sys.executable, "-c", FLOW, mode, str(tmp_path / "a.db"), str(tmp_path / "export")],
            check=False,
            capture_output=True,
            text=True,
        )
        for mode in ("run", "restore")
    ]
    assert [each.returncode for each in said] == [0, 0], "".join(each.stderr for each in said)
    assert "STEPS ['run']" in said[-1].stdout


def test_a_checkpoint_comes_back_as_it_was(provider: SwarmStateCheckpointProvider) -> None:
    data = json.dumps({"entities": [], "text": "ü\n\x00"})
    location = provider.checkpoint(data, "somewhere", parent_id="p", branch="b")
    assert provider.from_checkpoint(location) == data
    assert asyncio.run(provider.afrom_checkpoint(location)) == data
    [info] = provider.checkpoints("somewhere", branch="b")
    assert (info.id, info.parent_id, info.branch) == (provider.extract_id(location), "p", "b")


def test_records_are_plain_msgpack(provider: SwarmStateCheckpointProvider) -> None:
    identity = provider.extract_id(provider.checkpoint("{}", "somewhere", branch="a/b"))
    records = dict(shared_store(provider.uri).items("crewai-checkpoints:somewhere"))
    assert records["branch/a%2Fb/0000000000"] == identity
    assert records[f"checkpoint/{identity}"]["data"] == "{}"
    assert len(records) == 2


def test_the_newest_is_restored_from_a_file_where_it_is_wanted(
    provider: SwarmStateCheckpointProvider, tmp_path: Path
) -> None:
    first = provider.extract_id(provider.checkpoint("first", "somewhere"))
    newest = provider.extract_id(provider.checkpoint("newest", "somewhere", parent_id=first))
    folder = tmp_path / "deep" / "export"
    # CrewAI reads the ids of a checkpoint and its parent from the file's name.
    for asked, name in ((None, f"{newest}_p-{first}"), (first, f"{first}_p-none")):
        config = provider.restore_config("somewhere", asked, directory=folder)
        assert config.restore_from == folder / f"{name}.json"
    assert (folder / f"{newest}_p-{first}.json").read_text() == "newest"
    config = provider.restore_config("somewhere", directory=folder, max_checkpoints=3)
    assert (config.location, config.provider, config.max_checkpoints) == ("somewhere", provider, 3)
    temporary = provider.restore_config("somewhere").restore_from
    assert temporary is not None
    assert Path(temporary).read_text() == "newest"
    Path(temporary).unlink()
    Path(temporary).parent.rmdir()


def test_the_async_methods_do_the_same(provider: SwarmStateCheckpointProvider) -> None:
    location = asyncio.run(provider.acheckpoint("{}", "somewhere"))
    assert provider.from_checkpoint(location) == "{}"
    assert len(provider.checkpoints("somewhere")) == 1


def test_prune_keeps_the_newest_of_its_branch(provider: SwarmStateCheckpointProvider) -> None:
    branches = ["main", "main/x", "fork/main", "main%2Fx"]
    for index in range(5):
        for branch in branches:
            provider.checkpoint(str(index), "somewhere", branch=branch)
    other = provider.checkpoint("other", "somewhere else")
    assert provider.prune("somewhere", 2) == 3
    kept = [
        provider.from_checkpoint(f"somewhere#{c.id}") for c in provider.checkpoints("somewhere")
    ]
    assert kept == ["4", "3"]
    for branch in branches[1:]:
        assert len(provider.checkpoints("somewhere", branch=branch)) == 5
    assert provider.prune("somewhere", 0) == 2
    assert provider.prune("somewhere", 0) == 0
    assert provider.from_checkpoint(other) == "other"
    # Pruned checkpoints leave no records of any kind.
    assert len(shared_store(provider.uri).keys("crewai-checkpoints:somewhere")) == 3 * 5 * 2


def test_threads_checkpoint_at_once(provider: SwarmStateCheckpointProvider) -> None:
    def write() -> None:
        for _ in range(10):
            provider.checkpoint("{}", "somewhere")

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = provider.checkpoints("somewhere")
    assert len({each.id for each in found}) == 80


def test_what_is_missing_is_named(provider: SwarmStateCheckpointProvider) -> None:
    with pytest.raises(CheckpointError, match="'somewhere#gone'"):
        provider.from_checkpoint("somewhere#gone")
    with pytest.raises(CheckpointError, match="'main' of 'nowhere'"):
        provider.restore_config("nowhere")
    with pytest.raises(ValueError, match="max_keep"):
        provider.prune("somewhere", -1)


@pytest.mark.parametrize(("remedied", "is_marked"), [(False, True), (True, True), (True, False)])
def test_a_crew_with_memory_is_checkpointed_with_the_remedy_only(
    provider: SwarmStateCheckpointProvider,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    remedied: bool,
    is_marked: bool,
) -> None:
    if not is_marked:
        # CrewAI 1.14.7 does not mark its internal flows.
        for flow in (EncodingFlow, RecallFlow):
            monkeypatch.delattr(flow, "is_crewai_internal", raising=False)
    monkeypatch.setattr(unified_memory, "_default_embedder", lambda: embed)
    install(tmp_path / "memory.db", checkpoint_memory=remedied, checkpoint_locked=True)
    config = CheckpointConfig(location="orders", provider=provider)
    make_crew(config, ScriptedLLM(model="scripted"), memory=True).kickoff()
    crewai_event_bus.flush()
    assert len(provider.checkpoints("orders")) == (2 if remedied else 0)


@dataclass
class Watcher:
    """The source of an event that is called when the event is written as JSON."""

    asked: Callable[[], object]

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        return core_schema.is_instance_schema(
            cls, serialization=core_schema.plain_serializer_function_ser_schema(_ask)
        )


def _ask(watcher: Watcher) -> None:
    watcher.asked()


class WatchedEvent(BaseEvent):
    type: str = "watched"
    watcher: Watcher


@pytest.mark.parametrize("dump", ["model_dump", "model_dump_json"])
@pytest.mark.parametrize("remedied", [False, True])
def test_the_record_of_events_is_written_under_its_lock_with_the_remedy_only(
    tmp_path: Path, dump: str, remedied: bool
) -> None:
    install(tmp_path / "a.db", default=False, checkpoint_locked=remedied)
    state = RuntimeState(root=[])
    readers = []
    state.event_record.add(
        WatchedEvent(watcher=Watcher(lambda: readers.append(state.event_record._lock._readers)))
    )
    getattr(state, dump)()
    assert readers == [int(remedied)]
    assert state.event_record._lock._readers == 0


def test_what_changes_while_it_is_written_is_an_error_and_no_panic(tmp_path: Path) -> None:
    install(tmp_path / "a.db", default=False, checkpoint_locked=True)
    state = RuntimeState(root=[])
    record = state.event_record
    for _ in range(2):
        record.add(WatchedEvent(watcher=Watcher(lambda: record.nodes.clear())))
    with pytest.raises(RuntimeError, match="changed while it was being written"):
        state.model_dump(mode="json")


def test_the_remedies_are_taken_back(tmp_path: Path) -> None:
    patched = (CrewAIEventsBus.register_entity, EventRecord.model_dump, RuntimeState.model_dump)
    install(tmp_path / "a.db", checkpoint_memory=True, checkpoint_locked=True)
    assert EventRecord.model_dump is not patched[1]
    install(tmp_path / "a.db")
    assert patched == (
        CrewAIEventsBus.register_entity,
        EventRecord.model_dump,
        RuntimeState.model_dump,
    )

"""Methods that a profile replaces still work, and it reports those that it cannot replace."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import swarmstate
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from langgraph.pregel import Pregel, _runner
from swarmstate import Store
from swarmstate.observability import Summary

from tests.profiling.graphs import built, by_name, call, nap


def test_what_others_replace_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    # Restored at the end, whatever happens.
    monkeypatch.setattr(Pregel, "invoke", original := Pregel.invoke)
    with swarmstate.profile():
        ours: Any = Pregel.invoke
        assert ours is not original

        def theirs(*args: Any, **options: Any) -> Any:
            return ours(*args, **options)

        setattr(Pregel, "invoke", theirs)  # noqa: B010  # mypy takes no assignment to a method
    found: Any = Pregel.invoke
    assert found is theirs


def test_a_saver_may_get_another_store_and_serializer_in_a_profile() -> None:
    class Counting(JsonPlusSerializer):
        count = 0

        def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
            self.count += 1
            return super().dumps_typed(obj)

    first, second, serde = Store(), Store(), Counting()
    saver = SwarmStateSaver(first)
    graph = built(saver, one=nap)
    with swarmstate.profile() as profile:
        call(graph, False)
        before = first.keys("langgraph:1")
        saver.store = second
        call(graph, False)
        assert second.namespaces("langgraph:") == ["langgraph:1"]
        assert first.keys("langgraph:1") == before
        saver.serde = serde
        call(graph, False)
    assert serde.count > 0
    assert profile.runs == 3


def test_a_saver_that_is_asked_outside_of_runs_answers_as_ever() -> None:
    saver = SwarmStateSaver()
    graph = built(saver, one=lambda state: {})
    for number in range(3):
        call(graph, False, str(number))

    async def ask() -> list[Any]:
        thread: Any = {"configurable": {"thread_id": "1"}}
        return [
            saver.get_tuple(config=thread),
            await saver.aget_tuple(config=thread),
            list(saver.list(config=None, limit=4)),
            [each async for each in saver.alist(config=None, limit=4)],
            list(saver.history(config=thread)),
            [each async for each in saver.ahistory(config=thread)],
        ]

    with swarmstate.profile() as profile:
        found = asyncio.run(ask())
    assert found == asyncio.run(ask())
    assert len(found[2]) == 4
    assert profile.runs == 0


def test_a_measured_saver_is_profiled_and_goes_on_being_measured() -> None:
    def counted(profiled: bool) -> dict[tuple[str, str], tuple[int, int]]:
        summary = Summary()
        graph = built(SwarmStateSaver(metrics=summary), one=lambda state: {})
        if profiled:
            with swarmstate.profile() as profile:
                call(graph, False)
            assert by_name(profile)["encode"].calls >= 3
        else:
            call(graph, False)
        return {key: (each.calls, each.round_trips) for key, each in summary.stats().items()}

    assert counted(profiled=True) == counted(profiled=False)


def test_states_are_the_same_with_and_without(tmp_path: Path) -> None:
    saver = SwarmStateSaver(tmp_path / "agents.db")
    graph = built(saver, one=lambda state: {"messages": [("ai", "x" * 5000)]})
    for _ in range(3):
        call(graph, False, "plain")
        with swarmstate.profile():
            call(graph, False, "profiled")
        with swarmstate.profile():
            call(graph, True, "profiled")
        call(graph, True, "plain")

    def said(thread: str) -> list[list[str]]:
        history = graph.get_state_history({"configurable": {"thread_id": thread}})
        return [[each.content for each in state.values["messages"]] for state in history if state]

    assert said("plain") == said("profiled")
    assert saver.stats("plain").checkpoints == saver.stats("profiled").checkpoints
    saver.close()


@pytest.mark.parametrize(
    ("missing", "advice"),
    [
        ("langgraph.checkpoint", "pip install langgraph-checkpoint-swarmstate"),
        ("langgraph.pregel", "pip install langgraph"),
    ],
)
def test_what_is_missing_is_named(missing: str, advice: str) -> None:
    script = (
        f"import sys; sys.modules['{missing}'] = None\n"
        "import swarmstate\n"
        "try:\n"
        "    with swarmstate.profile(): pass\n"
        "except ModuleNotFoundError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.rstrip().endswith(f"run: {advice}")


def test_another_langgraph_is_refused_and_nothing_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patched:
        patched.delattr(_runner, "run_with_retry")
        with pytest.raises(RuntimeError, match="run_with_retry in the installed LangGraph"):
            swarmstate.profile().__enter__()

"""Real graphs run, pause, fail, fork and resume as LangGraph documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.swarmstate.testing import graphs
from langgraph.checkpoint.swarmstate.testing._base import ContractBase
from langgraph.checkpoint.swarmstate.testing._driver import Driver
from langgraph.checkpoint.swarmstate.testing.checkpoints import at, thread_of
from langgraph.types import Command

__all__ = ["GraphRunsContract"]

DURABILITIES = ["sync", "async", "exit"]


def _say(turn: int) -> dict[str, Any]:
    return {"messages": [HumanMessage(f"question {turn}", id=f"h{turn}")]}


class GraphRunsContract(ContractBase):
    """Graphs compiled with the saver behave as with any correct saver."""

    @pytest.mark.parametrize("durability", DURABILITIES)
    def test_an_agent_remembers_every_turn(
        self, driver: Driver, second: Driver, durability: str
    ) -> None:
        by_hand: list[Any] = []
        plain = graphs.agent(None)
        kept, reopened = graphs.agent(driver.saver), graphs.agent(second.saver)
        for turn in range(4):
            by_hand = plain.invoke({"messages": [*by_hand, *_say(turn)["messages"]]})["messages"]
            graph = reopened if turn % 2 else kept
            found = driver.invoke(graph, _say(turn), at(), durability=durability)
            assert found["messages"] == by_hand
        for graph in (kept, reopened):
            state = driver.state(graph, at())
            assert state.values["messages"] == by_hand
            assert state.next == ()
        count = len(driver.list(at("t", None)))
        assert count == (4 if durability == "exit" else 4 * 7)

    def test_each_step_of_the_history_stays_readable(self, driver: Driver) -> None:
        graph = graphs.agent(driver.saver)
        seen: Sequence[Any] = []
        for turn in range(3):
            driver.invoke(graph, _say(turn), at(), durability="sync")
            seen = driver.history(graph, at())
        assert [state.metadata["step"] for state in seen] == list(range(19, -2, -1))
        for newer, older in zip(seen, [*seen[1:], None], strict=True):
            assert newer.parent_config == (older and older.config)
            assert driver.state(graph, newer.config) == newer
            if older is not None and "messages" in older.values:
                messages = newer.values["messages"]
                assert messages[: len(older.values["messages"])] == older.values["messages"]

    def test_forks_by_update_state_keep_apart(self, driver: Driver, second: Driver) -> None:
        graph = graphs.agent(driver.saver)
        driver.invoke(graph, _say(0), at())
        original = driver.state(graph, at())
        base = next(s for s in driver.history(graph, at()) if s.next == ("tools",))
        ends = []
        for n in range(3):
            message = base.values["messages"][-1].model_copy(deep=True)
            message.tool_calls[0]["args"]["query"] = f"fork {n}"
            config = driver.update(graph, base.config, {"messages": [message]})
            ends.append(driver.invoke(graph, None, config)["messages"])
            if n == 1:  # a fork of the fork
                state = driver.state(graph, at())
                config = driver.update(graph, state.config, {"messages": _say(9)["messages"]})
                assert (
                    len(
                        driver.state(second_graph := graphs.agent(second.saver), config).values[
                            "messages"
                        ]
                    )
                    == len(state.values["messages"]) + 1
                )
                assert driver.state(second_graph, state.config) == state
        texts = [[m.content for m in end if m.type == "tool"] for end in ends]
        assert [text[-1].split(" found")[0].strip() for text in texts] == [
            f"found fork {n}" for n in range(3)
        ]
        assert driver.state(graph, original.config).values == original.values

    @pytest.mark.parametrize("durability", DURABILITIES)
    def test_a_cached_node_does_not_run_again(self, driver: Driver, durability: str) -> None:
        calls: list[str] = []
        graph = graphs.cached_counter(driver.saver, calls)
        for thread in ("one", "two"):
            found = driver.invoke(graph, {"n": 1}, at(thread), durability=durability)
            assert found == {"n": 3, "log": ["cached", "after"]}
            assert driver.state(graph, at(thread)).values == found
        assert calls == ["cached 2", "after 3", "after 3"]

    def test_replay_from_an_earlier_checkpoint(self, driver: Driver) -> None:
        calls: list[str] = []
        graph = graphs.counter(driver.saver, 4, calls)
        driver.invoke(graph, {"n": 0}, at())
        middle = next(s for s in driver.history(graph, at()) if s.values.get("n") == 2)
        calls.clear()
        assert driver.invoke(graph, None, middle.config)["n"] == 4
        assert calls == ["count 3", "count 4"]
        assert driver.state(graph, middle.config).values == middle.values

    @pytest.mark.parametrize("durability", DURABILITIES)
    def test_parallel_sends_are_joined_in_order(self, driver: Driver, durability: str) -> None:
        calls: list[str] = []
        graph = graphs.fan_out(driver.saver, calls)
        found = driver.invoke(graph, {"items": list(range(12))}, at(), durability=durability)
        assert found["results"] == [f"{n}: done" for n in range(12)]
        assert driver.state(graph, at()).values == found
        assert sorted(calls) == sorted(["plan", *(f"work {n}" for n in range(12)), "join"])

    @pytest.mark.parametrize("durability", DURABILITIES)
    def test_a_resumed_thread_does_not_repeat_finished_tasks(
        self, driver: Driver, second: Driver, durability: str
    ) -> None:
        calls: list[str] = []
        asks = frozenset({1, 3})
        graph = graphs.fan_out(driver.saver, calls, asks=asks)
        driver.invoke(graph, {"items": [0, 1, 2, 3]}, at(), durability=durability)
        assert sorted(calls) == ["plan", "work 0", "work 2"]
        paused = driver.state(graph, at())
        questions = {entry.value["about"]: entry.id for entry in paused.interrupts}
        assert set(questions) == asks
        calls.clear()
        graph = graphs.fan_out(second.saver, calls, asks=asks)
        assert driver.state(graph, at()).interrupts == paused.interrupts
        some: Command[Any] = Command(resume={questions[3]: "three"})
        driver.invoke(graph, some, at(), durability=durability)
        assert calls == ["work 3"]
        driver.invoke(graph, Command(resume="one"), at(), durability=durability)
        assert calls == ["work 3", "work 1", "join"]
        assert driver.state(graph, at()).values["answer"] == "0: done, 1: one, 2: done, 3: three"

    def test_a_failed_task_runs_again_alone(self, driver: Driver, second: Driver) -> None:
        calls: list[str] = []
        fails = {2}
        graph = graphs.fan_out(driver.saver, calls, fails=fails)
        with pytest.raises(ValueError, match="item 2 fails"):
            driver.invoke(graph, {"items": [0, 1, 2, 3]}, at(), durability="sync")
        writes = driver.load(at()).pending_writes
        assert writes is not None
        done = {value[0] for _, channel, value in writes if channel == "results"}
        fails.clear()
        calls.clear()
        found = driver.invoke(graphs.fan_out(second.saver, calls), None, at())
        assert found["answer"] == "0: done, 1: done, 2: done, 3: done"
        assert calls.count("work 2") == 1
        assert not done & {f"{call.removeprefix('work ')}: done" for call in calls}

    def test_questions_in_turn_are_answered_in_turn(self, driver: Driver, second: Driver) -> None:
        calls: list[str] = []
        graph = graphs.approval(driver.saver, calls)
        driver.invoke(graph, {"n": 1}, at())
        assert driver.state(graph, at()).interrupts[0].value == {"ask": "first", "n": 1}
        graph = graphs.approval(second.saver, calls)
        driver.invoke(graph, Command(resume="yes"), at())
        assert driver.state(graph, at()).interrupts[0].value == "second, after yes"
        graph = graphs.approval(driver.saver, calls)
        assert driver.invoke(graph, Command(resume="no"), at())["log"] == ["yes and no"]
        assert calls == ["asked"]

    def test_interrupts_before_a_node(self, driver: Driver) -> None:
        calls: list[str] = []
        graph = graphs.agent(driver.saver, calls)
        graph.interrupt_before_nodes = ["tools"]
        driver.invoke(graph, _say(0), at())
        assert driver.state(graph, at()).next == ("tools",)
        driver.update(graph, at(), {"messages": [HumanMessage("aside", id="x")]})
        assert [m.id for m in driver.state(graph, at()).values["messages"]] == [
            "h0",
            "ai-1.0",
            "x",
        ]

    @pytest.mark.parametrize("own", [None, True], ids=["inherits", "own"])
    def test_subgraphs(self, driver: Driver, second: Driver, own: bool | None) -> None:
        calls: list[str] = []
        graph = graphs.nested(driver.saver, calls, own=own)
        for turn in range(2):
            driver.invoke(graph, {"n": turn}, at(), durability="sync")
        found = driver.state(graphs.nested(second.saver, calls, own=own), at()).values
        last_call = ["first 2", "second unasked"]
        both_calls = ["first 1", "second unasked", *last_call]
        assert found["log"] == ["aside", "aside"]
        assert found["trace"] == (both_calls if own else last_call)
        spaces = {thread_of(item.config)[1] for item in driver.list(at("t", None))}
        if own:
            assert spaces == {"", "inner"}
            kept = driver.load(at("t", "inner")).checkpoint["channel_values"]
            assert kept["trace"] == both_calls
        else:
            assert len(spaces) == 3, "each call has a namespace of its own"
            assert {ns.split(":")[0] for ns in spaces} == {"", "inner"}

    @pytest.mark.parametrize("durability", DURABILITIES)
    @pytest.mark.parametrize("own", [None, True], ids=["inherits", "own"])
    def test_a_paused_subgraph_resumes_inside(
        self, driver: Driver, second: Driver, own: bool | None, durability: str
    ) -> None:
        calls: list[str] = []
        graph = graphs.nested(driver.saver, calls, own=own, asks=True)
        driver.invoke(graph, {"n": 0}, at(), durability=durability)
        assert sorted(calls) == ["aside", "before", "first"]
        graph = graphs.nested(second.saver, calls, own=own, asks=True)
        paused = driver.state(graph, at(), subgraphs=True)
        inner = next(task.state for task in paused.tasks if task.name == "inner")
        assert inner.values["trace"] == ["first 1"]
        assert inner.next == ("second",)
        assert driver.state(graph, inner.config).values == inner.values
        calls.clear()
        driver.invoke(graph, Command(resume="yes"), at(), durability=durability)
        assert calls == ["second"]
        values = driver.state(graph, at()).values
        assert values == {"n": 1, "log": ["aside"], "trace": ["first 1", "second yes"]}

    @pytest.mark.parametrize("size", [1, 20_000])
    @pytest.mark.parametrize("durability", DURABILITIES)
    def test_fields_that_a_graph_does_not_have_stay(
        self, driver: Driver, second: Driver, durability: str, size: int
    ) -> None:
        # This happens while two releases of an agent serve the same threads.
        newer = graphs.noting(driver.saver, "log", "plan")
        older = graphs.noting(second.saver, "log")
        plan = ["p" * size, "plan 1"]
        driver.invoke(newer, {"log": [], "plan": plan[:1]}, at(), durability=durability)
        for _ in range(2):
            driver.invoke(older, {"log": ["older"]}, at(), durability=durability)
        driver.update(older, at(), {"log": ["update"]})
        fork = driver.history(older, at())[1].config
        driver.update(older, fork, {"log": ["fork"]})
        for reader in (driver.saver, second.saver):
            states = driver.history(graphs.noting(reader, "log", "plan"), at())
            assert states[0].values["log"] == ["fork"]
            assert all(state.values["plan"] == plan for state in states[:4])
        driver.invoke(newer, {"log": []}, at(), durability=durability)
        driver.invoke(older, {"log": []}, at(), durability=durability)
        assert driver.state(newer, at()).values["plan"] == [*plan, "plan 2"]

    def test_fields_that_a_graph_does_not_have_outlive_where_they_came_from(
        self, driver: Driver
    ) -> None:
        self.require("prune")
        newer = graphs.noting(driver.saver, "log", "plan")
        older = graphs.noting(driver.saver, "log")
        driver.invoke(newer, {"log": [], "plan": ["p" * 20_000]}, at())
        for _ in range(3):
            driver.invoke(older, {"log": []}, at())
            driver.prune(["t"])
        assert driver.state(newer, at()).values["plan"] == ["p" * 20_000, "plan 1"]

    def test_fields_that_a_graph_empties_stay_empty(self, driver: Driver) -> None:
        graph = graphs.once(driver.saver)
        for turn in range(2):
            driver.invoke(graph, {"log": [], "once": f"said in {turn}"}, at())
            assert driver.state(graph, at()).values["log"][-3:] == [f"said in {turn}", "", ""]
        graph = graphs.noting(driver.saver, "log")
        driver.invoke(graph, {"log": []}, at())
        assert "once" not in driver.load(at()).checkpoint["channel_values"]

    def test_threads_of_one_saver_keep_apart(self, driver: Driver) -> None:
        graph = graphs.counter(driver.saver)
        for _ in range(3):
            for n in range(4):
                driver.invoke(graph, {"n": 10 * n}, at(f"t{n}"), durability="async")
                assert driver.state(graph, at(f"t{n}")).values["log"][0] == f"count {10 * n + 1}"
        logs = [driver.state(graph, at(f"t{n}")).values["log"] for n in range(4)]
        assert all(len(log) == len(set(log)) * 3 for log in logs)

    def test_a_deleted_thread_runs_from_the_start(self, driver: Driver) -> None:
        graph = graphs.agent(driver.saver)
        driver.invoke(graph, _say(0), at())
        driver.delete_thread("t")
        assert driver.state(graph, at()).values == {}
        driver.invoke(graph, _say(5), at())
        assert driver.state(graph, at()).values["messages"][0].id == "h5"

    def test_a_copied_thread_goes_on_from_where_it_was(self, driver: Driver) -> None:
        self.require("copy_thread")
        calls: list[str] = []
        graph = graphs.nested(driver.saver, calls, asks=True)
        driver.invoke(graph, {"n": 0}, at())
        driver.copy_thread("t", "copy")
        driver.delete_thread("t")
        calls.clear()
        driver.invoke(graph, Command(resume="copied"), at("copy"))
        assert calls == ["second"]
        assert driver.state(graph, at("copy")).values["trace"] == ["first 1", "second copied"]
        assert driver.list(at("t", None)) == []

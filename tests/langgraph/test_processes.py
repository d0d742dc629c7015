"""Several processes write to one file concurrently."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from langgraph.checkpoint.swarmstate import SwarmStateSaver
from langgraph.checkpoint.swarmstate.testing import graphs
from langgraph.checkpoint.swarmstate.testing.checkpoints import at, make_checkpoint, make_metadata

from tests.langgraph.helpers import crash

if TYPE_CHECKING:
    from pathlib import Path

PROCESSES = 4
PUTS = 40


class Done(NamedTuple):
    """The puts of a process: configs with the values they must hold."""

    shared: list[tuple[Any, dict[str, Any]]]
    own: list[tuple[Any, dict[str, Any]]]
    answer: list[Any]


def work(path: Path, number: int, meeting: Any, barrier: Any, connection: crash.Connection) -> None:
    """Put checkpoints into a shared thread and an own one, and run an agent."""
    barrier.wait()
    saver = SwarmStateSaver(path)
    done = Done([], [], [])
    for n in range(PUTS):
        values = {"process": number, "n": n, "log": [f"{number}.{i}" for i in range(n)]}
        for thread, stored in (("shared", done.shared), (f"own {number}", done.own)):
            checkpoint = make_checkpoint(values)
            config = saver.put(
                at(thread), checkpoint, make_metadata(n, run_id=f"r{number}"), {"log": 1, "n": 1}
            )
            saver.put_writes(config, [("n", n), ("log", [number])], f"task {number}")
            stored.append((config, values))
        saver.put_writes(meeting, [("n", n)], f"task {number}.{n:03}")
    graph = graphs.agent(saver)
    for turn in range(3):
        found = graph.invoke(crash.question(turn), at(f"agent {number}"), durability="sync")
    done.answer.extend(found["messages"])
    saver.close()
    connection.send(done)
    connection.close()


def test_four_processes_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "agents.db"
    checkpoint = make_checkpoint({"n": 0})
    meeting = at("meeting", "", checkpoint["id"])
    reports: list[Done] = crash.compete(PROCESSES, work, path, meeting)

    saver = SwarmStateSaver(path)
    saver.put(at("meeting"), checkpoint, make_metadata(), {"n": 1})
    found = saver.get_tuple(meeting)
    assert found is not None
    assert found.pending_writes == [
        (f"task {number}.{n:03}", "n", n) for number in range(PROCESSES) for n in range(PUTS)
    ]
    for number, done in enumerate(reports):
        for config, values in done.shared + done.own:
            item = saver.get_tuple(config)
            assert item is not None
            assert item.checkpoint["channel_values"] == values
            task = f"task {number}"
            assert item.pending_writes == [(task, "n", values["n"]), (task, "log", [number])]
        state = graphs.agent(saver).get_state(at(f"agent {number}"))
        assert state.values["messages"] == done.answer
        assert len(list(saver.list(at(f"own {number}")))) == PUTS
    shared = [item.checkpoint["id"] for item in saver.list(at("shared"))]
    assert len(shared) == PROCESSES * PUTS
    assert shared == sorted(shared, reverse=True)
    saver.delete_for_runs(["r0"])
    assert len(list(saver.list(at("shared")))) == (PROCESSES - 1) * PUTS
    saver.close()


def follow(path: Path, turns: int, connection: crash.Connection) -> None:
    """Wait for each put of the other process, and answer it with the next."""
    saver = SwarmStateSaver(path)
    for turn in range(1, turns, 2):
        connection.send(_await_turn(saver, turn - 1))
        saver.put(at(), make_checkpoint({"turn": turn}), make_metadata(turn), {"turn": 1})
    saver.close()
    connection.close()


def _await_turn(saver: SwarmStateSaver, turn: int) -> int:
    """Read until the newest checkpoint is of `turn`; return how many reads saw another one."""
    misses = 0
    while True:
        found = saver.get_tuple(at())
        if found is not None and found.checkpoint["channel_values"]["turn"] == turn:
            return misses
        misses += 1


def test_processes_see_each_others_newest(tmp_path: Path) -> None:
    path = tmp_path / "agents.db"
    saver = SwarmStateSaver(path)
    turns = 20
    reader, writer = crash.context.Pipe(duplex=False)
    process = crash.context.Process(target=follow, args=(path, turns, writer))
    process.start()
    writer.close()
    for turn in range(0, turns, 2):
        saver.put(at(), make_checkpoint({"turn": turn}), make_metadata(turn), {"turn": 1})
        reader.recv()
        _await_turn(saver, turn + 1)
    process.join()
    reader.close()
    assert process.exitcode == 0
    assert len(list(saver.list(at()))) == turns
    saver.close()

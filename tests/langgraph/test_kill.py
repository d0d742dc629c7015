"""A process killed at any moment loses nothing that was acknowledged."""

from __future__ import annotations

import random
import signal
from typing import TYPE_CHECKING

import pytest

from tests.langgraph.helpers import crash

if TYPE_CHECKING:
    from pathlib import Path

KILLS_PER_CASE = 9


@pytest.mark.parametrize(
    ("seed", "durability", "asynchronous"),
    [
        (1, "sync", False),
        (2, "sync", True),
        (3, "async", False),
        (4, "async", True),
        (5, "sync", False),
        (6, "async", True),
    ],
)
def test_killed_at_random_moments(
    tmp_path: Path, seed: int, durability: str, asynchronous: bool
) -> None:
    chance = random.Random(seed)
    turns = 6
    said = crash.expected_messages(turns)
    task = crash.Work(tmp_path / "agents.db", durability, asynchronous, turns)
    acknowledged: list[crash.Acknowledged] = []
    stored = 0
    for kill in range(KILLS_PER_CASE):
        calls, moment = chance.randrange(1, 30), chance.uniform(0, 0.004)
        print(f"seed {seed}, kill {kill}: after {calls} calls and {moment * 1000:.2f} ms")
        received = _run_until(task, calls, moment)
        acknowledged += received
        now = crash.survey(task.path, acknowledged, said)
        assert now >= stored
        stored = now
    acknowledged += _run_to_the_end(task)
    crash.survey(task.path, acknowledged, said)
    assert crash.final_messages(task.path) == said


def _run_until(task: crash.Work, calls: int, moment: float) -> list[crash.Acknowledged]:
    """Kill a process `moment` seconds after a number of calls; return what it acknowledged."""
    reader, writer = crash.context.Pipe(duplex=False)
    process = crash.context.Process(target=crash.work, args=(task, writer))
    process.start()
    writer.close()
    received = [reader.recv() for _ in range(calls)]
    if reader.poll(moment):
        received.append(reader.recv())
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    return received + _drained(reader)


def _run_to_the_end(task: crash.Work) -> list[crash.Acknowledged]:
    reader, writer = crash.context.Pipe(duplex=False)
    process = crash.context.Process(target=crash.work, args=(task, writer))
    process.start()
    writer.close()
    received = _drained(reader)
    process.join()
    assert process.exitcode == 0
    return received


def _drained(reader: crash.Connection) -> list[crash.Acknowledged]:
    received = []
    with reader:
        while True:
            try:
                received.append(reader.recv())
            except (EOFError, OSError):  # a truncated report was never acknowledged
                return received

"""Put and get_tuple of a small state, through the saver's own interface."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from langgraph.checkpoint.base import Checkpoint, CheckpointMetadata
from langgraph.checkpoint.base.id import uuid6

from benchmarks.contenders import CONTENDERS, OURS
from benchmarks.opened import Saver
from benchmarks.report import Table, ratio, seconds
from benchmarks.rounds import Rounds, WrongResultError, at
from benchmarks.text import text

CONTENDER_NAMES = (
    "in-memory",
    "peer",
    "peer-incremental",
    "ours",
    "sqlite",
    "ours-file",
    "sqlite-normal",
    "peer-disk",
    "ours-file-normal",
)
PARAMETERS = {"steps": 300}


def states(thread: str, steps: int) -> Iterator[list[dict[str, Any]]]:
    """Yield the last 20 messages of a conversation after each step."""
    messages = [
        {
            "role": ("user", "assistant")[number % 2],
            "content": text(f"{thread}/{number}", 160),
            "id": f"message-{number}",
            "tokens": 40 + number % 7,
        }
        for number in range(steps + 20)
    ]
    for step in range(steps):
        yield messages[step : step + 20]


class Timings:
    """Puts and gets a chain of checkpoints on one thread, and checks each.

    Attributes:
        put: Seconds of each put.
        get: Seconds of each get_tuple of the latest checkpoint.
        get_by_id: Seconds of each get_tuple, by id, of the checkpoint before the latest.
    """

    def __init__(self) -> None:
        self.put: list[float] = []
        self.get: list[float] = []
        self.get_by_id: list[float] = []

    def run(self, saver: Saver, thread: str, steps: int) -> None:
        """Put `steps` checkpoints, each the child of the last, and read them."""
        config: Any = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
        latest = dict(config)
        version: Any = None
        previous: tuple[Any, list[dict[str, Any]], str | None] | None = None
        for step, messages in enumerate(states(thread, steps)):
            version = saver.get_next_version(version, None)
            checkpoint: Checkpoint = {
                "v": 4,
                "id": str(uuid6()),
                "ts": "2026-01-01T00:00:00+00:00",
                "channel_values": {"messages": messages},
                "channel_versions": {"messages": version},
                "versions_seen": {"agent": {"messages": version}},
                "updated_channels": ["messages"],
            }
            metadata: CheckpointMetadata = {"source": "loop", "step": step, "parents": {}}
            started = perf_counter()
            config = saver.put(config, checkpoint, metadata, {"messages": version})
            self.put.append(perf_counter() - started)
            parent = previous[0]["configurable"]["checkpoint_id"] if previous else None
            self.get.append(_timed_get(saver, latest, config, messages, parent))
            if previous is not None:
                self.get_by_id.append(_timed_get(saver, previous[0], *previous))
            previous = (config, messages, parent)


def _timed_get(
    saver: Saver, asked: Any, expected: Any, messages: list[dict[str, Any]], parent: str | None
) -> float:
    started = perf_counter()
    found = saver.get_tuple(asked)
    elapsed = perf_counter() - started
    wanted = expected["configurable"]["checkpoint_id"]
    if (
        found is None
        or found.checkpoint["id"] != wanted
        or found.checkpoint["channel_values"] != {"messages": messages}
        or (found.parent_config or {"configurable": {}})["configurable"].get("checkpoint_id")
        != parent
    ):
        raise WrongResultError(f"expected checkpoint {wanted} as it was put, found {found}")
    return elapsed


def measure(contender: str, folder: Path, *, steps: int) -> dict[str, Any]:
    """Return the median seconds of each operation."""
    timings = Timings()
    with CONTENDERS[contender].open(folder) as opened:
        assert opened.saver is not None
        timings.run(opened.saver, "warm-up", max(2, steps // 10))
        timings = Timings()
        timings.run(opened.saver, "measured", steps)
        stored = opened.stored_bytes()
    return {
        "put": median(timings.put),
        "get": median(timings.get),
        "get_by_id": median(timings.get_by_id),
        "stored_bytes": stored,
    }


def tables(rounds: Rounds, parameters: dict[str, Any]) -> list[Table]:
    """Return the results, each contender divided by our contender with the same `keeps`."""
    table = Table(
        f"One thread, {parameters['steps']} checkpoints of 20 messages (dicts)",
        ["saver", "keeps", "put", "÷ ours", "get latest", "÷ ours", "get by id", "÷ ours"],
    )
    for name in rounds.results:
        contender = CONTENDERS[name]
        row = [contender.label, contender.keeps]
        for operation in ("put", "get", "get_by_id"):
            figure = at(operation)
            row.append(seconds(rounds.median(name, figure)))
            row.append(ratio(rounds.ratio(name, OURS[contender.keeps], figure)))
        table.add(*row)
    return [table]

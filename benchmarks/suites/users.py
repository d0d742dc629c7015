"""Many concurrent users, each with a conversation, served by one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from benchmarks.contenders import CONTENDERS, OURS
from benchmarks.opened import Opened
from benchmarks.report import Table, ratio
from benchmarks.rounds import Rounds, WrongResultError, at
from benchmarks.scenarios import SCENARIOS
from benchmarks.suites.acceleration import accelerated
from benchmarks.suites.growth import digest

CONTENDER_NAMES = (
    "none",
    "zero-cost",
    "in-memory",
    "ours",
    "sqlite",
    "ours-file",
    "postgres",
    "ours-postgres",
    "peer-redis",
    "ours-redis",
    "ours+collector",
    "ours-file+collector",
    "ours+",
    "ours-file+",
)
PARAMETERS = {"users": 100, "turns": 10}


def measure(contender: str, folder: Path, *, users: int, turns: int) -> dict[str, Any]:
    """Return how many turns a second all users complete together.

    Args:
        contender: Its name. `+` and the name of a patch accelerate it by that patch, `+` alone
            by all patches.
        folder: Where it may write.
        users: The number of users.
        turns: The number of turns of each user.
    """
    name, plus, patch = contender.partition("+")
    with accelerated(*([patch] if patch else [])) if plus else nullcontext():
        return asyncio.run(_measure(name, folder, users, turns))


async def _measure(contender: str, folder: Path, users: int, turns: int) -> dict[str, Any]:
    script = SCENARIOS["chat"]
    async with _opened(contender, folder) as opened:
        graph = script.build(delta=False).compile(checkpointer=opened.saver)

        async def talk(user: str, turns: int) -> dict[str, Any]:
            state: dict[str, Any] = {}
            config: Any = {"configurable": {"thread_id": user}}
            for turn in range(turns):
                given = (
                    script.given_with(state, turn) if opened.saver is None else script.given(turn)
                )
                state = {}  # Release it, as a server does once it has answered.
                state = await graph.ainvoke(given, config)
            return state

        await asyncio.gather(*(talk(f"warm-up-{user}", 1) for user in range(min(users, 20))))
        started, cpu_started = perf_counter(), process_time()
        states = await asyncio.gather(*(talk(f"user-{user}", turns) for user in range(users)))
        elapsed, cpu = perf_counter() - started, process_time() - cpu_started
        # All users say the same, so all threads must end with the same state.
        digests = {digest(state) for state in states}
        if opened.saver is not None:
            for user in range(users):
                config: Any = {"configurable": {"thread_id": f"user-{user}"}}
                digests.add(digest((await graph.aget_state(config)).values))
        if len(digests) != 1:
            raise WrongResultError("expected every thread to hold the same conversation")
        return {
            "turns_a_second": users * turns / elapsed,
            "cpu": cpu,
            "final": digests.pop(),
        }


def _opened(contender: str, folder: Path) -> AbstractAsyncContextManager[Opened]:
    chosen = CONTENDERS[contender]
    if chosen.aopen is not None:
        return chosen.aopen(folder)

    @asynccontextmanager
    async def opened() -> AsyncIterator[Opened]:
        with chosen.open(folder) as found:
            yield found

    return opened()


def check(rounds: Rounds) -> None:
    """Check that all contenders ended with the same conversation.

    Raises:
        WrongResultError: Their conversations differ.
    """
    finals = {measured["final"] for results in rounds.results.values() for measured in results}
    if len(finals) > 1:
        raise WrongResultError("expected one conversation from all contenders, found several")


def tables(rounds: Rounds, parameters: dict[str, Any]) -> list[Table]:
    """Return the rates; ratios are our rate divided by theirs."""
    table = Table(
        f"{parameters['users']} users at once in one event loop, {parameters['turns']} turns each",
        ["saver", "keeps", "turns/s", "ours ÷ theirs", "÷ zero-cost", "CPU"],
    )
    rate = at("turns_a_second")
    for name in rounds.results:
        plain, plus, patch = name.partition("+")
        contender = CONTENDERS[plain]
        argument = f'"{patch}"' if patch else ""
        table.add(
            contender.label + (f", accelerate({argument})" if plus else ""),
            contender.keeps,
            f"{rounds.median(name, rate):.0f}",
            ratio(rounds.ratio(OURS.get(contender.keeps, ""), name, rate)),
            ratio(rounds.ratio(name, "zero-cost", rate)),
            f"{rounds.median(name, at('cpu')):.2f} s",
        )
    return [table]

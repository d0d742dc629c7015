"""Accelerated runs behave like stock ones: results, events, errors, and everything stored."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.swarmstate import SwarmStateSaver, accelerate, deaccelerate
from langgraph.checkpoint.swarmstate.testing import Driver, Mode

from tests.acceleration.recording import record
from tests.acceleration.runs import RUNS, Runner

SAVERS: dict[str, Callable[[Path], Any]] = {
    "nothing": lambda folder: None,
    "LangGraph's memory": lambda folder: InMemorySaver(),
    "memory": lambda folder: SwarmStateSaver(),
    "file": lambda folder: SwarmStateSaver(folder / "agents.db"),
}


@pytest.fixture(autouse=True)
def _undone() -> Iterator[None]:
    yield
    deaccelerate()


def noted(name: str, saver: Any, mode: Mode) -> list[Any]:
    driver = Driver(saver, mode)
    with closing(driver):
        run = Runner(driver, saver)
        graph = RUNS[name](run)
        if graph is not None:
            run.end(graph)
    if isinstance(saver, SwarmStateSaver):
        saver.close()
    return run.noted


def recorded(name: str, saver: Any, mode: Mode) -> str:
    return record(noted(name, saver, mode))


def errors(name: str, saver: Any, mode: Mode) -> list[str]:
    found = [each for event in noted(name, saver, mode) for each in event]
    return [repr(each) for each in found if isinstance(each, Exception)]


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("name", RUNS)
def test_what_fails_does_so_with_any_saver(name: str, mode: Mode) -> None:
    # Otherwise the comparisons below might see the same error twice.
    assert errors(name, SwarmStateSaver(), mode) == errors(name, InMemorySaver(), mode)


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("kept", SAVERS)
@pytest.mark.parametrize("name", RUNS)
def test_does_what_the_stock_one_does(name: str, kept: str, mode: Mode, tmp_path: Path) -> None:
    folders = [tmp_path / "stock", tmp_path / "accelerated"]
    for folder in folders:
        folder.mkdir()
    stock = recorded(name, SAVERS[kept](folders[0]), mode)
    with accelerate():
        accelerated = recorded(name, SAVERS[kept](folders[1]), mode)
    difference = difflib.unified_diff(
        stock.splitlines(), accelerated.splitlines(), "stock", "accelerated", lineterm="", n=4
    )
    assert stock == accelerated, "\n".join(difference)

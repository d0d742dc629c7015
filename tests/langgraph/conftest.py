"""A saver and a driver for it in both modes; a test module may define its own store or saver."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import swarmstate
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from langgraph.checkpoint.swarmstate.testing import Driver, Mode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from swarmstate.base import BaseStore


@pytest.fixture(params=["sync", "async"])
def mode(request: pytest.FixtureRequest) -> Mode:
    chosen: Mode = request.param
    return chosen


@pytest.fixture
def store() -> BaseStore:
    return swarmstate.Store()


@pytest.fixture
def saver(store: BaseStore) -> SwarmStateSaver:
    return SwarmStateSaver(store)


@pytest.fixture
def driver(saver: SwarmStateSaver, mode: Mode) -> Iterator[Driver]:
    driver = Driver(saver, mode)
    yield driver
    driver.close()

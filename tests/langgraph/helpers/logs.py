"""Long lists that are written to, and the writes to them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from langchain_core.messages import HumanMessage
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from langgraph.checkpoint.swarmstate.testing import Driver

if TYPE_CHECKING:
    from swarmstate.base import BaseStore

__all__ = ["both", "long_log", "rows", "text", "written"]


def text(seed: object, size: int = 900) -> str:
    return "".join(random.Random(str(seed)).choices("abcdefgh ", k=size))


def long_log(count: int = 40) -> list[Any]:
    return [HumanMessage(text(n), id=str(n)) for n in range(count)]


def rows(count: int = 60) -> dict[str, Any]:
    return {f"row {n}": {"title": text(n, 300), "tags": [n]} for n in range(count)}


def both(driver: Driver, store: BaseStore) -> tuple[Driver, Driver]:
    """Return the driver, and one whose saver has nothing in memory."""
    return driver, driver.over(SwarmStateSaver(store))


def written(driver: Driver, config: Any) -> list[tuple[str, Any]]:
    found = driver.load(config).pending_writes or []
    return [(channel, value) for _, channel, value in found]

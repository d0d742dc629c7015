"""Check after each test that a profile leaves nothing behind."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from langgraph.pregel import Pregel, _runner

REPLACED = {
    (owner, name): each
    for owner in (SwarmStateSaver, Pregel, _runner)
    for name, each in vars(owner).items()
    if callable(each)
}


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Any:
    yield
    assert {(owner, name): vars(owner)[name] for owner, name in REPLACED} == REPLACED

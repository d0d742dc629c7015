"""Saves memories from several threads, and searches and touches others meanwhile."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

from crewai.memory.types import MemoryRecord
from crewai_swarmstate import SwarmStateStorage

uri, name = sys.argv[1:]
storage = SwarmStateStorage(uri)


def work(thread: int) -> None:
    for number in range(10):
        identity = f"{name}-{thread}-{number}"
        storage.save([MemoryRecord(id=identity, content=identity, embedding=[1.0, thread, number])])
        [(found, _)] = storage.search([1.0, thread, number], metadata_filter={}, limit=1)
        assert found.embedding == [1.0, thread, number]
        storage.touch_records([identity, "shared"])


with ThreadPoolExecutor(8) as pool:
    list(pool.map(work, range(8)))

"""Many threads and processes on one memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from crewai.memory.types import MemoryRecord
from crewai_swarmstate import SwarmStateStorage

PROCESS = Path(__file__).parent / "helpers" / "memory_process.py"


def test_four_processes_of_eight_threads_lose_nothing(tmp_path: Path) -> None:
    uri = tmp_path / "memory.db"
    watching = SwarmStateStorage(uri)
    shared = MemoryRecord(id="shared", content="shared", embedding=[0.0, 0.0, 1.0])
    watching.save([shared])
    command = [sys.executable, str(PROCESS), str(uri)]
    processes = [subprocess.Popen([*command, f"p{number}"]) for number in range(4)]
    assert [process.wait() for process in processes] == [0, 0, 0, 0]

    expected = {f"p{p}-{t}-{n}" for p in range(4) for t in range(8) for n in range(10)}
    for storage in (watching, SwarmStateStorage(uri)):
        found = {each.id for each in storage.list_records(limit=1000)}
        assert found == expected | {"shared"}
    touched = watching.get_record("shared")
    assert touched is not None
    assert touched.last_accessed > shared.last_accessed
    assert touched.embedding == shared.embedding

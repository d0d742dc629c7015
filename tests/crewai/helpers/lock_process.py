"""Increments a counter in a file under a lock held in a store."""

from __future__ import annotations

import sys
from pathlib import Path

from crewai_swarmstate import lock_backend

uri, target, rounds = sys.argv[1:]
lock = lock_backend(uri)
path = Path(target)
for _ in range(int(rounds)):
    with lock("count", timeout=60):
        path.write_text(str(int(path.read_text()) + 1))

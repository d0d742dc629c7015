"""The background threads of stores."""

from __future__ import annotations

import threading


def sweepers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "sweeper" in thread.name]

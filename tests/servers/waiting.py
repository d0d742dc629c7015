"""Waiting for what a server, or a thread of a store, does in its own time."""

from __future__ import annotations

import time
from collections.abc import Callable

_SECONDS = 60.0


def wait_until(
    holds: Callable[[], bool], what: str, nudge: Callable[[], None] = lambda: None
) -> None:
    """Wait for something that is done in its own time, after a `nudge` each time.

    Raises:
        RuntimeError: It did not happen within a minute.
    """
    deadline = time.monotonic() + _SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise RuntimeError(f"expected that {what} within {_SECONDS:.0f} s")
        nudge()
        time.sleep(0.02)

"""Wait for what a server or a store's thread does asynchronously."""

from __future__ import annotations

import time
from collections.abc import Callable

_SECONDS = 60.0


def wait_until(
    holds: Callable[[], bool], what: str, nudge: Callable[[], None] = lambda: None
) -> None:
    """Wait until a condition holds; call `nudge` after each failed check.

    Raises:
        RuntimeError: It did not happen within a minute.
    """
    deadline = time.monotonic() + _SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise RuntimeError(f"expected that {what} within {_SECONDS:.0f} s")
        nudge()
        time.sleep(0.02)

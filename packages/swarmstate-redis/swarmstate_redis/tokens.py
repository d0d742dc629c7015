"""Tokens that tell a batch from every other one."""

from __future__ import annotations

import itertools
import os

_BYTES = 8


class Tokens:
    """An endless supply of tokens of 8 bytes, for any number of threads.

    They count on from a random start, anew in a process that was forked: to ask the
    system for each would take longer than all else that a batch needs.
    """

    def __init__(self) -> None:
        self._restart()

    def _restart(self) -> None:
        start = int.from_bytes(os.urandom(_BYTES), "big")
        self._source = os.getpid(), itertools.count(start)

    def next(self) -> bytes:
        """Return the next token."""
        process, numbers = self._source
        if process != os.getpid():
            self._restart()
            return self.next()
        number: int = next(numbers) % 256**_BYTES
        return number.to_bytes(_BYTES, "big")

"""Unique tokens for batches."""

from __future__ import annotations

import itertools
import os

_BYTES = 8


class Tokens:
    """An endless supply of 8-byte tokens, for any number of threads.

    Tokens count up from a random start, which a forked process chooses anew. Asking the
    system for each would take longer than everything else that a batch needs.
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

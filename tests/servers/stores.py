"""Stores of every kind, for tests of what is built on them."""

from __future__ import annotations

import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import swarmstate
from swarmstate.base import BaseStore

__all__ = ["KINDS", "Stores"]

KINDS = ("memory", "file", "redis", "postgres")
_EXPIRY_SECONDS = 30.0


class Stores:
    """Opens the same records in one kind of store any number of times.

    Args:
        kind: One of `KINDS`.
        folder: A folder for this test only; names on a server are derived from it.
        server_url: Returns the URL of the server, if the kind needs one.
    """

    def __init__(self, kind: str, folder: Path, server_url: Callable[[str], str]) -> None:
        name = sha256(str(folder).encode()).hexdigest()[:16]
        self.kind = kind
        self._opened: list[BaseStore] = []
        match kind:
            case "memory":
                self.url = ":memory:"
            case "file":
                self.url = f"disk://{folder / 'state.db'}"
            case "redis":
                self.url = f"{server_url(kind)}?prefix={name}"
            case _:
                self.url = f"{server_url(kind)}?schema=test_{name}"

    def open(self) -> BaseStore:
        """Return a store; the in-memory one is the same each time."""
        if self.kind == "memory":
            store = self._opened[0] if self._opened else swarmstate.Store()
        else:
            store = swarmstate.open(self.url)
        self._opened.append(store)
        return store

    def let_expire(self) -> None:
        """Return once everything stored has expired.

        Raises:
            RuntimeError: Something still exists after half a minute.
        """
        store = self.open()
        deadline = time.monotonic() + _EXPIRY_SECONDS
        while names := store.namespaces():
            if time.monotonic() > deadline:
                raise RuntimeError(f"expected everything to expire, found {names}")
            time.sleep(0.01)

    def close(self) -> None:
        """Close all stores."""
        for store in self._opened:
            store.close()

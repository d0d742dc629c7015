"""Temporary servers and the folders that they run in."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar


class Server(Protocol):
    """A server that can be started and stopped."""

    def start(self) -> None:
        """Start, and wait until it is ready."""

    def stop(self) -> None:
        """Stop gracefully."""


S = TypeVar("S", bound=Server)


@contextmanager
def running(server: S) -> Iterator[S]:
    """Run a server."""
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def new_folder(kind: str, parent: Path | None = None) -> Iterator[Path]:
    """Create a folder for servers of one kind, and remove it afterwards.

    pytest's own folder would not do: other accounts cannot enter it.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"swarmstate-{kind}-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)

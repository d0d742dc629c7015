"""Servers that run for a time, and the folders that they run in."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar


class Server(Protocol):
    """What can be started and stopped."""

    def start(self) -> None:
        """Start, and wait until it can be used."""

    def stop(self) -> None:
        """Stop in an orderly way."""


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
    """Make a folder for servers of a kind, and remove it afterwards.

    It is not pytest's: other accounts cannot enter that one.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"swarmstate-{kind}-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)

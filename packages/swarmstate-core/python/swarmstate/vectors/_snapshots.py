"""The file in which a process finds its index again; see `engine/src/vectors/snapshot`.

The file is derived from the records. Whoever loads it reads what the log of the
collection names since, or finds that the log has no more of what the file says was
last read: then the file is of no use, and is removed.
"""

from __future__ import annotations

from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from threading import Thread
from typing import Final

from swarmstate import _core
from swarmstate.vectors import _layout as layout

# Making an index of fewer records takes less time than anybody notices.
WORTHWHILE = 2000


def file_in(folder: Path, namespace: str) -> Path:
    """Return the file for a collection."""
    name = blake2b(namespace.encode(), digest_size=16).hexdigest()
    return folder / f"vectors-{name}.index"


class SnapshotFile:
    """The file of an index, which several processes share.

    Args:
        path: The file.
        namespace: The namespace of the collection.
        metric: Of the index that is made of it.
        approximate_above: Of the index that is made of it.

    Attributes:
        problem: Why the file was not used, or could not be removed, if so.
    """

    def __init__(
        self, path: Path, namespace: str, metric: str, approximate_above: int | None
    ) -> None:
        self.path: Final = path
        self.problem: str | None = None
        self._namespace = namespace
        self._arguments = metric, approximate_above
        self._saving: Thread | None = None

    def load(self) -> tuple[_core.VectorIndex, list[str]] | None:
        """Return the index and the last entries that it knows, None if it cannot be had."""
        loaded, self.problem = _core.VectorIndex.load(*self._arguments, self.path, self._namespace)
        if loaded is not None and not layout.are_tails(loaded[1]):
            # Or it might be taken for one that is ahead, and never be written anew.
            self.remove()
            self.problem = "it says that it has read what is no entry of a log"
            return None
        return loaded

    def save(self, index: _core.VectorIndex, cursors: list[str], *, wait: bool) -> None:
        """Write what is new in the index, which had read the log up to `cursors` before.

        Without waiting a thread does it, unless one is about it, and what goes wrong is
        in `index.saved`. A process that ends lets it finish, or none that is short would
        ever leave a file.

        Raises:
            OSError: The file cannot be written; only if this waits.
        """
        if wait:
            index.save(self.path, self._namespace, cursors)
        elif self._saving is None or not self._saving.is_alive():
            self._saving = Thread(
                target=self._try_to_save, args=(index, cursors), name="swarmstate-snapshot"
            )
            # Where the interpreter is about to end there are no new threads.
            with suppress(RuntimeError):
                self._saving.start()

    def _try_to_save(self, index: _core.VectorIndex, cursors: list[str]) -> None:
        # The index knows what went wrong.
        with suppress(OSError):
            index.save(self.path, self._namespace, cursors)

    def remove(self) -> None:
        """Remove the file, if there is one."""
        try:
            with suppress(FileNotFoundError):
                self.path.unlink()
        except OSError as error:
            # It is of no use to anybody, and is written over by the next one that saves.
            self.problem = str(error)

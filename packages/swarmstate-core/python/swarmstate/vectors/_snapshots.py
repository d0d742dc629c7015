"""The file from which a process restores its index; see `engine/src/vectors/snapshot`.

The file is derived from the records. A process that loads it then reads the records
that the collection's log has named since. If the log no longer has the entry that the
file read last, the file is useless and is removed.
"""

from __future__ import annotations

from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from threading import Thread
from typing import Final

from swarmstate import _core
from swarmstate.vectors import _layout as layout

# Building an index of fewer records takes no noticeable time.
WORTHWHILE = 2000


def file_in(folder: Path, namespace: str) -> Path:
    """Return the path of a collection's file."""
    name = blake2b(namespace.encode(), digest_size=16).hexdigest()
    return folder / f"vectors-{name}.index"


class SnapshotFile:
    """The file of an index, shared by several processes.

    Args:
        path: The file.
        namespace: The namespace of the collection.
        metric: The metric of the loaded index.
        approximate_above: The threshold of the loaded index.

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
        """Return the index and the last log entries that it has read, or None if unusable."""
        loaded, self.problem = _core.VectorIndex.load(*self._arguments, self.path, self._namespace)
        if loaded is not None and not layout.are_tails(loaded[1]):
            # Otherwise it might pass for a file that is ahead, and never be replaced.
            self.remove()
            self.problem = "it claims to have read invalid log entries"
            return None
        return loaded

    def save(self, index: _core.VectorIndex, cursors: list[str], *, wait: bool) -> None:
        """Write what is new in the index, which has read the log at least up to `cursors`.

        Unless `wait` is set, a thread does so, if none is running yet, and `index.saved` has
        any error. A process that exits lets the thread finish; otherwise short processes
        would never leave a file.

        Raises:
            OSError: The file cannot be written; only with `wait`.
        """
        if wait:
            index.save(self.path, self._namespace, cursors)
        elif self._saving is None or not self._saving.is_alive():
            self._saving = Thread(
                target=self._try_to_save, args=(index, cursors), name="swarmstate-snapshot"
            )
            # While the interpreter shuts down, no thread can be started.
            with suppress(RuntimeError):
                self._saving.start()

    def _try_to_save(self, index: _core.VectorIndex, cursors: list[str]) -> None:
        # The index keeps the error.
        with suppress(OSError):
            index.save(self.path, self._namespace, cursors)

    def remove(self) -> None:
        """Remove the file, if there is one."""
        try:
            with suppress(FileNotFoundError):
                self.path.unlink()
        except OSError as error:
            # The file is useless, and the next save overwrites it.
            self.problem = str(error)

"""A store in a single SQLite file."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import sys
import threading
import weakref
from collections import deque
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl, unquote

from swarmstate import _core
from swarmstate.base import BaseStore, Batch, Query, Result, check_count
from swarmstate.errors import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from typing_extensions import Self

    from swarmstate.base import Allow

__all__ = ["DiskStore", "open_url", "path_of"]


class DiskStore(_core.DiskStore, BaseStore):
    """A store of records in a single SQLite file.

    Any number of threads, event loops and processes may use the file at once; each sees
    the records of all others as soon as they are written. Concurrent writes share a
    transaction and its sync to disk.

    A store must not be used across `os.fork()`: close it before forking, or open it in
    each child. A child forked while a store is open gets a `StoreUnavailableError` when it
    uses that file.

    Args:
        path: The file; created if it does not exist. While the store is open, SQLite keeps
            two more files beside it, named `-wal` and `-shm`.
        durability: "full": a write that returned survives a power failure.
            "normal": it survives the end of the process, even if killed, but a power
            failure may lose the newest writes; the file stays intact.
        timeout: Seconds to wait while other processes write the file.
        allow: Classes that may be constructed when values are read, besides
            those the codec knows; see `swarmstate.codec.Codec`.
        clock: A function that returns the time in seconds since the Unix epoch; the
            system's clock if None. Meant for tests of expiry.

    Raises:
        StoreUnavailableError: The file cannot be opened or created, or stayed
            locked until the timeout.
        StoreFormatError: The file is not a swarmstate database, is damaged, or
            was written by a newer version. It is left unchanged.
    """

    system = "sqlite"

    def __new__(
        cls,
        path: str | os.PathLike[str],
        *,
        durability: Literal["full", "normal"] = "full",
        timeout: float = 30.0,
        allow: Allow = (),
        clock: Callable[[], float] | None = None,
    ) -> Self:
        """Open the store."""
        try:
            return super().__new__(cls, path, durability, timeout, clock)
        except UnicodeEncodeError as error:
            raise StoreUnavailableError(
                f"cannot open {path!r}: not a valid file name: {error}; check the path"
            ) from error

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Literal["full", "normal"] = "full",
        timeout: float = 30.0,
        allow: Allow = (),
        clock: Callable[[], float] | None = None,
    ) -> None:
        """Set up the open store."""
        super().__init__(allow=allow)
        _open_stores.add(self)

    def __repr__(self) -> str:
        """Return the class and the path."""
        return f"{type(self).__name__}({os.fspath(self.path)!r})"

    @property
    def derived_folder(self) -> Path:
        """The folder beside the file for disposable files derived from records."""
        return Path(f"{os.fspath(self.path)}-derived")

    async def aread(self, queries: Sequence[Query]) -> list[Result]:
        """Answer `queries` as `read` does."""
        future, done = _expected()
        self.submit_read(queries, done)
        found: list[Result] = await future
        return found

    async def awrite(self, batches: Sequence[Batch]) -> None:
        """Apply `batches` as `write` does.

        The writes of a cancelled call may still have been applied.
        """
        future, done = _expected()
        self.submit_write(batches, done)
        await future

    async def anamespaces(
        self, prefix: str = "", *, after: str | None = None, limit: int | None = None
    ) -> list[str]:
        """Return namespaces as `namespaces` does."""
        future, done = _expected()
        self.submit_namespaces(prefix, after, limit, done)
        found: list[str] = await future
        return found

    async def acopy(self, source: str, target: str) -> None:
        """Copy a namespace as `copy` does."""
        future, done = _expected()
        self.submit_copy(source, target, done)
        await future

    def vacuum(self, max_pages: int | None = None) -> int:
        """Return free space in the file to the file system.

        Deleted records leave free pages of 8 KiB, which new records reuse. Works in short
        steps, so that others can write in between.

        Args:
            max_pages: Release at most this many pages; None is all of them.

        Returns:
            The number of bytes by which the file shrank.

        Raises:
            TypeError: `max_pages` is not an integer.
            ValueError: `max_pages` is negative.
        """
        if max_pages is not None:
            check_count("max_pages", max_pages)
        return super().vacuum(max_pages)

    async def avacuum(self, max_pages: int | None = None) -> int:
        """Return free space as `vacuum` does."""
        return await asyncio.to_thread(self.vacuum, max_pages)

    def close(self) -> None:
        """Finish outstanding requests, stop all threads and close the file."""
        super().close()

    async def aclose(self) -> None:
        """Close the store as `close` does."""
        await asyncio.to_thread(self.close)


def open_url(url: str, *, allow: Allow = (), **options: Any) -> DiskStore:
    """Open the store at `disk:///absolute/path` or `disk://relative/path`.

    Percent-encoded characters in the path are decoded. `durability` and
    `timeout` may be passed as options or in the URL: `disk://a.db?durability=normal`.

    Raises:
        ValueError: The URL has an unknown option.
    """
    query = url.partition("?")[2]
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name == "durability":
            options.setdefault(name, value)
        elif name == "timeout":
            options.setdefault(name, _seconds(value))
        else:
            raise ValueError(f"unknown option {name!r} in a disk:// URL: use durability or timeout")
    return DiskStore(path_of(url), allow=allow, **options)


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(
            f"expected timeout in a disk:// URL to be a number of seconds, found {text!r}"
        ) from None


def path_of(url: str) -> Path:
    """Return the path in a `disk://` URL."""
    return Path(unquote(url.partition("://")[2].partition("?")[0]))


def _expected() -> tuple[asyncio.Future[Any], Callable[[Any, Exception | None], None]]:
    """Return a future, and the callback with which another thread sets its result or error.

    A waiting call must stay small: Python's garbage collector traverses everything that the
    many waiting tasks hold.
    """
    loop = asyncio.get_running_loop()
    arrivals = _arrivals_of.get(loop)
    if arrivals is None:
        arrivals = _arrivals_of.setdefault(loop, _Arrivals())
    future: asyncio.Future[Any] = loop.create_future()
    return future, partial(arrivals.arrive_at, future)


class _Arrivals:
    """Results on their way to an event loop, which is woken once for all pending ones."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[asyncio.Future[Any], object, Exception | None]] = deque()
        self._lock = threading.Lock()
        self._is_loop_woken = False
        # One bound method, shared by all futures.
        self.arrive_at = self._arrive

    def _arrive(self, future: asyncio.Future[Any], result: object, error: Exception | None) -> None:
        """Take a result, on any thread, and wake the loop unless that is already under way."""
        with self._lock:
            self._waiting.append((future, result, error))
            if self._is_loop_woken:
                return
            self._is_loop_woken = True
        # If the loop was closed in the meantime, nobody is waiting any more.
        with contextlib.suppress(RuntimeError):
            future.get_loop().call_soon_threadsafe(self.settle)

    def settle(self) -> None:
        """Deliver the results to those waiting for them."""
        with self._lock:
            arrived = list(self._waiting)
            self._waiting.clear()
            self._is_loop_woken = False
        for future, result, error in arrived:
            if future.done():
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)


_arrivals_of: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Arrivals] = (
    weakref.WeakKeyDictionary()
)


_open_stores: weakref.WeakSet[DiskStore] = weakref.WeakSet()


def _close_all() -> None:
    for store in list(_open_stores):
        store.close()


# Handlers run in reverse order, so the callbacks end last. Stores without references are not
# closed here, but may still have work to finish and callers to notify.
atexit.register(_core.end_callbacks)
atexit.register(_close_all)

if sys.platform != "win32":
    os.register_at_fork(after_in_child=_core.forget_callbacks)

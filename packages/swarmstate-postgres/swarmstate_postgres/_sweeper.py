"""Removes expired namespaces in the background."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import TIMEOUT_MAX, Event, Lock, Thread

from swarmstate.errors import StoreReadOnlyError, SwarmStateError

__all__ = ["Sweeper"]

_log = logging.getLogger("swarmstate.postgres")


class Sweeper:
    """A thread that sweeps periodically, from the first use of a time to live.

    Args:
        sweep: The function to call.
        interval: Seconds between two sweeps; None to never start the thread.
    """

    def __init__(self, sweep: Callable[[], object], interval: float | None) -> None:
        self._sweep = sweep
        # The longest time that a thread can wait: centuries.
        self._interval = None if interval is None else min(interval, TIMEOUT_MAX)
        self._lock = Lock()
        self._stop = Event()
        self._thread: Thread | None = None

    def start(self) -> None:
        """Start the thread if there is none."""
        if self._interval is None or self._thread is not None:
            return
        with self._lock:
            if self._thread is None and not self._stop.is_set():
                self._thread = Thread(
                    target=self._run, name="swarmstate-postgres-sweeper", daemon=True
                )
                self._thread.start()

    def stop(self, *, wait: bool = True) -> None:
        """Stop the thread; do not `wait` for it if it may be waiting for the caller."""
        self._stop.set()
        if not wait:
            return
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            try:
                self._sweep()
            except StoreReadOnlyError:
                # A standby: stores that write to its primary sweep there.
                continue
            except SwarmStateError as error:
                # Expired namespaces are invisible anyway; the next sweep removes them.
                if not self._stop.is_set():
                    _log.warning("sweeping expired namespaces failed: %s", error)

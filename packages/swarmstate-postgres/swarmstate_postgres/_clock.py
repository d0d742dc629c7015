"""A lower bound of the server's time, without asking for it each time."""

from __future__ import annotations

from time import monotonic, time

__all__ = ["ServerClock"]

# How much slower the server's clock may run than ours.
_SLOWEST = 0.99
# After so many seconds what `time` tells is up to 0.6 seconds behind.
_LONG = 60.0


class ServerClock:
    """Tells times that the server's clock has passed; may be used from any thread."""

    def __init__(self) -> None:
        # A time of the server's, and what our monotonic clock and our wall clock showed then.
        self._seen: tuple[float, float, float] | None = None

    def saw(self, server_time: float) -> None:
        """Note a time that a reply has brought, in seconds since the Unix epoch."""
        self._seen = server_time, monotonic(), time()

    def is_old(self) -> bool:
        """Tell whether the last time that was seen is too long ago to be of much use."""
        if self._seen is None:
            return True
        _, ours, wall = self._seen
        # The monotonic clock may stand still while the machine sleeps; the wall clock may be set.
        return monotonic() - ours > _LONG or abs(time() - wall) > _LONG

    def time(self) -> float:
        """Return a time that has passed at the server: as late as can be known, or 0."""
        if self._seen is None:
            return 0.0
        server_time, ours, _ = self._seen
        # A millisecond covers what rounding takes away.
        return server_time + (monotonic() - ours) * _SLOWEST - 0.001

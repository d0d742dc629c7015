"""A lower bound of the server's time, known without asking for it each time."""

from __future__ import annotations

from time import monotonic, time

__all__ = ["ServerClock"]

# The lowest speed of the server's clock relative to ours.
_SLOWEST = 0.99
# After this many seconds, `time` is up to 0.6 seconds behind.
_LONG = 60.0


class ServerClock:
    """Computes times that the server's clock has passed; may be used from any thread."""

    def __init__(self) -> None:
        # A server time, and our monotonic clock and wall clock at that moment.
        self._seen: tuple[float, float, float] | None = None

    def saw(self, server_time: float) -> None:
        """Note a server time from a reply, in seconds since the Unix epoch."""
        self._seen = server_time, monotonic(), time()

    def is_old(self) -> bool:
        """Return whether the last server time was seen too long ago to be of much use."""
        if self._seen is None:
            return True
        _, ours, wall = self._seen
        # The monotonic clock may stand still while the machine sleeps; the wall clock may be set.
        return monotonic() - ours > _LONG or abs(time() - wall) > _LONG

    def time(self) -> float:
        """Return the latest time that the server's clock has surely passed; 0 if unknown."""
        if self._seen is None:
            return 0.0
        server_time, ours, _ = self._seen
        # One millisecond covers rounding.
        return server_time + (monotonic() - ours) * _SLOWEST - 0.001

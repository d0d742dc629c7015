"""What time it is at the server, at least."""

from __future__ import annotations

from time import monotonic

__all__ = ["ServerClock"]

# How much slower the server's clock may run than ours.
_SLOWEST = 0.99


class ServerClock:
    """Tells times that the server's clock has passed; may be used from any thread."""

    def __init__(self) -> None:
        self._seen: tuple[float, float] | None = None

    def saw(self, server_time: float) -> None:
        """Note a time that a reply has brought, in seconds since the Unix epoch."""
        self._seen = server_time, monotonic()

    def time(self) -> float:
        """Return a time that has passed at the server: as late as can be known, or 0."""
        if self._seen is None:
            return 0.0
        server_time, ours = self._seen
        # A millisecond covers what rounding takes away.
        return server_time + (monotonic() - ours) * _SLOWEST - 0.001

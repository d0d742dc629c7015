"""Loopback ports for test servers."""

from __future__ import annotations

import socket


def free_port(*, with_bus: bool = False) -> int:
    """Return a free port; `with_bus`, the matching port of a Redis cluster's bus is also free."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            if not with_bus:
                return port
            if port + 10_000 > 65_535:
                continue
            with socket.socket() as bus:
                try:
                    bus.bind(("127.0.0.1", port + 10_000))
                except OSError:
                    continue
            return port

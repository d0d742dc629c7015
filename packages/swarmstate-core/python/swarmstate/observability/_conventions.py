"""Buckets and error names shared by the sinks for OpenTelemetry and Prometheus.

Names follow OpenTelemetry's semantic conventions for database clients,
https://opentelemetry.io/docs/specs/semconv/db/database-metrics/, where these apply.
`db.namespace` and `db.collection.name` are omitted: namespaces here contain the ids of
threads, which are too many for a metric.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import isfinite

__all__ = ["BUCKETS", "check_buckets", "error_type"]

# The bounds of the conventions, in seconds, with smaller ones added for stores in the same process
# or on the same machine.
BUCKETS = (0.00001, 0.00005, 0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)


def check_buckets(buckets: Sequence[float]) -> tuple[float, ...]:
    """Return the upper bounds of a histogram's buckets.

    Raises:
        ValueError: They are not positive, finite and ascending.
    """
    bounds = tuple(map(float, buckets))
    if not all(isfinite(bound) and bound > 0 for bound in bounds) or any(
        one >= next_one for one, next_one in pairwise(bounds)
    ):
        raise ValueError(
            f"expected buckets to be positive, finite, ascending seconds, found {buckets!r}"
        )
    return bounds


def error_type(error: BaseException) -> str:
    """Return the full name of an error's class, without the module for a built-in one."""
    kind = type(error)
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"

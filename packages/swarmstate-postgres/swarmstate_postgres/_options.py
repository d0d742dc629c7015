"""The options of a store on PostgreSQL, and their checks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import asyncpg
from swarmstate.base import check_count, check_numbers


class Options(NamedTuple):
    """Options given in a URL or as arguments; see `PostgresStore`."""

    schema: str = "public"
    prefix: str = "swarmstate"
    max_size: int = 8
    statement_cache_size: int = 100
    timeout: float = 30.0

    @classmethod
    def of(cls, said: Mapping[str, Any], **given: Any) -> Options:
        """Return the options of a URL, overridden by arguments that are not None.

        Raises:
            TypeError: An option that must be a number is not one.
            ValueError: An option is out of range.
        """
        options = cls(
            **{**said, **{name: value for name, value in given.items() if value is not None}}
        )
        size, cached, timeout = options.max_size, options.statement_cache_size, options.timeout
        check_count("max_size", size)
        check_count("statement_cache_size", cached)
        check_numbers(timeout=timeout)
        if size < 1:
            raise ValueError(f"expected max_size of 1 or more, found {size!r}")
        if not 0 < timeout < math.inf:
            raise ValueError(
                f"expected timeout to be a positive, finite number of seconds, found {timeout!r}"
            )
        return options


def check_sweep_interval(seconds: float | None) -> None:
    """Raise `ValueError` or `TypeError` unless the interval is None or a positive number."""
    if seconds is not None:
        check_numbers(sweep_interval=seconds)
        if not seconds > 0:
            raise ValueError(f"expected sweep_interval to be positive, found {seconds!r}")


def check_kinds(url: object, pool: object) -> None:
    """Raise `ValueError` unless exactly one is given, `TypeError` if it has the wrong type."""
    if (url is None) == (pool is None):
        found = "neither" if url is None else "both"
        raise ValueError(f"expected either a url or a pool, found {found}")
    kind = type(url if pool is None else pool)
    found = f"{kind.__module__}.{kind.__qualname__}"
    if pool is None and not isinstance(url, str):
        raise TypeError(f"expected url to be a str, found {found}; pass an asyncpg pool as pool=")
    if pool is not None and not isinstance(pool, asyncpg.Pool):
        raise TypeError(
            f"expected pool to come from asyncpg.create_pool(), found {found}; given a url "
            "instead, the store opens its own connections"
        )

"""Fixtures for the tests of the Redis store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.redis import DURABLE, RedisServer, running_redis


@pytest.fixture(params=["redis", "valkey"])
def own(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A server for one test, which persists what it acknowledges."""
    with running_redis(DURABLE, valkey=request.param == "valkey") as server:
        yield server

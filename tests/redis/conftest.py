"""Fixtures of the tests of the store in Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.redis import DURABLE, RedisServer, running_redis


@pytest.fixture(params=["redis", "valkey"])
def own(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A server for this test alone, which keeps what it acknowledged."""
    with running_redis(DURABLE, valkey=request.param == "valkey") as server:
        yield server

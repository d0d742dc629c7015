"""Fixtures and settings shared by all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.servers.postgres import PostgresServer, running_postgres
from tests.servers.redis import RedisServer, running_redis
from tests.servers.redis_cluster import running_cluster
from tests.servers.stores import KINDS, Stores

# Tests share the machine, so an example's duration means nothing. CI tries the same examples each
# time; other runs look for new ones.
settings.register_profile(
    "swarmstate", deadline=None, print_blob=True, derandomize="CI" in os.environ
)
settings.load_profile("swarmstate")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server, one per test process; tests that stop a server use their own."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis server, one per test process; tests that stop a server use their own."""
    with running_redis() as server:
        yield server


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[RedisServer]:
    """A Valkey server; as above."""
    with running_redis(valkey=True) as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[list[RedisServer]]:
    """The three nodes of a Redis cluster, one per test process."""
    with running_cluster() as nodes:
        yield nodes


@pytest.fixture(params=KINDS)
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stores]:
    """Stores of one kind after the other; a server starts only if its kind is requested."""

    def server_url(kind: str) -> str:
        server: PostgresServer | RedisServer = request.getfixturevalue(f"{kind}_server")
        return server.url()

    opened = Stores(request.param, tmp_path, server_url)
    yield opened
    opened.close()

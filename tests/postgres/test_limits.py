"""Requests that exceed the server's limits are reported and harm nothing."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest
from swarmstate.base import Batch
from swarmstate.errors import InvalidNameError, StoreError
from swarmstate_postgres import PostgresStore

from tests.servers.postgres import PostgresServer


def test_more_than_the_server_takes_at_once_is_told_and_not_sent(
    postgres_server: PostgresServer,
) -> None:
    # This memory is never touched.
    half = bytes(510_000_000)
    with PostgresStore(postgres_server.new_database()) as store:
        store.set("n", "a", 1)
        too_much = [Batch("n", put={"b": half, "c": half})]
        with pytest.raises(StoreError, match=r"namespace 'n'.*Nothing was sent"):
            store.write(too_much)

        async def among_others() -> list[BaseException | None]:
            writes = [store.awrite([Batch(name, put={"a": b""})]) for name in "xy"]
            return await asyncio.gather(*writes, store.awrite(too_much), return_exceptions=True)

        *others, refused = asyncio.run(among_others())
        assert others == [None, None]
        assert isinstance(refused, StoreError)
        assert store.namespaces() == ["n", "x", "y"]
        assert store.keys("n") == ["a"]


def backend(store: PostgresStore) -> Any:
    """Return the id of the backend process that serves the next sync call."""
    return store._run(lambda client: client.fetch("SELECT pg_backend_pid()"))


def test_a_key_that_is_too_long_for_the_index_is_refused(postgres_server: PostgresServer) -> None:
    random = Random(1)
    long = "".join(chr(random.randrange(0x4E00, 0x9FFF)) for _ in range(1_200))
    with PostgresStore(postgres_server.new_database()) as store:
        store.set("n", "a", 1)
        session = backend(store)
        with pytest.raises(InvalidNameError, match=r"2,\d00 bytes"):
            store.set_many("n", {"b": 1, long: 1})
        assert store.keys("n") == ["a"]
        # The same connection still works after the server refused a request.
        assert backend(store) == session

"""Read-only servers, and addresses that come to point to another server."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
import redis
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from langgraph.checkpoint.swarmstate.testing import graphs
from langgraph.store.swarmstate import SwarmStateStore
from swarmstate.base import Query
from swarmstate.errors import StoreReadOnlyError
from swarmstate_redis import RedisStore

from tests.redis.messages import messages_of
from tests.servers.ports import free_port
from tests.servers.proxy import proxy_to
from tests.servers.redis import PASSWORD, RedisServer, running_redis
from tests.servers.waiting import wait_until


def test_a_replica_can_only_be_read(own: RedisServer) -> None:
    with running_redis() as other, RedisStore(own.url(), retry_for=0.1) as store:
        store.set("n", "k", 1)
        own.execute("REPLICAOF", "127.0.0.1", other.port)
        assert "replica" in messages_of(lambda: store.set("n", "k", 2), StoreReadOnlyError)
        own.execute("REPLICAOF", "NO", "ONE")
        store.set("n", "k", 3)
        assert store.get("n", "k") == 3


@pytest.mark.parametrize("given", ["url", "client"])
def test_an_address_that_leads_to_a_new_master_while_the_old_one_goes_on_as_a_replica(
    own: RedisServer, given: str
) -> None:
    async def main(store: RedisStore) -> None:
        await store.aset("n", "k", 0)
        become_a_replica()
        await store.aset("n", "k", 1)

    def become_a_replica() -> None:
        own.execute("REPLICAOF", "127.0.0.1", other.port)
        proxy.lead_to(other.port)

    with (
        running_redis() as other,
        proxy_to(own.port) as proxy,
        redis.Redis(port=proxy.port, password=PASSWORD) as client,
    ):
        url = own.url().replace(f":{own.port}/", f":{proxy.port}/")
        options: Any = {"url": url} if given == "url" else {"client": client}
        with RedisStore(**options, retry_for=10) as store:
            store.set("n", "k", 0)
            asyncio.run(main(store))
            store.set("m", "k", 2)
        assert other.execute("HLEN", "swarmstate:n") == 1
        assert other.execute("HLEN", "swarmstate:m") == 1


def test_only_the_first_of_many_writes_to_a_replica_waits_for_it_to_become_a_master(
    own: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = own.url()
    with SwarmStateStore(url) as memory:
        memory.put(("a",), "k", {"n": 1}, ttl=60)
    # No master is there, so it stays as it is.
    own.execute("REPLICAOF", "127.0.0.1", free_port())
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        time_sleep(seconds)

    time_sleep = time.sleep
    monkeypatch.setattr(time, "sleep", sleep)
    with RedisStore(url, retry_for=1) as store:
        memory = SwarmStateStore(store)

        def read() -> None:
            # The read would renew the item if this server accepted writes.
            item = memory.get(("a",), "k")
            assert item is not None
            assert item.value == {"n": 1}

        read()
        assert waits
        waits.clear()
        read()
        messages_of(lambda: store.set("n", "k", 2), StoreReadOnlyError)
        assert not waits

        own.execute("REPLICAOF", "NO", "ONE")
        store.set("n", "k", 2)
        # A server that was a master may become one again.
        own.execute("REPLICAOF", "127.0.0.1", free_port())
        messages_of(lambda: store.set("n", "k", 3), StoreReadOnlyError)
        assert waits


def test_a_replica_answers_reads_that_would_change_something(own: RedisServer) -> None:
    thread: RunnableConfig = {"configurable": {"thread_id": "ada"}}
    with SwarmStateSaver(own.url(), ttl=3600) as saver:
        graphs.agent(saver).invoke({"messages": [("user", "Hello")]}, thread)
    with RedisStore(own.url(), retry_for=0.1) as store:
        store.set("brief", "k", 1, ttl=0.05)
        # No master is there, so it stays as it is.
        own.execute("REPLICAOF", "127.0.0.1", free_port())
        wait_until(lambda: not own.execute("EXISTS", "swarmstate:brief"), "it expires")
        assert store.namespaces() == ["langgraph-index", "langgraph:ada"]
        assert asyncio.run(store.anamespaces("langgraph:")) == ["langgraph:ada"]

        saver = SwarmStateSaver(store, ttl=7200, refresh_on_read=True)
        assert saver.get_tuple(thread) is not None
        assert asyncio.run(saver.aget_tuple(thread)) is not None
        assert saver.threads() == ["ada"]
        [found] = store.read([Query("langgraph:ada", ask_ttl=True)])
        assert found.ttl is not None
        assert found.ttl <= 3600

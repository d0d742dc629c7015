"""Round trips to a server of savers, memories and caches, counted by a proxy in front of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import swarmstate
from langgraph.cache.swarmstate import SwarmStateCache
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from langgraph.checkpoint.swarmstate.testing import Driver
from langgraph.checkpoint.swarmstate.testing.checkpoints import Branch, at
from langgraph.store.base import GetOp, ListNamespacesOp, PutOp, SearchOp
from langgraph.store.swarmstate import SwarmStateStore
from swarmstate.cached import cached

from tests.servers.proxy import Proxy, proxy_to
from tests.servers.stores import Stores

PLACES = [(("users", str(n)), f"k{n}") for n in range(5)]
PUTS = [PutOp(*place, {"n": n}) for n, place in enumerate(PLACES)]
GETS = [GetOp(*place) for place in PLACES]


class Counted:
    """A `SwarmStateStore` on a server and its round trips, by the sync or the async methods.

    Attributes:
        listing: Round trips to list the namespaces. Redis's index of them is derived, so it is
            verified by another one.
    """

    def __init__(self, store: swarmstate.BaseStore, proxy: Proxy, mode: str) -> None:
        self.listing = 2 if store.system == "redis" else 1
        self.memories = SwarmStateStore(store, clock=lambda: self.now)
        self.now = 0.0
        self._proxy = proxy
        self._loop = asyncio.new_event_loop() if mode == "async" else None

    def run(self, target: object, name: str, *args: Any) -> Any:
        if self._loop is None:
            return getattr(target, name)(*args)
        return self._loop.run_until_complete(getattr(target, f"a{name}")(*args))

    def trips(self, target: object, name: str, *args: Any) -> int:
        """Return how many round trips a call takes."""
        before = self._proxy.trips
        self.run(target, name, *args)
        return self._proxy.trips - before

    def close(self) -> None:
        self.run(self.memories.store, "close")
        if self._loop is not None:
            self._loop.close()


@pytest.fixture(params=["redis", "postgres"])
def counted(request: pytest.FixtureRequest, tmp_path: Path, mode: str) -> Iterator[Counted]:
    server = request.getfixturevalue(f"{request.param}_server")
    with proxy_to(server.port) as proxy:

        def url_of_proxy(kind: str) -> str:
            url: str = server.url()
            return url.replace(f":{server.port}/", f":{proxy.port}/")

        counted = Counted(
            swarmstate.open(Stores(request.param, tmp_path, url_of_proxy).url), proxy, mode
        )
        # Scripts are loaded, statements prepared and tables created now.
        counted.run(counted.memories, "batch", [*GETS, SearchOp(("users",)), *PUTS])
        counted.run(counted.memories, "batch", [*GETS, SearchOp(("users",)), ListNamespacesOp()])
        yield counted
        counted.close()


@pytest.mark.parametrize(("pending", "trips"), [(0, 1), (3, 1), (4, 2)])
def test_the_latest_checkpoint_is_one_round_trip_if_its_values_are_known(
    counted: Counted, pending: int, trips: int
) -> None:
    saver = SwarmStateSaver(counted.memories.store)
    branch = Branch(Driver(saver, "sync"))
    for n in range(3):
        config = branch.put(n=n, log=["said " * 1_000] * n)
        branch.driver.put_writes(config, [("n", n)], "before")
    config = branch.put(n=3)
    for n in range(pending):
        branch.driver.put_writes(config, [("n", n)], f"task {n}")
    assert counted.trips(saver, "get_tuple", at()) == trips
    assert counted.trips(saver, "get_tuple", config) == 1
    assert counted.trips(saver, "put_writes", config, [("n", 0)], "task") == 1
    another = SwarmStateSaver(counted.memories.store)
    assert counted.trips(another, "get_tuple", at()) == 2


def test_a_batch_of_puts_or_of_gets_is_one_round_trip(counted: Counted) -> None:
    for ops in ([PUTS[0]], PUTS, [*PUTS, PutOp(("users", "9"), "k", {}, ttl=5)], [GETS[0]], GETS):
        assert counted.trips(counted.memories, "batch", ops) == 1
    assert counted.trips(counted.memories, "batch", [PUTS[0]._replace(value=None)]) == 1


def test_a_batch_reads_at_once_and_then_writes_at_once(counted: Counted) -> None:
    assert counted.trips(counted.memories, "batch", [*GETS, *PUTS]) == 2
    # A search asks for the namespaces; a listing also asks which of them hold something.
    listing = counted.listing
    assert counted.trips(counted.memories, "batch", [SearchOp(("users",))]) == listing + 1
    searches = [SearchOp(("users",)), SearchOp(("users",), {"n": 1}), *GETS]
    assert counted.trips(counted.memories, "batch", searches) == listing + 1
    assert counted.trips(counted.memories, "batch", [ListNamespacesOp()]) == listing + 1
    everything = [*searches, ListNamespacesOp(), *PUTS]
    assert counted.trips(counted.memories, "batch", everything) == 2 * (listing + 1) + 1


def test_renewing_costs_one_more(counted: Counted) -> None:
    counted.run(counted.memories, "batch", [put._replace(ttl=5) for put in PUTS])
    counted.now = 60.0
    assert counted.trips(counted.memories, "batch", GETS) == 2
    still = [get._replace(refresh_ttl=False) for get in GETS]
    assert counted.trips(counted.memories, "batch", still) == 1
    # The first item to expire is still there, so no other is looked at.
    assert counted.trips(counted.memories, "batch", [ListNamespacesOp()]) == counted.listing + 1


def test_caches_ask_once(counted: Counted) -> None:
    cache = SwarmStateCache[int](counted.memories.store)
    keys = [(("ns",), str(n)) for n in range(5)]
    assert counted.trips(cache, "set", dict.fromkeys(keys, (1, 60))) == 1
    assert counted.trips(cache, "get", keys) == 1


def test_a_shared_result_is_one_look_and_one_write(counted: Counted, mode: str) -> None:
    store = counted.memories.store

    class Functions:
        double: Callable[[int], int] = staticmethod(
            cached(store=store, name="double")(lambda n: 2 * n)
        )

        @staticmethod
        @cached(store=store)
        async def adouble(n: int) -> int:
            return 2 * n

    assert counted.trips(Functions, "double", 3) == 2
    assert counted.trips(Functions, "double", 3) == 1

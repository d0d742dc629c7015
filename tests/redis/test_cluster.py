"""A real cluster whose nodes hang, move slots and go away."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from swarmstate.base import Batch, Query
from swarmstate.errors import StoreClosedError, StoreFormatError, StoreUnavailableError
from swarmstate_redis import RedisStore
from swarmstate_redis.cluster import ClusterLink
from swarmstate_redis.links import finished
from swarmstate_redis.names import SLOTS, slot_of

from tests.redis.test_contract import prefix_of
from tests.servers.redis import PASSWORD, RedisServer
from tests.servers.redis_cluster import running_cluster
from tests.servers.waiting import wait_until


def slot(prefix: str, namespace: str) -> int:
    return slot_of(f"{prefix}:{namespace}".encode())


def node_of(nodes: list[RedisServer], prefix: str, namespace: str) -> int:
    """Return the number of the node that holds a namespace."""
    return slot(prefix, namespace) * len(nodes) // SLOTS


def scripts_run(node: RedisServer) -> int:
    with node.client() as client:
        return sum(
            int(stats["calls"])
            for name, stats in client.info("commandstats").items()
            if name in ("cmdstat_evalsha", "cmdstat_eval")
        )


def test_a_namespace_whose_name_cannot_be_entered_in_the_index_is_told(
    redis_cluster: list[RedisServer], tmp_path: Path
) -> None:
    """The index may be on another node than the namespace, and can be damaged independently."""
    prefix = prefix_of(tmp_path)
    index = f"{{{prefix}}}:namespaces"
    server = redis_cluster[slot_of(prefix.encode()) * len(redis_cluster) // SLOTS]
    with RedisStore(f"{server.url()}?cluster=true", prefix=prefix) as store:
        for number in range(5):
            store.set(f"{number}", "k", 1)
        server.execute("UNLINK", index)
        server.execute("SET", index, "mine")
        # Both existing namespaces and new ones.
        for number in range(10):
            with pytest.raises(StoreFormatError, match=f"'{number}'.* use another prefix"):
                store.set(f"{number}", "k", 2)


@pytest.mark.parametrize("there", [False, True])
def test_a_copy_within_a_slot_is_listed_and_takes_the_place_of_what_was_there(
    redis_cluster: list[RedisServer], tmp_path: Path, there: bool
) -> None:
    prefix = prefix_of(tmp_path)
    source, target = "{ada}", "{ada} again"
    assert slot(prefix, source) == slot(prefix, target)
    with RedisStore(f"{redis_cluster[0].url()}?cluster=true", prefix=prefix) as store:
        store.set(source, "k", 1, ttl=3600)
        if there:
            store.set_many(target, {"old": 1, "k": 2})
        store.copy(source, target)
        assert store.namespaces() == [source, target]
        assert store.items(target) == [("k", 1)]
        [found] = store.read([Query(target, ask_ttl=True)])
        assert found.ttl is not None
        assert 0 < found.ttl <= 3600
        store.clear(source)
        store.copy(source, target)
        assert store.namespaces() == []
        assert store.items(target) == []


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_node_that_answers_too_late_is_an_error_and_no_second_write(
    redis_cluster: list[RedisServer], tmp_path: Path, kind: str
) -> None:
    prefix = prefix_of(tmp_path)
    # The index of namespaces, to which writes add their namespace, is on another node.
    index = slot_of(prefix.encode()) * len(redis_cluster) // SLOTS
    numbers = {name: node_of(redis_cluster, prefix, name) for name in map(str, range(100))}
    name = next(name for name, number in numbers.items() if number != index)
    node = redis_cluster[numbers[name]]
    url = f"{redis_cluster[0].url()}?cluster=true&timeout=0.5"

    def sync() -> str:
        with RedisStore(url, prefix=prefix) as store:
            store.set(name, "k", 1)
            before = scripts_run(node)
            with node.paused(), pytest.raises(StoreUnavailableError) as raised:
                store.set(name, "k", 2)
            wait_until(lambda: scripts_run(node) > before, "it does what it was sent")
            assert scripts_run(node) == before + 1
            store.set(name, "k", 3)
            assert store.get(name, "k") == 3
        return str(raised.value)

    async def main() -> str:
        async with RedisStore(url, prefix=prefix) as store:
            await store.aset(name, "k", 1)
            before = scripts_run(node)
            with node.paused(), pytest.raises(StoreUnavailableError) as raised:
                await store.aset(name, "k", 2)
            wait_until(lambda: scripts_run(node) > before, "it does what it was sent")
            assert scripts_run(node) == before + 1
            await store.aset(name, "k", 3)
            assert await store.aget(name, "k") == 3
        return str(raised.value)

    assert "did not answer" in (sync() if kind == "sync" else asyncio.run(main()))


def test_a_node_whose_connections_stay_in_use_is_told(
    redis_cluster: list[RedisServer], tmp_path: Path
) -> None:
    """Even though the other nodes have done their share of the same request by then."""
    url = f"{redis_cluster[0].url()}?cluster=true&max_connections=1&timeout=0.2&retry_for=0"
    batches = [Batch(f"{number}", put={"k": b"v"}) for number in range(20)]
    with RedisStore(url, prefix=prefix_of(tmp_path)) as store:
        store.set("n", "k", 1)
        link = store._open_link()
        assert isinstance(link, ClusterLink)
        for node in link._slots.masters:
            in_use = link._link(node).sending([[b"PING"]])
            next(in_use)
            with pytest.raises(StoreUnavailableError, match=r"stayed in use \(max_connections=1\)"):
                store.write(batches)
            assert finished(in_use) == [b"PONG"]
        store.write(batches)
        assert len(store.namespaces()) == 21


def test_slots_that_move_are_followed() -> None:
    with running_cluster() as nodes, RedisStore(f"{nodes[0].url()}?cluster=true") as store:
        store.set_many("n", {"a": 1, "b": 2})
        number, moving = node_of(nodes, "swarmstate", "n"), slot("swarmstate", "n")
        source, target = nodes[number], nodes[number - 1]
        names = {each: each.execute("CLUSTER", "MYID") for each in (source, target)}
        target.execute("CLUSTER", "SETSLOT", moving, "IMPORTING", names[source])  # type: ignore[arg-type]  # a node id
        source.execute("CLUSTER", "SETSLOT", moving, "MIGRATING", names[target])  # type: ignore[arg-type]  # a node id
        assert store.get("n", "a") == 1
        keys = ("swarmstate:n", "{swarmstate:n}:keys")
        to = ("127.0.0.1", target.port, "", 0, 5_000)
        source.execute("MIGRATE", *to, "AUTH", PASSWORD, "KEYS", *keys)
        # The new node has the slot, but the old one is still asked first.
        assert store.get("n", "a") == 1
        assert asyncio.run(store.aget("n", "b")) == 2
        with ThreadPoolExecutor() as pool:
            # Until the move is complete, a key that does not exist yet is on neither node.
            writing = pool.submit(store.set, "n", "c", 3)
            for each in (target, source):
                each.execute("CLUSTER", "SETSLOT", moving, "NODE", names[target])  # type: ignore[arg-type]  # a node id
            writing.result()
        assert store.items("n") == [("a", 1), ("b", 2), ("c", 3)]
        assert store.namespaces() == ["n"]


def test_a_node_that_is_gone_is_told_and_found_again() -> None:
    with running_cluster() as nodes:
        url = f"{nodes[0].url()}?cluster=true&retry_for=0.2"
        with RedisStore(url) as store:
            names = [f"n{number}" for number in range(30)]
            for name in names:
                store.set(name, "k", name)
            nodes[0].stop()
            there = [name for name in names if node_of(nodes, "swarmstate", name) != 0]
            gone = next(name for name in names if name not in there)
            with pytest.raises(StoreUnavailableError, match="the cluster of"):
                store.get(gone, "k")
            # The node in the URL is no longer needed.
            nodes[1].execute("CONFIG", "SET", "cluster-require-full-coverage", "no")
            nodes[2].execute("CONFIG", "SET", "cluster-require-full-coverage", "no")
            assert store.get(there[0], "k") == there[0]
            nodes[0].start()


def test_closing_a_store_in_use_is_told_to_those_who_use_it(
    redis_cluster: list[RedisServer], tmp_path: Path
) -> None:
    store = RedisStore(f"{redis_cluster[0].url()}?cluster=true", prefix=prefix_of(tmp_path))
    turns = [0] * 12
    everybody = threading.Barrier(len(turns))

    def use(number: int) -> None:
        everybody.wait()
        while True:
            store.set("n", f"{number}", turns[number])
            turns[number] += 1

    with ThreadPoolExecutor(len(turns)) as pool:
        futures = [pool.submit(use, number) for number in range(len(turns))]
        wait_until(lambda: all(turns) or any(each.done() for each in futures), "all of them write")
        store.close()
        for each in futures:
            assert isinstance(each.exception(), StoreClosedError)

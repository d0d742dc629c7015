"""Cluster nodes reached at other addresses than the first ones, and URLs of several hosts."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from redis.asyncio import RedisCluster as AsyncRedisCluster
from redis.cluster import RedisCluster
from swarmstate.errors import StoreUnavailableError
from swarmstate_redis import RedisStore
from swarmstate_redis.names import SLOTS, slot_of

from tests.redis.test_contract import prefix_of
from tests.servers.redis import PASSWORD, RedisServer
from tests.servers.redis_cluster import running_cluster, serving
from tests.servers.tls import make_certificate, terminating_tls
from tests.servers.waiting import wait_until

NAMES = [f"n{number}" for number in range(20)]


def check_all_nodes(store: RedisStore) -> None:
    """Write to every node and read back, sync and async."""

    async def use() -> None:
        for name in NAMES:
            await store.aset(name, "async", name)
            assert await store.aget(name, "sync") == name

    for name in NAMES:
        store.set(name, "sync", name)
    asyncio.run(use())
    assert all(store.get(name, "async") == name for name in NAMES)
    assert store.namespaces() == sorted(NAMES)


def check_a_moved_slot(store: RedisStore, nodes: list[RedisServer]) -> None:
    """Move a slot to another node, which the client only learns from the old node's answer."""
    prefix = store._prefix
    moved = slot_of(f"{prefix}:moved".encode())
    number = moved * len(nodes) // SLOTS
    target = nodes[number - 1]
    name, source_name = (each.execute("CLUSTER", "MYID") for each in (target, nodes[number]))
    assert isinstance(name, bytes)
    assert isinstance(source_name, bytes)
    # The node that imported a slot decides who owns it.
    target.execute("CLUSTER", "SETSLOT", moved, "IMPORTING", source_name)
    for node in (target, *nodes):
        node.execute("CLUSTER", "SETSLOT", moved, "NODE", name)
    store.set("moved", "k", 1)
    assert asyncio.run(store.aget("moved", "k")) == 1
    assert target.execute("EXISTS", f"{prefix}:moved") == 1


def announce_ports(nodes: list[RedisServer], ports: list[int]) -> None:
    """Make nodes announce other ports than their own."""
    for node, port in zip(nodes, ports, strict=True):
        node.execute("CONFIG", "SET", "cluster-announce-port", port)
    wait_until(lambda: all([*serving(node).values()] == ports for node in nodes), "they know")


def test_nodes_that_announce_a_name_or_nothing() -> None:
    with running_cluster(settings={"cluster-announce-hostname": "localhost"}, valkey=True) as nodes:
        for kind, expected in (("hostname", b"localhost"), ("unknown-endpoint", None)):
            for node in nodes:
                node.execute("CONFIG", "SET", "cluster-preferred-endpoint-type", kind)
            table: Any = nodes[0].execute("CLUSTER", "SLOTS")
            assert table[0][2][0] == expected
            with RedisStore(f"{nodes[0].url()}?cluster=true", prefix=kind) as store:
                check_all_nodes(store)
                check_a_moved_slot(store, nodes)


def test_nodes_behind_tls_on_ports_that_they_announce(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    with running_cluster(valkey=True) as nodes, ExitStack() as stack:
        ports = [
            stack.enter_context(terminating_tls(node.port, certificate, key)) for node in nodes
        ]
        announce_ports(nodes, ports)
        url = f"rediss://:{quote(PASSWORD, '')}@127.0.0.1:{ports[0]}/0?cluster=true"
        with RedisStore(f"{url}&ssl_ca_certs={quote(str(certificate), '')}") as store:
            check_all_nodes(store)
            check_a_moved_slot(store, nodes)
        with (
            RedisStore(url, retry_for=0) as store,
            pytest.raises(StoreUnavailableError, match="certificate"),
        ):
            store.get("n", "k")


def test_clients_that_speak_tls_with_the_nodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = make_certificate(tmp_path)
    with running_cluster(valkey=True) as nodes, ExitStack() as stack:
        ports = [
            stack.enter_context(terminating_tls(node.port, certificate, key)) for node in nodes
        ]
        announce_ports(nodes, ports)
        url = f"rediss://:{quote(PASSWORD, '')}@127.0.0.1:{ports[0]}/0"
        options: Any = {"port": ports[0], "password": PASSWORD, "ssl": True}
        any_certificate: Any = {**options, "ssl_cert_reqs": None}
        for kind in (RedisCluster, AsyncRedisCluster):
            check_with(kind(host="127.0.0.1", **any_certificate), "any certificate")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        for kind in (RedisCluster, AsyncRedisCluster):
            check_with(kind(host="127.0.0.1", **options), "options")
            check_with(kind.from_url(url), "url")


def check_with(client: Any, prefix: str) -> None:
    """Use all nodes through a client; an async one has not been used before."""
    with RedisStore(client=client, prefix=f"{prefix} {type(client).__module__}") as store:
        check_all_nodes(store)
    if isinstance(client, RedisCluster):
        client.close()


def test_clients_whose_options_of_tls_are_not_used(redis_cluster: list[RedisServer]) -> None:
    options: Any = {"port": redis_cluster[0].port, "password": PASSWORD, "ssl_cert_reqs": "none"}
    check_with(RedisCluster(host="127.0.0.1", **options), "unused options")


def test_nodes_that_a_client_finds_elsewhere_than_they_say() -> None:
    with running_cluster(valkey=True) as nodes:
        real = {number + 1: node.port for number, node in enumerate(nodes)}
        announce_ports(nodes, list(real))

        def remap(address: tuple[str, int]) -> tuple[str, int]:
            host, port = address
            return host, real.get(port, port)

        options: Any = {"port": nodes[0].port, "password": PASSWORD, "address_remap": remap}
        client = RedisCluster(host="127.0.0.1", **options)
        for given in (client, AsyncRedisCluster(host="127.0.0.1", **options)):
            with RedisStore(client=given, prefix=type(given).__module__) as store:
                check_all_nodes(store)
                check_a_moved_slot(store, nodes)
        client.close()


def test_a_seed_that_has_forgotten_its_cluster(
    redis_cluster: list[RedisServer], tmp_path: Path
) -> None:
    """It is reachable and is a cluster node, but serves nothing."""
    prefix = prefix_of(tmp_path)
    with running_cluster(1, {"cluster-require-full-coverage": "no"}) as [alone]:
        alone.execute("CLUSTER", "FLUSHSLOTS")
        login, _, _ = alone.url().rpartition("@")
        hosts = f"127.0.0.1:{alone.port},127.0.0.1:{redis_cluster[1].port}"
        with RedisStore(f"{login}@{hosts}/0?cluster=true&retry_for=0", prefix=prefix) as store:
            check_all_nodes(store)
        with (
            RedisStore(f"{alone.url()}?cluster=true&retry_for=0.1") as store,
            pytest.raises(StoreUnavailableError, match="does not serve the slot"),
        ):
            store.get("n", "k")


@pytest.mark.parametrize(
    "url", ["redis://a,b/0", "redis://u:p@a:1,b:2", "redis://a,,b?cluster=true"]
)
def test_urls_of_several_hosts_that_make_no_sense(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        RedisStore(url)

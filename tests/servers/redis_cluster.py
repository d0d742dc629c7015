"""A Redis cluster for the tests, and a way to promote a replica."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.servers.lifetime import new_folder, running
from tests.servers.redis import RedisServer, is_linked
from tests.servers.waiting import wait_until

_SLOTS = 16_384


@contextmanager
def running_cluster(
    nodes: int = 3,
    settings: Mapping[str, str] | None = None,
    *,
    replicated: bool = False,
    valkey: bool = False,
) -> Iterator[list[RedisServer]]:
    """Run a cluster, and remove everything afterwards.

    With `replicated`, the same number of servers follow: the replicas, in the order of their
    masters.
    """
    with new_folder("redis") as folder, ExitStack() as stack:
        servers = [
            stack.enter_context(
                running(RedisServer(folder / str(number), settings, cluster=True, valkey=valkey))
            )
            for number in range(nodes * 2 if replicated else nodes)
        ]
        for number, server in enumerate(servers):
            server.execute("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if number < nodes:
                slots = range(_SLOTS * number // nodes, _SLOTS * (number + 1) // nodes)
                server.execute("CLUSTER", "ADDSLOTS", *slots)
            server.execute("CLUSTER", "MEET", "127.0.0.1", servers[0].port)
        wait_until(lambda: all(_is_whole(each, len(servers)) for each in servers), "it forms")
        for master, replica in zip(servers, servers[nodes:], strict=False):
            name = master.execute("CLUSTER", "MYID")
            assert isinstance(name, bytes)
            replica.execute("CLUSTER", "REPLICATE", name)
        for replica in servers[nodes:]:
            wait_until(lambda replica=replica: is_linked(replica), "replicas follow")  # type: ignore[misc]  # bind the loop variable
        if replicated:
            wait_until(lambda: all(map(_knows_replicas, servers)), "all have heard of replicas")
        yield servers


def _knows_replicas(server: RedisServer) -> bool:
    with server.client() as client:
        table: list[list[Any]] = client.execute_command("CLUSTER", "SLOTS")
    return all(len(entry) > len(["first", "last", "master"]) for entry in table)


def _is_whole(server: RedisServer, nodes: int) -> bool:
    with server.client() as client:
        known: dict[str, str] = client.cluster("INFO")
    return (known["cluster_state"], known["cluster_known_nodes"]) == ("ok", str(nodes))


def fail_over(replica: RedisServer) -> None:
    """Promote a replica of a cluster gracefully, and wait until it is the master."""
    # Until Redis 6.2 knows the offset, it reports 0.
    wait_until(lambda: _offset(replica) > 0, "something is replicated")
    asked = -math.inf

    def ask() -> None:
        # The server drops a request that has not succeeded within 5 seconds.
        nonlocal asked
        if time.monotonic() - asked > 6:
            replica.execute("CLUSTER", "FAILOVER")
            asked = time.monotonic()

    wait_until(lambda: is_master(replica), "the replica is promoted", ask)


def _offset(replica: RedisServer) -> int:
    with replica.client() as client:
        return int(client.info("replication")["slave_repl_offset"])


def is_master(server: RedisServer) -> bool:
    """Return whether a server accepts writes."""
    with server.client() as client:
        return bool(client.info("replication")["role"] == "master")


def serving(asked: RedisServer) -> dict[int, int]:
    """Return which port serves which slots, by first slot, according to a cluster node."""
    with asked.client() as client:
        found: list[list[Any]] = client.execute_command("CLUSTER", "SLOTS")
        return {int(first): int(master[1]) for first, _, master, *_ in found}

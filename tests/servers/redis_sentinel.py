"""A Redis master with a replica, and a sentinel that watches them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.servers.lifetime import new_folder, running
from tests.servers.redis import PASSWORD, RedisServer, is_linked
from tests.servers.waiting import wait_until

MASTER = "main"


class RedisSentinel(RedisServer):
    """A sentinel that watches a server under the name `MASTER`."""

    def __init__(self, folder: Path, master: RedisServer) -> None:
        super().__init__(folder, password=None)
        self._master = master

    def _arguments(self) -> list[str]:
        return ["--sentinel"]

    def _lines(self) -> list[str]:
        return [
            f"sentinel monitor {MASTER} 127.0.0.1 {self._master.port} 1",
            f'sentinel auth-pass {MASTER} "{PASSWORD}"',
            f"sentinel down-after-milliseconds {MASTER} 1000",
            f"sentinel failover-timeout {MASTER} 5000",
        ]


@contextmanager
def running_sentinel() -> Iterator[tuple[RedisSentinel, Sequence[RedisServer]]]:
    """Run a master with one replica and a sentinel that watches them."""
    with new_folder("redis") as folder, ExitStack() as stack:
        master = stack.enter_context(running(RedisServer(folder / "master")))
        following = {"replicaof": f"127.0.0.1 {master.port}", "repl-diskless-sync-delay": "0"}
        replica_server = RedisServer(folder / "replica", _unquoted(following))
        replica = stack.enter_context(running(replica_server))
        sentinel = stack.enter_context(running(RedisSentinel(folder / "sentinel", master)))
        wait_until(lambda: _follows(replica, sentinel), "the replica follows")
        yield sentinel, (master, replica)


def _unquoted(settings: Mapping[str, str]) -> dict[str, str]:
    # The configuration file quotes each argument separately.
    return {name: value.replace(" ", '" "') for name, value in settings.items()}


def _follows(replica: RedisServer, sentinel: RedisSentinel) -> bool:
    if not is_linked(replica):
        return False
    with sentinel.client() as client:
        return bool(client.sentinel_slaves(MASTER))

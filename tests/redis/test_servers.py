"""The servers that the other tests rely on."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis
from redis.cluster import RedisCluster

from tests.servers.redis import DURABLE, PASSWORD, RedisServer, running_redis
from tests.servers.redis_sentinel import MASTER, running_sentinel
from tests.servers.tls import make_certificate, terminating_tls
from tests.servers.waiting import wait_until


def test_it_is_a_real_server_that_wants_its_password(redis_server: RedisServer) -> None:
    assert redis_server.execute("ECHO", "hello") == b"hello"
    with (
        redis.Redis(port=redis_server.port) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()
    with redis.Redis.from_url(redis_server.url()) as client:
        assert client.info("server")["redis_version"] >= "6.2"


@pytest.mark.parametrize("crash", [False, True])
def test_a_durable_one_comes_back_with_its_data_on_its_port(crash: bool) -> None:
    with running_redis(DURABLE) as server:
        port = server.port
        server.execute("SET", "key", "value")
        if crash:
            server.kill()
            server.start()
        else:
            server.restart()
        assert server.port == port
        assert server.execute("GET", "key") == b"value"


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, {"maxmemory-policy": "nonsense"})
    with pytest.raises(RuntimeError, match="does not start"):
        server.start()


def test_a_cluster_serves_all_slots(redis_cluster: list[RedisServer]) -> None:
    client = RedisCluster(host="127.0.0.1", port=redis_cluster[1].port, password=PASSWORD)
    for number in range(50):
        client.set(f"cluster-{number}", number)
    assert [client.get(f"cluster-{number}") for number in range(50)] == [
        str(number).encode() for number in range(50)
    ]
    client.close()


def test_a_sentinel_promotes_the_replica() -> None:
    with running_sentinel() as (sentinel, (master, replica)):
        master.kill()
        wait_until(lambda: _master_port(sentinel) == replica.port, "the sentinel fails over")
        wait_until(lambda: b"master" in _role(replica), "the replica is promoted")


def _master_port(sentinel: RedisServer) -> int:
    with sentinel.client() as client:
        found: int = client.sentinel_get_master_addr_by_name(MASTER)[1]
        return found


def _role(server: RedisServer) -> list[object]:
    with server.client() as client:
        found: list[object] = client.execute_command("ROLE")
        return found


def test_tls_is_spoken_before_a_server(redis_server: RedisServer, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    with (
        terminating_tls(redis_server.port, certificate, key) as port,
        redis.Redis(
            "127.0.0.1", port, password=PASSWORD, ssl=True, ssl_ca_certs=str(certificate)
        ) as client,
    ):
        assert client.ping()

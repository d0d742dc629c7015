"""The ways to connect: URLs, sync and async clients, sentinels, TLS."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from traceback import format_exception
from typing import Any
from urllib.parse import quote

import pytest
import redis
import redis.asyncio
import swarmstate
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.sentinel import Sentinel
from swarmstate.errors import StoreUnavailableError
from swarmstate_redis import RedisStore

from tests.redis.test_contract import prefix_of
from tests.servers.redis import PASSWORD, RedisServer
from tests.servers.redis_sentinel import MASTER, running_sentinel
from tests.servers.tls import make_certificate, terminating_tls
from tests.servers.waiting import wait_until


def check_both_worlds(store: swarmstate.BaseStore) -> None:
    """Write and read, sync and async, in two event loops."""

    async def use(number: int) -> None:
        await store.aset("n", f"async{number}", number)
        assert await store.aget("n", "sync") == "s"

    store.set("n", "sync", "s")
    asyncio.run(use(1))
    asyncio.run(use(2))
    assert store.items("n") == [("async1", 1), ("async2", 2), ("sync", "s")]


def test_urls(redis_server: RedisServer, tmp_path: Path) -> None:
    url = f"{redis_server.url(3)}?prefix={prefix_of(tmp_path)}&client_name=agents"
    with swarmstate.open(url) as store:
        check_both_worlds(store)
        assert PASSWORD not in repr(store)
    with redis_server.client(db=3) as client:
        assert client.hget(f"{prefix_of(tmp_path)}:n", "async1") == b"\x01"


def test_a_url_says_what_arguments_say(redis_server: RedisServer, tmp_path: Path) -> None:
    prefix = prefix_of(tmp_path)
    url = (
        f"{redis_server.url(3)}?prefix={prefix}&ttl=60&refresh_on_read=true&socket_timeout=7"
        "&retry_for=0.5&max_connections=3&socket_connect_timeout=2"
    )
    with RedisStore(url) as store:
        check_both_worlds(store)
        store.set("n", "key", 1)
    with redis_server.client(db=3) as client:
        assert 0 < client.ttl(f"{prefix}:n") <= 60
    with RedisStore(url, ttl=600, prefix=f"{prefix}2") as store:
        store.set("n", "key", 1)
    with redis_server.client(db=3) as client:
        assert 60 < client.ttl(f"{prefix}2:n") <= 600


@pytest.mark.parametrize(
    "url",
    [
        "redis://host?nonsense=1",
        "redis://host?decode_responses=true",
        "redis://host?health_check_interval=3",
        "redis://host?max_connections=some",
        "redis://host?refresh_on_read=maybe",
        "redis://host?cluster=perhaps",
        "redis://:sec/ret@host",
        "redis://:1234/secret@host",
        "redis://:123?secret@host",
        "redis://:123?secret=x@host",
        "redis://:123#secret@host",
        "redis://user:pass#secret",
        "redis://user:sec[ret@host",
        "redis://host/secret",
        "http://host",
        "redis://host?socket_timeout=soon",
    ],
)
def test_unusable_urls_are_refused_without_showing_a_password(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL") as raised:
        RedisStore(url)
    assert "sec" not in str(raised.value).replace("seconds", "")
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"client": object()}, TypeError),
        ({"url": object()}, TypeError),
        ({"url": "redis://host?ssl_cert_reqs=none"}, ValueError),
        ({"url": "rediss://host?ssl_cert_reqs=CERT_NONE"}, ValueError),
        ({"url": "redis://host", "ttl": 0}, ValueError),
        ({"url": "redis://host", "timeout": 0}, ValueError),
        ({"url": "redis://host", "retry_for": -1}, ValueError),
        ({"url": "redis://host?timeout=-1"}, ValueError),
        ({"url": "redis://host", "max_connections": 0}, ValueError),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        RedisStore(**options)


def test_what_is_missing_or_too_much_is_told() -> None:
    with pytest.raises(ValueError, match="either a url or a client, found neither"):
        RedisStore()
    with pytest.raises(ValueError, match="either a url or a client, found both"):
        RedisStore("redis://host", client=redis.Redis())


@pytest.mark.parametrize("name", ["timeout", "retry_for"])
def test_a_text_is_no_number(name: str) -> None:
    options: dict[str, Any] = {name: "5"}
    with pytest.raises(TypeError, match=f"expected {name} to be a number, found '5'"):
        RedisStore("redis://host", **options)


@pytest.mark.parametrize("wrong", ["5", 1.5], ids=str)
def test_connections_are_counted_in_whole_numbers(wrong: Any) -> None:
    found = f"max_connections to be an integer, found {wrong!r}"
    with pytest.raises(TypeError, match=found):
        RedisStore("redis://host", max_connections=wrong)


def test_clients_are_used_and_left_open(redis_server: RedisServer, tmp_path: Path) -> None:
    with redis_server.client() as client:
        with RedisStore(client=client, prefix=prefix_of(tmp_path)) as store:
            check_both_worlds(store)
        assert client.ping()

    async def main() -> None:
        given = redis.asyncio.Redis(port=redis_server.port, password=PASSWORD)
        await given.ping()
        async with RedisStore(client=given, prefix=prefix_of(tmp_path)) as store:
            assert await store.aget("n", "sync") == "s"
            assert store.get("n", "async1") == 1
        assert await given.ping()
        await given.aclose()

    asyncio.run(main())


def test_clients_with_connections_of_another_kind_are_refused() -> None:
    class Strange(redis.Connection):
        pass

    pool = redis.ConnectionPool(connection_class=Strange)
    with pytest.raises(TypeError, match="Strange"):
        RedisStore(client=redis.Redis(connection_pool=pool))


def test_tls(redis_server: RedisServer, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    with terminating_tls(redis_server.port, certificate, key) as port:
        url = f"rediss://:{quote(PASSWORD, '')}@127.0.0.1:{port}/0"
        trusted = f"{url}?prefix={prefix_of(tmp_path)}&ssl_ca_certs={quote(str(certificate), '')}"
        with swarmstate.open(trusted) as store:
            check_both_worlds(store)
        with (
            swarmstate.open(url, retry_for=0) as store,
            pytest.raises(StoreUnavailableError, match="certificate"),
        ):
            store.get("n", "k")


@pytest.mark.parametrize("kind", [redis.Redis, redis.asyncio.Redis])
def test_what_a_client_asks_of_certificates(
    redis_server: RedisServer, tmp_path: Path, kind: Any
) -> None:
    certificate, key = make_certificate(tmp_path)
    with terminating_tls(redis_server.port, certificate, key) as port:
        settings: Any = {"host": "127.0.0.1", "port": port, "password": PASSWORD, "ssl": True}
        client = kind(**settings, ssl_cert_reqs=None)
        with RedisStore(client=client, prefix=prefix_of(tmp_path)) as store:
            check_both_worlds(store)
        if isinstance(client, redis.Redis):
            client.close()
        settings["ssl_ca_certs"] = str(certificate)
        client = kind(**settings, ssl_include_verify_flags=[ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF])
        with RedisStore(client=client, prefix=prefix_of(tmp_path)) as store:
            with pytest.raises(StoreUnavailableError, match="certificate"):
                store.get("n", "k")
            with pytest.raises(StoreUnavailableError, match="certificate"):
                asyncio.run(store.aget("n", "k"))


@pytest.mark.parametrize("check", ["ssl_validate_ocsp", "ssl_validate_ocsp_stapled"])
def test_checks_that_async_connections_cannot_make_are_not_left_out(check: str) -> None:
    options: Any = {"ssl": True, check: True}
    with pytest.raises(TypeError, match=check):
        RedisStore(client=redis.Redis(**options))


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_certificate_that_is_not_trusted_is_not_tried_again(
    redis_server: RedisServer, tmp_path: Path, kind: str
) -> None:
    with (
        terminating_tls(redis_server.port, *make_certificate(tmp_path)) as port,
        # A retry would go on for hours.
        RedisStore(f"rediss://127.0.0.1:{port}", retry_for=10_000) as store,
        pytest.raises(StoreUnavailableError, match="certificate was rejected"),
    ):
        store.get("n", "k") if kind == "sync" else asyncio.run(store.aget("n", "k"))


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("cluster", ["false", "true"])
def test_tls_that_a_server_does_not_speak_is_named(
    redis_server: RedisServer, kind: str, cluster: str
) -> None:
    # The handshake's time counts against `retry_for`, so there is no retry.
    url = f"rediss://127.0.0.1:{redis_server.port}?timeout=1&retry_for=1&cluster={cluster}"
    with (
        RedisStore(url) as store,
        pytest.raises(StoreUnavailableError, match="TLS on this port"),
    ):
        store.get("n", "k") if kind == "sync" else asyncio.run(store.aget("n", "k"))


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_store_follows_what_sentinels_say(kind: str) -> None:
    with running_sentinel() as (sentinel, (master, replica)):
        hosts = [("127.0.0.1", sentinel.port)]
        client: Any
        if kind == "sync":
            client = Sentinel(hosts).master_for(MASTER, password=PASSWORD)
        else:
            client = AsyncSentinel(hosts).master_for(MASTER, password=PASSWORD)
        with RedisStore(client=client, retry_for=60) as store:
            check_both_worlds(store)
            wait_until(lambda: replica.execute("HLEN", "swarmstate:n") == 3, "it is replicated")
            master.kill()
            store.set("n", "after", 1)
            assert store.get("n", "sync") == "s"
            assert asyncio.run(store.aget("n", "after")) == 1
        assert replica.execute("HLEN", "swarmstate:n") == 4


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_sentinels_that_want_another_password_are_not_asked_again(kind: str) -> None:
    with running_sentinel() as (sentinel, _):
        sentinel.execute("ACL", "SETUSER", "default", "resetpass", ">other")
        hosts = [("127.0.0.1", sentinel.port)]
        watching = AsyncSentinel(hosts, sentinel_kwargs={"password": "se>cret"})
        client = watching.master_for(MASTER, password=PASSWORD)
        with (
            RedisStore(client=client, retry_for=86_400) as store,
            pytest.raises(StoreUnavailableError, match=r"sentinels refuse .* sentinel_kwargs") as e,
        ):
            store.get("n", "k") if kind == "sync" else asyncio.run(store.aget("n", "k"))
    assert "se>cret" not in "".join(format_exception(e.value))


def test_sentinels_that_are_away_are_named_without_their_settings() -> None:
    hosts = [("127.0.0.1", 1), ("127.0.0.1", 2)]
    watching = AsyncSentinel(hosts, sentinel_kwargs={"password": "secret"})
    client = watching.master_for(MASTER, password=PASSWORD)
    with (
        RedisStore(client=client, retry_for=0) as store,
        pytest.raises(StoreUnavailableError, match=r"did not answer \(ConnectionError\)$") as e,
    ):
        store.get("n", "k")
    assert "password=" not in "".join(format_exception(e.value))

"""Links to the server, cluster or Sentinel service that a URL or a client names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.connection import AbstractConnection as AsyncConnection
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.asyncio.sentinel import SentinelConnectionPool as AsyncSentinelPool
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection as Connection
from redis.connection import parse_url
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from swarmstate_redis.async_links import AsyncLink, ConnectionsLink
from swarmstate_redis.cluster import Address, AsyncClusterLink, ClusterLink, Slots
from swarmstate_redis.links import DirectLink, Link, PoolLink
from swarmstate_redis.urls import each_host, flag, unreadable

# The settings that sync and async connections share.
_COMMON = (
    "client_name",
    "credential_provider",
    "db",
    "host",
    "password",
    "path",
    "port",
    "protocol",
    "socket_connect_timeout",
    "socket_keepalive",
    "socket_keepalive_options",
    "ssl_ca_certs",
    "ssl_ca_data",
    "ssl_ca_path",
    "ssl_cert_reqs",
    "ssl_certfile",
    "ssl_check_hostname",
    "ssl_ciphers",
    "ssl_keyfile",
    "ssl_min_version",
    "ssl_password",
    "username",
    # From newer releases of redis-py.
    *(
        name
        for name in ("ssl_exclude_verify_flags", "ssl_include_verify_flags")
        if name in signature(redis.SSLConnection).parameters
    ),
)
_CERT_REQS = ("none", "optional", "required")
# Checks that only sync connections support.
_SYNC_CHECKS = ("ssl_validate_ocsp", "ssl_validate_ocsp_stapled")
_TLS_CLASSES = (redis.SSLConnection, redis.asyncio.SSLConnection)
# How many nodes of a cluster messages name.
_NAMED = 3
# Replies are read as bytes, even if the client decodes its own.
_SYNC_CLASSES: dict[type, type] = {
    redis.asyncio.Connection: redis.Connection,
    redis.asyncio.SSLConnection: redis.SSLConnection,
    redis.asyncio.UnixDomainSocketConnection: redis.UnixDomainSocketConnection,
}
_ASYNC_CLASSES = {sync: each for each, sync in _SYNC_CLASSES.items()}


class Target:
    """A server, a Sentinel service or a cluster.

    Attributes:
        name: Its address, without any password.
        link: Creates a link to it for threads.
        async_link: Creates a link to it for an event loop.
        cluster: Whether it is a cluster.
    """

    def __init__(
        self,
        name: str,
        link: Callable[[], Link],
        async_link: Callable[[], AsyncLink],
        *,
        cluster: bool = False,
    ) -> None:
        self.name = name
        self.cluster = cluster
        self.link = link
        self.async_link = async_link


def target_of_url(url: str, *, timeout: float, max_connections: int) -> Target:
    """Return the target of a URL.

    Raises:
        ValueError: It is not a Redis URL, or has unknown options.
    """
    try:
        options, *others = map(parse_url, each_host(url))
    except ValueError:
        # The original message may show part of the password.
        raise unreadable() from None
    connection_class = options.pop("connection_class", redis.Connection)
    cluster = flag("cluster", options.pop("cluster", "false"))
    for name in options:
        if name not in _COMMON:
            raise ValueError(
                f"unknown option {name!r} in a redis:// URL; expected cluster, an argument of "
                f"RedisStore, or one of {', '.join(_COMMON)}"
            )
        if name.startswith("ssl_") and connection_class is not redis.SSLConnection:
            raise ValueError(f"the option {name} requires TLS: use a rediss:// URL")
    asked = options.get("ssl_cert_reqs", "required")
    if asked not in _CERT_REQS:
        raise ValueError(
            f"expected ssl_cert_reqs to be one of {', '.join(_CERT_REQS)}, found {asked!r}"
        )
    options.setdefault("socket_connect_timeout", timeout)
    if cluster:
        seeds = [(each.get("host", "localhost"), _port(each)) for each in (options, *others)]
        return _cluster(connection_class, options, seeds, timeout, max_connections)
    if others:
        raise ValueError("expected one host in a redis:// URL, or cluster=true in its options")
    return _single(connection_class, options, timeout, max_connections)


def target_of_client(client: Any, *, timeout: float, max_connections: int) -> Target:
    """Return the target of a redis-py client.

    A sync client of one server is used as it is. Async connections belong to an event
    loop, so each loop gets its own, made from the client's settings; so does each node
    of a cluster.

    Raises:
        TypeError: It is not a redis-py client, or its connections are of a kind that does
            not exist both sync and async.
    """
    if isinstance(client, (redis.RedisCluster, redis.asyncio.RedisCluster)):
        options = dict(client.get_connection_kwargs())
        # A client made from a URL shows TLS only by the class.
        tls = bool(options.get("ssl")) or issubclass(
            options.get("connection_class", redis.Connection), _TLS_CLASSES
        )
        settings = {k: v for k, v in options.items() if tls or not k.startswith("ssl_")}
        nodes = client.get_nodes() or list(client.nodes_manager.startup_nodes.values())
        return _cluster(
            redis.SSLConnection if tls else redis.Connection,
            _common(settings),
            [(node.host, int(node.port)) for node in nodes],
            timeout,
            max_connections,
            remap=getattr(client.nodes_manager, "address_remap", None),
        )
    if not isinstance(client, (redis.Redis, redis.asyncio.Redis)):
        raise TypeError(
            "expected client to be a Redis or RedisCluster from redis or redis.asyncio, found "
            f"{type(client).__module__}.{type(client).__name__}"
        )
    pool = client.connection_pool
    for name in _SYNC_CHECKS:
        if pool.connection_kwargs.get(name):
            raise TypeError(
                f"expected a client without {name}, which redis-py's async connections do not "
                "support: the store needs both async and sync ones"
            )
    if isinstance(pool, (SentinelConnectionPool, AsyncSentinelPool)):
        return _sentinel(client, pool, timeout)
    kind: type = pool.connection_class
    options = pool.connection_kwargs
    if isinstance(client, redis.Redis):
        if kind not in _ASYNC_CLASSES:
            raise TypeError(_unknown_kind(kind))
        return _single(kind, _common(options), timeout, max_connections, client.connection_pool)
    if kind not in _SYNC_CLASSES:
        raise TypeError(_unknown_kind(kind))
    return _single(_SYNC_CLASSES[kind], _common(options), timeout, max_connections)


def _unknown_kind(kind: type) -> str:
    return (
        "expected the client to use redis-py's own TCP, TLS or Unix socket connections, found "
        f"{kind.__module__}.{kind.__name__}: the store needs both async and sync ones"
    )


def _single(
    kind: type,
    options: Mapping[str, Any],
    timeout: float,
    max_connections: int,
    pool: redis.ConnectionPool | None = None,
) -> Target:
    name = str(options.get("path") or f"{options.get('host', 'localhost')}:{_port(options)}")
    settings = _without_retries({"protocol": 2, **options})

    def link() -> Link:
        if pool is not None:
            return PoolLink(pool, owned=False)

        def connect() -> Connection:
            connection: Connection = kind(socket_timeout=timeout, **settings)
            return connection

        return DirectLink(connect, timeout, max_connections)

    async_class = _ASYNC_CLASSES[kind]

    def make() -> AsyncConnection:
        connection: AsyncConnection = async_class(**settings, **_ASYNC)
        return connection

    return Target(name, link, lambda: ConnectionsLink(make, timeout))


def _sentinel(client: Any, pool: Any, timeout: float) -> Target:
    manager = pool.sentinel_manager
    service = pool.service_name
    hosts = [
        (found["host"], found["port"])
        for found in (each.connection_pool.connection_kwargs for each in manager.sentinels)
    ]
    # Without this, a sentinel that accepts but does not answer would be waited for forever.
    watching = _without_retries(
        {"socket_timeout": timeout, **_common(manager.sentinel_kwargs, "ssl")}
    )
    tls = "SSL" in pool.connection_class.__name__
    settings = _without_retries({"protocol": 2, **_common(pool.connection_kwargs), "ssl": tls})

    def link() -> Link:
        if isinstance(client, redis.Redis):
            return PoolLink(client.connection_pool, owned=False)
        own = Sentinel(hosts, sentinel_kwargs=watching)
        master = own.master_for(service, socket_timeout=timeout, **settings)
        return PoolLink(master.connection_pool, owned=True, sentinels=own.sentinels)

    def async_link() -> AsyncLink:
        own = AsyncSentinel(hosts, sentinel_kwargs=watching)
        master = own.master_for(service, **settings, **_ASYNC)
        return ConnectionsLink(master.connection_pool.make_connection, timeout, own.sentinels)

    return Target(f"the Sentinel service {service!r}", link, async_link)


def _cluster(
    kind: type,
    options: Mapping[str, Any],
    seeds: Sequence[Address],
    timeout: float,
    max_connections: int,
    *,
    remap: Callable[[Address], Address] | None = None,
) -> Target:
    usual = {"protocol": 2, "socket_connect_timeout": timeout, **options}
    # A cluster has only one database, and each connection names its own node.
    settings = _without_retries(
        {k: v for k, v in usual.items() if k not in ("db", "host", "path", "port")}
    )
    async_class = _ASYNC_CLASSES[kind]

    def to_node(node: Address) -> DirectLink:
        def connect() -> Connection:
            connection: Connection = kind(
                host=node[0], port=node[1], socket_timeout=timeout, **settings
            )
            return connection

        return DirectLink(connect, timeout, max_connections)

    def to_node_async(node: Address) -> ConnectionsLink:
        def make() -> AsyncConnection:
            connection: AsyncConnection = async_class(
                host=node[0], port=node[1], **settings, **_ASYNC
            )
            return connection

        return ConnectionsLink(make, timeout)

    return Target(
        f"the cluster of {', '.join(f'{host}:{port}' for host, port in seeds[:_NAMED])}",
        lambda: ClusterLink(Slots(seeds, remap), to_node),
        lambda: AsyncClusterLink(Slots(seeds, remap), to_node_async),
        cluster=True,
    )


# A link has its own timeout, with one timer for all replies rather than one for each.
_ASYNC: dict[str, Any] = {"socket_timeout": None, "socket_read_size": 65_536}


def _without_retries(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return connection options that leave retries to the store."""
    return {**options, "retry": Retry(NoBackoff(), 0)}


def _common(options: Mapping[str, Any], *more: str) -> dict[str, Any]:
    # None is the default of each setting except ssl_cert_reqs, where None means no check.
    return {
        name: options[name]
        for name in (*_COMMON, *more)
        if name in options and (options[name] is not None or name == "ssl_cert_reqs")
    }


def _port(options: Mapping[str, Any]) -> int:
    return int(options.get("port") or 6379)

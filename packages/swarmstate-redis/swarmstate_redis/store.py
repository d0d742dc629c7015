"""The store in Redis."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from swarmstate.base import (
    BaseStore,
    Batch,
    Query,
    Result,
    check_batches,
    check_count,
    check_listing,
    check_name,
    check_numbers,
    check_queries,
    check_ttl,
)
from swarmstate.batching import Batcher
from swarmstate.errors import StoreClosedError
from swarmstate.forking import leave_to_parent, renew_in_children
from swarmstate.loops import PerLoop

from swarmstate_redis.async_links import AsyncLink
from swarmstate_redis.commands import Command, Exchange, Operation, Outcome, Words, all_done
from swarmstate_redis.links import Link
from swarmstate_redis.names import Names
from swarmstate_redis.planning import Planner
from swarmstate_redis.targets import target_of_client, target_of_url
from swarmstate_redis.urls import StoreUrl

if TYPE_CHECKING:
    from swarmstate.base import Allow

__all__ = ["RedisStore", "open_url"]

T = TypeVar("T")

# How many round trips an event loop may have in progress, and how many bytes each carries.
_LANES = 2
_TRIP_BYTES = 4 * 1024 * 1024
_REQUEST_BYTES = 4 * 1024


class RedisStore(BaseStore):
    """A store of records in Redis or Valkey, or in a cluster of them.

    Any number of threads, event loops and processes can use the same server; each
    sees the records of all others as soon as they are written. Tasks of an event
    loop that call at the same moment share a round trip.

    Requests whose connection is lost are retried. Nothing that would do harm is
    applied twice, and an applied batch does not conflict with its own retry.

    Args:
        url: `redis://user:password@host:6379/0`, or `rediss://` for TLS, as in
            redis-py. With `?cluster=true`, it names one or more nodes of a cluster,
            `host:6379,other:6379`, at least one of which must be up at first. It may also
            contain the options from `prefix` to `max_connections`:
            `?prefix=agents&ttl=3600`. Arguments override the URL.
        client: A redis-py client to use instead of a URL: sync or async, of a server, a
            cluster or a service behind Sentinel. Closing the store leaves it open.
        prefix: The prefix of all keys (default "swarmstate"). Stores with different
            prefixes are separate, unless one prefix continues the other after a colon.
        ttl: Seconds after the last write at which a namespace expires; None (default)
            keeps it. A time to live set by a write takes precedence.
        refresh_on_read: Whether reading a namespace also renews `ttl` (default False).
        timeout: Seconds to wait for a connection, and for the answer to one request
            (default 30); a URL may call it `socket_timeout`.
        retry_for: Seconds for which a request is retried while the server is
            unreachable, starting or failing over (default 5).
        max_connections: The maximum number of connections for the threads of a process
            (default 50). Each event loop has two of its own. In a cluster, these
            numbers apply to each node.
        allow: Classes that may be constructed when values are read, besides those the
            codec knows; see `swarmstate.codec.Codec`.

    Raises:
        ValueError: The URL or an option is invalid. The first connection is made by
            the first call.
        TypeError: The client is not from redis-py, the URL is not a string, or an
            option that must be a number is not one.
    """

    system = "redis"

    def __init__(
        self,
        url: str | None = None,
        *,
        client: Any = None,
        prefix: str | None = None,
        ttl: float | None = None,
        refresh_on_read: bool | None = None,
        timeout: float | None = None,
        retry_for: float | None = None,
        max_connections: int | None = None,
        allow: Allow = (),
    ) -> None:
        """Set up the store."""
        super().__init__(allow=allow)
        if (url is None) == (client is None):
            found = "neither" if url is None else "both"
            raise ValueError(f"expected either a url or a client, found {found}")
        _check_url(url)
        parsed = None if url is None else StoreUrl.parse(url)
        options: dict[str, Any] = {**_DEFAULTS, **(parsed.options if parsed is not None else {})}
        given = {
            "prefix": prefix,
            "ttl": ttl,
            "refresh_on_read": refresh_on_read,
            "timeout": timeout,
            "retry_for": retry_for,
            "max_connections": max_connections,
        }
        options.update({name: value for name, value in given.items() if value is not None})
        _check(options)
        limits = {name: options[name] for name in ("timeout", "max_connections")}
        if parsed is not None:
            self._target = target_of_url(parsed.server, **limits)
        else:
            self._target = target_of_client(client, **limits)
        self._planner = Planner(
            Names(options["prefix"]),
            cluster=self._target.cluster,
            server=self._target.name,
            ttl=options["ttl"],
            refresh_on_read=options["refresh_on_read"],
        )
        self._prefix: str = options["prefix"]
        self._retry_for: float = options["retry_for"]
        self._closed = False
        self._link: Link | None = None
        self._open()
        renew_in_children(self, RedisStore._renew)

    def _renew(self) -> None:
        """Leave event loops' connections to the parent; links of threads detect a fork."""
        leave_to_parent(self._loops, self._loops.loops())
        self._open()

    def _open(self) -> None:
        self._lock = Lock()
        self._loops = PerLoop(self._open_in_loop, _LoopLink.close, _LoopLink.abandon)

    def __repr__(self) -> str:
        """Return the class, the prefix and the server."""
        return f"<{type(self).__name__} {self._prefix!r} on {self._target.name}>"

    def read(self, queries: Sequence[Query]) -> list[Result]:
        """Answer `queries` in one round trip, with one `Result` each, in order."""
        check_queries(queries)
        return self._run(self._planner.read(queries))

    async def aread(self, queries: Sequence[Query]) -> list[Result]:
        """Answer `queries` as `read` does."""
        check_queries(queries)
        return await self._arun(self._planner.read(queries))

    def write(self, batches: Sequence[Batch]) -> None:
        """Apply `batches` in order, each atomically, in one round trip.

        All of them are applied in one step, so no reader sees some without the
        others. In a cluster, each batch is a step of its own, and one that follows
        an expectation takes another round trip.

        Raises:
            ConflictError: An expectation did not hold. That batch and those
                after it were not applied; those before it were.
            StoreIncompleteError: A part of a namespace is missing.
            StoreUnavailableError: The server cannot be reached, or accepts no
                writes. If it did not answer in time, the write may have been
                applied.
        """
        check_batches(batches)
        self._run(self._planner.write(batches))

    async def awrite(self, batches: Sequence[Batch]) -> None:
        """Apply `batches` as `write` does.

        A canceled call may have been applied.
        """
        check_batches(batches)
        await self._arun(self._planner.write(batches))

    def namespaces(
        self, prefix: str = "", *, after: str | None = None, limit: int | None = None
    ) -> list[str]:
        """Return the namespaces that start with `prefix`, in UTF-8 byte order.

        They come from an index; each is returned only if it still exists.
        """
        check_listing(prefix, after, limit)
        return self._run(self._planner.namespaces(prefix, after, limit))

    async def anamespaces(
        self, prefix: str = "", *, after: str | None = None, limit: int | None = None
    ) -> list[str]:
        """Return namespaces as `namespaces` does."""
        check_listing(prefix, after, limit)
        return await self._arun(self._planner.namespaces(prefix, after, limit))

    def copy(self, source: str, target: str) -> None:
        """Atomically replace the records of `target` with those of `source`.

        The server copies, unless the two are in different slots of a cluster: then
        the records pass through this process. Either way, `target` gets what
        `source` held at one moment.
        """
        check_name(source, "source")
        check_name(target, "target")
        self._run(self._planner.copy(source, target))

    async def acopy(self, source: str, target: str) -> None:
        """Copy a namespace as `copy` does."""
        check_name(source, "source")
        check_name(target, "target")
        await self._arun(self._planner.copy(source, target))

    def close(self) -> None:
        """Close the connections that the store opened; a given client stays open."""
        with self._lock:
            self._closed = True
            link, self._link = self._link, None
        if link is not None:
            link.close()
        self._loops.close()

    async def aclose(self) -> None:
        """Close the connections as `close` does."""
        self._closed = True
        await self._loops.aclose()
        self.close()

    def _run(self, operation: Operation[T]) -> T:
        link = self._open_link()
        outcomes: list[Outcome] | None = None
        while True:
            try:
                commands = operation.send(outcomes) if outcomes is not None else next(operation)
            except StopIteration as done:
                result: T = done.value
                return result
            started = time.monotonic()
            outcomes = link.send([command.words for command in commands])
            if all_done(outcomes):
                continue
            exchange = self._exchange(commands, outcomes, started)
            while words := exchange.words():
                if exchange.delay:
                    time.sleep(exchange.delay)
                exchange.settle(link.send(words))
            outcomes = exchange.outcomes

    async def _arun(self, operation: Operation[T]) -> T:
        if self._closed:
            raise StoreClosedError
        link = self._loops.get()
        outcomes: list[Outcome] | None = None
        while True:
            try:
                commands = operation.send(outcomes) if outcomes is not None else next(operation)
            except StopIteration as done:
                result: T = done.value
                return result
            started = time.monotonic()
            outcomes = await link.send([command.words for command in commands])
            if all_done(outcomes):
                continue
            exchange = self._exchange(commands, outcomes, started)
            while words := exchange.words():
                if exchange.delay:
                    await asyncio.sleep(exchange.delay)
                exchange.settle(await link.send(words))
            outcomes = exchange.outcomes

    def _exchange(
        self, commands: Sequence[Command], outcomes: Sequence[Outcome], started: float
    ) -> Exchange:
        """Return the exchange that continues after a first attempt with a failed command."""
        only_reads = self._planner.only_reads
        return Exchange(commands, outcomes, started, self._retry_for, only_reads=only_reads)

    def _open_link(self) -> Link:
        if self._closed:
            raise StoreClosedError
        link = self._link
        if link is None:
            with self._lock:
                if self._closed:
                    raise StoreClosedError
                if self._link is None:
                    self._link = self._target.link()
                link = self._link
        return link

    def _open_in_loop(self) -> _LoopLink:
        return _LoopLink(self._target.async_link())


class _LoopLink:
    """The link of an event loop, whose tasks share its round trips."""

    def __init__(self, link: AsyncLink) -> None:
        self._link = link
        self._batcher = Batcher(self._round_trip, lanes=_LANES, limit=_TRIP_BYTES)

    def send(self, words: Sequence[Words]) -> asyncio.Future[list[Outcome]]:
        size = sum(sum(map(len, each)) for each in words)
        return self._batcher.ask(words, _REQUEST_BYTES + size)

    async def _round_trip(self, requests: Sequence[Sequence[Words]]) -> list[list[Outcome]]:
        outcomes = iter(await self._link.send([words for each in requests for words in each]))
        return [[next(outcomes) for _ in each] for each in requests]

    async def close(self) -> None:
        try:
            await self._batcher.drain()
        finally:
            # Even if the loop ends meanwhile, which cancels everything.
            await self._link.close()

    def abandon(self) -> None:
        self._link.abandon()


def open_url(url: str, **options: Any) -> RedisStore:
    """Open the store at `redis://…` or `rediss://…`; options are those of `RedisStore`."""
    return RedisStore(url, **options)


_DEFAULTS: dict[str, Any] = {
    "prefix": "swarmstate",
    "ttl": None,
    "refresh_on_read": False,
    "timeout": 30.0,
    "retry_for": 5.0,
    "max_connections": 50,
}


def _check_url(url: object) -> None:
    if url is not None and not isinstance(url, str):
        raise TypeError(
            f"expected url to be a str, found {type(url).__module__}.{type(url).__qualname__}; "
            "pass a redis-py client as client="
        )


def _check(options: Mapping[str, Any]) -> None:
    check_ttl(options["ttl"])
    timeout, retry_for = options["timeout"], options["retry_for"]
    connections = options["max_connections"]
    check_numbers(timeout=timeout, retry_for=retry_for)
    check_count("max_connections", connections)
    if not (timeout > 0 and math.isfinite(timeout)) or not retry_for >= 0:
        raise ValueError(
            "expected timeout to be a positive, finite number of seconds and retry_for to be at "
            f"least 0, found {timeout!r} and {retry_for!r}"
        )
    if connections < 1:
        raise ValueError(f"expected max_connections of 1 or more, found {connections!r}")

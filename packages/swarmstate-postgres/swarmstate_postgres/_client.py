"""Requests over the connections of one event loop, retried if a connection breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from swarmstate.base import Query, Result
from swarmstate.batching import Batcher
from swarmstate.errors import StoreError, StoreReadOnlyError, SwarmStateError

from ._connecting import Database, Source, within
from ._failures import is_full, is_passing, is_rolled_back, store_error
from ._requests import (
    Write,
    conflict_of,
    read_arguments,
    renewals,
    results_of,
    write_arguments,
)

if TYPE_CHECKING:
    from ._connecting import AnyConnection

__all__ = ["Client"]

T = TypeVar("T")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5
# Limits of a round trip that several callers share.
_ROUND_TRIP_BYTES = 4_000_000
_ROUND_TRIP_QUERIES = 200
# The server closes a connection that sends more (1 GiB), which looks like any lost connection.
_LONGEST_WRITE = 1_000_000_000

Ask = Callable[["AnyConnection", "float | None", float], Awaitable[T]]
"""Sends a request over a connection, given a server time and a timeout.

The time is shortly before the first attempt, or None if this is the first.
"""


class Client:
    """Sends requests to a database over the connections of one event loop.

    Args:
        database: The database.
        source: Where connections come from.
        size: How many round trips may be in progress at once.
        has_others: Returns whether another client could send a request instead, if the server
            has no room for another connection.
    """

    def __init__(
        self,
        database: Database,
        source: Source,
        size: int,
        has_others: Callable[[], bool] = lambda: False,
    ) -> None:
        self._database = database
        self._source = source
        self._has_others = has_others
        reading = max(1, size // 2)
        self._reads: Batcher[Sequence[Query], list[Result]] = Batcher(
            self._read_together, lanes=reading, limit=_ROUND_TRIP_QUERIES
        )
        self._writes: Batcher[Write, None] = Batcher(
            self._write_together, lanes=max(1, size - reading), limit=_ROUND_TRIP_BYTES
        )

    async def aclose(self) -> None:
        """Finish pending requests and close the connections."""
        try:
            await self._reads.drain()
            await self._writes.drain()
        finally:
            # Even if the loop ends meanwhile, which cancels everything.
            await self._source.aclose()

    def abandon(self) -> None:
        """Drop the connections without running their loop."""
        self._source.abandon()

    def next_transport(self) -> asyncio.Transport | None:
        """Return the transport of the next request, if it is simple and alive."""
        return self._source.next_transport()

    def read_shared(self, queries: Sequence[Query]) -> asyncio.Future[list[Result]]:
        """Answer queries, sharing a round trip with other tasks."""
        return self._reads.ask(queries, len(queries))

    def write_shared(self, write: Write) -> asyncio.Future[None]:
        """Apply a write, sharing a round trip with other tasks."""
        return self._writes.ask(write, write.weight)

    async def read(self, queries: Sequence[Query]) -> list[Result]:
        """Answer queries in a round trip of their own."""
        arguments = read_arguments(queries)
        renewed = renewals(queries)
        sql = self._database.renew_sql if renewed else self._database.read_sql
        try:
            rows = await self.fetch(sql, *arguments, *renewed)
        except StoreReadOnlyError:
            if not renewed:
                raise
            # A standby answers, but cannot renew times to live.
            queries = [query._replace(ttl=None) for query in queries]
            rows = await self.fetch(self._database.read_sql, *arguments)
        return results_of(queries, rows)

    async def write(self, write: Write) -> None:
        """Apply a write in a round trip of its own."""
        [outcome] = await self._write_all([write])
        if outcome is not None:
            raise outcome

    async def fetch(self, sql: str, *arguments: Any) -> list[Any]:
        """Return the rows of a statement that is safe to retry."""

        async def ask(connection: AnyConnection, since: float | None, timeout: float) -> list[Any]:
            rows: list[Any] = await connection.fetch(sql, *arguments, timeout=timeout)
            return rows

        return await self._persist(ask)

    async def work(self, do: Callable[[AnyConnection], Coroutine[Any, Any, T]]) -> T:
        """Do work over a connection; it must be safe to retry."""

        async def ask(connection: AnyConnection, since: float | None, timeout: float) -> T:
            return await within(timeout, connection, do(connection))

        return await self._persist(ask)

    async def setup(self) -> None:
        """Create missing tables, even if they were there before."""
        self._database.is_ready = False

        async def nothing(connection: AnyConnection, since: float | None, timeout: float) -> None:
            return None

        await self._persist(nothing)

    async def _read_together(
        self, requests: Sequence[Sequence[Query]]
    ) -> Sequence[list[Result] | Exception]:
        queries = [query for request in requests for query in request]
        try:
            results = await self.read(queries)
        except SwarmStateError as error:
            if len(requests) == 1 or _is_outage(error):
                raise
            return await _one_by_one(self.read, requests)
        answers: list[list[Result] | Exception] = []
        start = 0
        for request in requests:
            answers.append(results[start : start + len(request)])
            start += len(request)
        return answers

    async def _write_together(self, writes: Sequence[Write]) -> Sequence[Exception | None]:
        try:
            return await self._write_all(writes)
        except SwarmStateError as error:
            if len(writes) == 1 or _is_outage(error):
                raise
            # The transaction applied none of them. One that fails must not fail the others.
            return await _one_by_one(self.write, writes)

    async def _write_all(self, writes: Sequence[Write]) -> list[SwarmStateError | None]:
        async def ask(connection: AnyConnection, since: float | None, timeout: float) -> list[Any]:
            rows: list[Any] = await connection.fetch(
                self._database.write_sql, *write_arguments(since, writes), timeout=timeout
            )
            return rows

        for write in writes:
            if write.weight > _LONGEST_WRITE:
                raise StoreError(
                    f"expected a write of at most {_LONGEST_WRITE:,} bytes, about PostgreSQL's "
                    f"limit, found one of {write.weight:,} bytes for namespace "
                    f"{write.changes[0].namespace!r}. Nothing was sent; write less at once, or "
                    "store large values elsewhere"
                )
        outcomes: list[SwarmStateError | None] = [None] * len(writes)
        *refused, (*_, server_time) = await self._persist(ask, writes=True)
        self._database.clock.saw(server_time)
        for row in refused:
            writer, error = conflict_of(writes, row)
            outcomes[writer] = error
        return outcomes

    async def _persist(self, ask: Ask[T], *, writes: bool = False) -> T:
        """Send a request until it is answered, over a new connection each time one breaks.

        Args:
            ask: Sends the request.
            writes: Whether the time that `ask` gets must be recent.

        Raises:
            SwarmStateError: The server refused, or could not be reached in time.
            TooManyConnectionsError: Nothing was sent yet, and another client could send it.
        """
        database = self._database
        started = monotonic()
        deadline = started + database.timeout
        since: float | None = None
        pause = _FIRST_PAUSE
        while True:
            asked_before = since
            try:
                async with self._source.connection(max(0.1, deadline - monotonic())) as connection:
                    await database.make_ready(connection, max(0.1, deadline - monotonic()))
                    if writes and since is None:
                        await database.renew_clock(connection, max(0.1, deadline - monotonic()))
                    since = since or database.clock.time()
                    return await ask(connection, asked_before, max(0.1, deadline - monotonic()))
            except SwarmStateError:
                raise
            except Exception as error:
                if is_full(error) and since is None and self._has_others():
                    raise
                now = monotonic()
                if not is_passing(error) or now + pause > deadline:
                    waited = now - started if is_passing(error) else None
                    wrapped = store_error(error, database.name, waited=waited)
                    if wrapped is None:
                        raise
                    raise wrapped from error
                if is_rolled_back(error):
                    # This attempt applied nothing, but an earlier one may have.
                    since = asked_before
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)


_LATE = (asyncio.TimeoutError, TimeoutError)


async def _one_by_one(
    do: Callable[[Any], Awaitable[Any]], requests: Sequence[Any]
) -> list[Any | Exception]:
    outcomes: list[Any | Exception] = []
    late = 0
    for request in requests:
        try:
            outcomes.append(await do(request))
            late = 0
        except SwarmStateError as error:
            outcomes.append(error)
            # One timeout may come from a lock that only this request waits for. After two in a
            # row, each of the others would likely wait as long.
            late = late + 1 if isinstance(error.__cause__, _LATE) else 0
            if late > 1 or _is_outage(error):
                return [*outcomes, *[error] * (len(requests) - len(outcomes))]
    return outcomes


def _is_outage(error: SwarmStateError) -> bool:
    """Return whether the server was unavailable for a whole call, and so for all requests."""
    cause = error.__cause__
    return cause is not None and is_passing(cause) and not isinstance(cause, _LATE)

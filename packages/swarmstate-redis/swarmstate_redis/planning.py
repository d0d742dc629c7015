"""Translates the operations of a store to Redis commands, and replies to results."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence

from swarmstate.base import Batch, Expect, Query, Range, Result, prefix_end
from swarmstate.errors import ConflictError, StoreError, StoreFormatError, StoreReadOnlyError

from swarmstate_redis.commands import Command, Operation, Outcome, Script
from swarmstate_redis.failures import cause_of, incomplete, lost_index, store_error
from swarmstate_redis.names import Names, slot_of
from swarmstate_redis.tokens import Tokens

_READ, _WRITE = Script("expiry", "read"), Script("names", "expiry", "write")
_COPY, _FORGET, _ENTER = Script("names", "copy"), Script("forget"), Script("names", "enter")

# Namespaces listed in one round trip.
_PAGE = 1_000
# 3,000 years in ms; Redis counts the ms since 1970 in 64 bits.
_LONGEST = 10**14
_MOST = 2**62
# The longest bulk string (the default of proto-max-bulk-len).
_LONGEST_WORD = 512 * 1024 * 1024
# The most words of a command, before the release that lifted the limit.
_MOST_WORDS = 1024 * 1024
_UNLIMITED_SINCE = 7
_VERSION = re.compile(rb"^redis_version:(\d+)", re.MULTILINE)


class Planner:
    """Translates store operations to commands, and their replies to results.

    Args:
        names: The keys of the store.
        cluster: Whether the keys are spread over the slots of a cluster, so that a
            script can access only one namespace.
        server: The server's address, for messages.
        ttl: The time to live that each write gives its namespace, unless it sets its own.
        refresh_on_read: Whether reads do so, too.

    Attributes:
        only_reads: Whether the server has never accepted a write, despite retries. So it is a
            replica addressed directly, not a master that is being replaced.
    """

    def __init__(
        self,
        names: Names,
        *,
        cluster: bool,
        server: str,
        ttl: float | None,
        refresh_on_read: bool,
    ) -> None:
        self._names = names
        self._cluster = cluster
        self._server = server
        self._ttl = ttl
        self._read_ttl = ttl if refresh_on_read else None
        self._tokens = Tokens()
        self.only_reads = False
        self._has_written = False

    def read(self, queries: Sequence[Query]) -> Operation[list[Result]]:
        """Answer queries in one round trip."""
        groups = [[query] for query in queries] if self._cluster else [queries] if queries else []
        if not groups:
            return []
        outcomes = yield from self._sendable([self._read_command(group) for group in groups])
        results: list[Result] = []
        for group, outcome in zip(groups, outcomes, strict=True):
            answers = self._checked(outcome, [query.namespace for query in group])
            results += map(self._result, group, answers)
        return results

    def _read_command(self, queries: Sequence[Query]) -> Command:
        keys: list[bytes] = []
        arguments: list[bytes] = []
        for namespace, points, ranges, ttl, ask_ttl in queries:
            names = self._names.of(namespace)
            keys += names[:2]
            ms = _milliseconds(self._read_ttl if ttl is None else ttl)
            arguments.append(b"%d %d %d %d" % (len(points), len(ranges), ms, bool(ask_ttl)))
            arguments += map(str.encode, points)
            for wanted in ranges:
                limit = -1 if wanted.limit is None else min(wanted.limit, _MOST)
                flags = (b"r" if wanted.reverse else b"") + (b"k" if wanted.keys_only else b"")
                arguments += (*_bounds(wanted.start, wanted.stop), b"%d" % limit, flags)
        return Command.of_script(_READ, keys, arguments)

    def _result(self, query: Query, answer: list[Outcome]) -> Result:
        parts = iter(answer)
        values = next(parts)
        ranges = [self._range(query.namespace, wanted, parts) for wanted in query.ranges]
        return Result(values, ranges, _seconds(next(parts)) if query.ask_ttl else None)

    def _range(
        self, namespace: str, wanted: Range, parts: Iterator[list[bytes]]
    ) -> list[tuple[str, bytes]]:
        try:
            keys = [key.decode() for key in next(parts)]
        except UnicodeDecodeError as error:
            raise StoreFormatError(
                f"expected the keys of namespace {namespace!r} on Redis at {self._server} to be "
                f"UTF-8, found {error.object!r}: something other than swarmstate wrote it"
            ) from None
        if wanted.keys_only:
            return [(key, b"") for key in keys]
        values = next(parts)
        there = sum(value is not None for value in values)
        if there < len(keys):
            raise incomplete(namespace, self._server, there, len(keys))
        return list(zip(keys, values, strict=True))

    def write(self, batches: Sequence[Batch]) -> Operation[None]:
        """Apply batches; in one round trip unless in a cluster."""
        if not self._cluster:
            if batches:
                command = self._write_command(batches, all_namespaces=True)
                [outcome] = yield from self._sendable([command])
                self._applied(outcome, batches)
            return
        for run in _runs(batches):
            commands = [self._write_command(group, all_namespaces=False) for group in run]
            entered = [group[0].namespace for group in run if any(map(_puts, group))]
            if entered:
                commands.append(self._enter(entered))
            outcomes = yield from self._sendable(commands)
            created = [
                group[0].namespace
                for group, outcome in zip(run, outcomes, strict=False)
                if self._applied(outcome, group)
            ]
            if entered:
                self._checked(outcomes[-1], entered)
            if created:
                # Meanwhile, a call that lists namespaces may have removed the name again.
                outcomes = yield [self._enter(created)]
                self._checked(outcomes[0], created)

    def _write_command(self, batches: Sequence[Batch], *, all_namespaces: bool) -> Command:
        keys: list[bytes] = []
        arguments = [b"0"]
        for batch in batches:
            namespace, put, absent, delete, ranges, clear, ttl, expect, values = batch
            keys += self._names.of(namespace)
            ms = _milliseconds(self._ttl if ttl is None else ttl)
            counts = (len(ranges), len(delete), len(absent), len(put))
            expected = (expect is not None, len(values), bool(clear), ms)
            arguments.append(b"%d %d %d %d %d %d %d %d" % (*expected, *counts))
            arguments.append(namespace.encode())
            if _expects(batch):
                arguments.append(self._tokens.next())
            if expect is not None:
                last_key = (expect.last_key or "").encode()
                arguments += (*_bounds(expect.prefix, prefix_end(expect.prefix)), last_key)
            for key, value in values.items():
                arguments += (key.encode(), b"" if value is None else b"=" + value)
            for start, stop in ranges:
                arguments += _bounds(start, stop)
            arguments += map(str.encode, delete)
            for records in (absent, put):
                for key, value in records.items():
                    arguments += (key.encode(), value)
        if all_namespaces:
            keys += (self._names.namespaces, self._names.witness)
        if max(map(len, arguments)) > _LONGEST_WORD:
            raise self._too_long(batches)
        command = Command.of_script(_WRITE, keys, arguments)
        return command._replace(mark=len(command.words) - len(arguments))

    def _too_long(self, batches: Sequence[Batch]) -> StoreError:
        namespace, key, value = max(
            (
                (batch.namespace, key, value)
                for batch in batches
                for records in (batch.put, batch.put_if_absent, batch.expect_values)
                for key, value in records.items()
                if value is not None
            ),
            key=lambda found: len(found[2]),
        )
        return StoreError(
            f"expected values of at most {_LONGEST_WORD:,} bytes, the limit of Redis; found one "
            f"of {len(value):,} bytes in namespace {namespace!r} under key {key!r}. Nothing was "
            "sent; store it in parts, or elsewhere"
        )

    def _sendable(self, commands: Sequence[Command]) -> Operation[list[Outcome]]:
        """Send commands, unless one has more words than the server takes."""
        most = max(len(command.words) for command in commands)
        if most > _MOST_WORDS:
            # A server that is too old closes the connection, which looks like any lost connection.
            [said] = yield [Command([b"INFO", b"server"])]
            found = None if isinstance(said, Exception) else _VERSION.search(said)
            if found is not None and int(found[1]) < _UNLIMITED_SINCE:
                raise StoreError(
                    f"expected requests of at most {_MOST_WORDS:,} arguments, the limit of Redis "
                    f"before {_UNLIMITED_SINCE}.0, found one of {most:,} for Redis at "
                    f"{self._server}. Nothing was sent; read or write less at once (each record "
                    "put takes two arguments), or use a newer server"
                )
        outcomes = yield commands
        return outcomes

    def _applied(self, outcome: Outcome, batches: Sequence[Batch]) -> bool:
        """Return whether the last batch created its namespace.

        Raises:
            ConflictError: An expectation did not hold.
        """
        reply = self._checked(outcome, [batch.namespace for batch in batches])
        if isinstance(reply, int):
            self._has_written, self.only_reads = True, False
            return bool(reply)
        number, what, found = reply
        refused: Batch = batches[number - 1]
        key = found.decode(errors="replace") or None
        if what == b"last":
            expected: Expect | None = refused.expect
            assert expected is not None
            reason = (
                f"the last key starting with {expected.prefix!r} to be {expected.last_key!r}, "
                f"found {key!r}"
            )
        else:
            reason = f"a different value for key {key!r}"
        raise ConflictError(
            f"in namespace {refused.namespace!r}, expected {reason}; nothing in the batch was "
            "applied: read again and retry"
        )

    def namespaces(self, prefix: str, after: str | None, limit: int | None) -> Operation[list[str]]:
        """List namespaces, and remove those that are gone from the index."""
        least, greatest = _bounds(prefix, prefix_end(prefix))
        if not prefix:
            # The empty name is not a namespace.
            least = b"("
        if after is not None and after >= prefix:
            least = b"(" + after.encode()
        found: list[str] = []
        while limit is None or len(found) < limit:
            wanted = _PAGE if limit is None else min(limit - len(found), _PAGE)
            words = [b"ZRANGEBYLEX", self._names.namespaces, least, greatest]
            page: list[bytes]
            # In this order, so that a store created meanwhile does not seem to have lost its index.
            outcomes = yield [
                Command([b"EXISTS", self._names.witness]),
                Command([b"ZSCORE", self._names.namespaces, b""]),
                Command([*words, b"LIMIT", b"0", b"%d" % wanted]),
            ]
            is_used, empty_name, page = map(self._checked, outcomes)
            if is_used and empty_name is None:
                raise lost_index(self._server, self._names.namespaces.decode())
            if page:
                found += yield from self._existing([name.decode() for name in page])
                least = b"(" + page[-1]
            if len(page) < wanted:
                break
        return found

    def _existing(self, namespaces: Sequence[str]) -> Operation[list[str]]:
        keys = [self._names.of(namespace)[:2] for namespace in namespaces]
        if not self._cluster:
            # Usually all of them exist, which one number shows.
            [outcome] = yield [Command([b"EXISTS", *(key for pair in keys for key in pair)])]
            if self._checked(outcome) == 2 * len(keys):
                return list(namespaces)
        outcomes = yield [Command([b"EXISTS", *pair]) for pair in keys]
        gone = {
            namespace: pair
            for namespace, pair, outcome in zip(namespaces, keys, outcomes, strict=True)
            if not self._checked(outcome)
        }
        if gone:
            yield from self._forget(gone)
        return [namespace for namespace in namespaces if namespace not in gone]

    def _forget(self, gone: dict[str, tuple[bytes, bytes]]) -> Operation[None]:
        encoded = [namespace.encode() for namespace in gone]
        everything = self._names.namespaces
        if not self._cluster:
            keys = [everything, *(key for pair in gone.values() for key in pair)]
            [outcome] = yield [Command.of_script(_FORGET, keys, encoded)]
            self._checked(outcome)
            return
        # A writer enters the name after it creates the namespace. If the name is removed here
        # before that, it is entered again; if after that, the namespace is found below.
        [outcome] = yield [Command([b"ZREM", everything, *encoded])]
        self._checked(outcome)
        outcomes = yield [Command([b"EXISTS", *pair]) for pair in gone.values()]
        back = [
            name for name, outcome in zip(gone, outcomes, strict=True) if self._checked(outcome)
        ]
        if back:
            [outcome] = yield [self._enter(back)]
            self._checked(outcome)

    def copy(self, source: str, target: str) -> Operation[None]:
        """Copy a namespace: on the server if both are in one place, else through this process."""
        if source == target:
            return
        from_keys, to_keys = self._names.of(source), self._names.of(target)
        if not self._cluster or slot_of(from_keys.data) == slot_of(to_keys.data):
            keys = [*from_keys[:2], *to_keys[:2]]
            if not self._cluster:
                keys += (self._names.namespaces, self._names.witness)
            [outcome] = yield [Command.of_script(_COPY, keys, [target.encode()])]
            if self._checked(outcome, [source]) and self._cluster:
                [outcome] = yield [self._enter([target])]
                self._checked(outcome)
            return
        [found] = yield from self.read([Query(source, ranges=[Range()], ask_ttl=True)])
        [records] = found.ranges
        yield from self.write([Batch(target, clear=True, put=dict(records), ttl=found.ttl)])

    def _enter(self, namespaces: Iterable[str]) -> Command:
        keys = [self._names.namespaces, self._names.witness]
        return Command.of_script(_ENTER, keys, [name.encode() for name in namespaces])

    def _checked(self, outcome: Outcome, namespaces: Sequence[str] = ()) -> Outcome:
        if isinstance(outcome, Exception):
            error = store_error(outcome, self._server, namespaces)
            if isinstance(error, StoreReadOnlyError):
                self.only_reads = not self._has_written
            raise error from cause_of(outcome)
        return outcome


def _runs(batches: Sequence[Batch]) -> Iterator[list[list[Batch]]]:
    """Cut batches into runs that can be sent together, each of one group per namespace.

    Batches after an expectation must wait for its outcome. The groups of a run are
    independent, so their order does not matter.
    """
    run: list[list[Batch]] = []
    for batch in batches:
        if run and run[-1][0].namespace == batch.namespace:
            run[-1].append(batch)
        elif any(group[0].namespace == batch.namespace for group in run) or (
            run and any(map(_expects, run[-1]))
        ):
            yield run
            run = [[batch]]
        else:
            run.append([batch])
    if run:
        yield run


def _expects(batch: Batch) -> bool:
    return batch.expect is not None or bool(batch.expect_values)


def _puts(batch: Batch) -> bool:
    return bool(batch.put or batch.put_if_absent)


def _bounds(start: str, stop: str | None) -> tuple[bytes, bytes]:
    """Return a key range as arguments of ZRANGEBYLEX."""
    least = b"[" + start.encode() if start else b"-"
    return least, b"+" if stop is None else b"(" + stop.encode()


def _milliseconds(ttl: float | None) -> int:
    """Return a time to live for the scripts: 0 leaves the expiry, -1 removes it."""
    if ttl is None:
        return 0
    if math.isinf(ttl):
        return -1
    return max(1, min(math.ceil(ttl * 1_000), _LONGEST))


def _seconds(ms: int) -> float | None:
    """Return the time to live of a `Result` from a reply of PTTL."""
    if ms < 0:
        return math.inf if ms == -1 else None
    return ms / 1_000

"""A third-party store in pure Python passes the contract."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock

from swarmstate.base import (
    BaseStore,
    Batch,
    Query,
    Range,
    Result,
    check_batches,
    check_listing,
    check_name,
    check_queries,
    prefix_end,
)
from swarmstate.errors import ConflictError, StoreClosedError
from swarmstate.testing import StoreContract


class DictStore(BaseStore):
    """Records in a dict of dicts, behind one lock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self._lock = Lock()
        self._namespaces: dict[str, dict[str, bytes]] = {}
        self._deadlines: dict[str, float] = {}
        self._closed = False

    def read(self, queries: Sequence[Query]) -> list[Result]:
        check_queries(queries)
        with self._lock:
            self._settle()
            return [self._answer(query) for query in queries]

    def write(self, batches: Sequence[Batch]) -> None:
        check_batches(batches)
        with self._lock:
            for batch in batches:
                self._settle()
                self._apply(batch)
            self._settle()

    def namespaces(
        self, prefix: str = "", *, after: str | None = None, limit: int | None = None
    ) -> list[str]:
        check_listing(prefix, after, limit)
        with self._lock:
            self._settle()
            found = sorted(name for name in self._namespaces if name.startswith(prefix))
            return [name for name in found if after is None or name > after][:limit]

    def copy(self, source: str, target: str) -> None:
        check_name(source, "source")
        check_name(target, "target")
        with self._lock:
            self._settle()
            self._namespaces[target] = dict(self._namespaces.get(source, {}))
            self._set_deadline(target, self._deadlines.get(source))
            self._settle()

    def close(self) -> None:
        self._closed = True

    async def aread(self, queries: Sequence[Query]) -> list[Result]:
        return self.read(queries)

    async def awrite(self, batches: Sequence[Batch]) -> None:
        self.write(batches)

    async def anamespaces(
        self, prefix: str = "", *, after: str | None = None, limit: int | None = None
    ) -> list[str]:
        return self.namespaces(prefix, after=after, limit=limit)

    async def acopy(self, source: str, target: str) -> None:
        self.copy(source, target)

    async def aclose(self) -> None:
        self.close()

    def _settle(self) -> None:
        """Drop everything that is expired or empty."""
        if self._closed:
            raise StoreClosedError
        now = self._clock()
        for name in list(self._namespaces):
            if not self._namespaces[name] or self._deadlines.get(name, now + 1) <= now:
                del self._namespaces[name]
                self._deadlines.pop(name, None)

    def _set_deadline(self, name: str, deadline: float | None) -> None:
        if deadline is None:
            self._deadlines.pop(name, None)
        elif self._namespaces.get(name):
            self._deadlines[name] = deadline

    def _answer(self, query: Query) -> Result:
        records = self._namespaces.get(query.namespace, {})
        if query.ttl is not None:
            self._set_deadline(query.namespace, self._clock() + query.ttl)
        return Result(
            [records.get(key) for key in query.keys],
            [self._range(records, wanted) for wanted in query.ranges],
            self._ttl(query.namespace) if query.ask_ttl and records else None,
        )

    def _ttl(self, name: str) -> float:
        return self._deadlines.get(name, math.inf) - self._clock()

    def _range(self, records: dict[str, bytes], wanted: Range) -> list[tuple[str, bytes]]:
        found = sorted(within(records, wanted.start, wanted.stop), reverse=wanted.reverse)
        return [(key, b"" if wanted.keys_only else records[key]) for key in found[: wanted.limit]]

    def _apply(self, batch: Batch) -> None:
        records = self._namespaces.setdefault(batch.namespace, {})
        if batch.expect is not None:
            prefix, last_key = batch.expect
            last = max(within(records, prefix, prefix_end(prefix)), default=None)
            if last != last_key:
                raise ConflictError(
                    f"last key under {prefix!r}: expected {last_key!r}, is {last!r}"
                )
        for key, expected in batch.expect_values.items():
            if records.get(key) != expected:
                raise ConflictError(f"{batch.namespace!r}: key {key!r} holds another value")
        if batch.clear:
            records.clear()
            self._set_deadline(batch.namespace, None)
        for start, stop in batch.delete_ranges:
            for key in within(records, start, stop):
                del records[key]
        for key in batch.delete:
            records.pop(key, None)
        for key, value in batch.put_if_absent.items():
            records.setdefault(key, value)
        records.update(batch.put)
        if batch.ttl is not None:
            self._set_deadline(batch.namespace, self._clock() + batch.ttl)


def within(records: dict[str, bytes], start: str, stop: str | None) -> list[str]:
    return [key for key in records if key >= start and (stop is None or key < stop)]


class TestDictStore(StoreContract):
    manual_clock = True

    def make_store(self, path: Path) -> DictStore:
        return DictStore(self.clock)

"""Search in the store, if it supports that; see `swarmstate.serving`.

The store's vector data is derived from the records and catches up with the log, like
an index in memory, but all processes share it. A process that finds it behind brings it
up to date. Changes apply only to the state they were made for: if several processes
try, one succeeds and the others look again.

The store returns candidates. An index of just these does the rest: the exact filter,
scores in double precision, and the order.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from math import hypot
from typing import Final, NamedTuple, TypeAlias

from swarmstate import _core
from swarmstate._plane import Query, Range, prefix_end
from swarmstate.base import BaseStore
from swarmstate.codec import Codec, dumps
from swarmstate.errors import DimensionError, StoreReadOnlyError, SwarmStateError
from swarmstate.operations import OFFLOADED_BYTES, Compute, Operation, Read
from swarmstate.serving import (
    Answer,
    ApplyVectors,
    CountVectors,
    FindVectors,
    OpenVectors,
    Request,
    VectorRow,
    VectorSearch,
    VectorState,
    VectorWhere,
)
from swarmstate.vectors import _layout as layout
from swarmstate.vectors._facts import UNKNOWN, known_part
from swarmstate.vectors._head import read_head
from swarmstate.vectors._records import Metric
from swarmstate.vectors._refreshing import PAGE, changes, pages, tail_query
from swarmstate.vectors._shared import Shared

# Precedes the cursors until all records have been read.
_BUILDING = "building"
# Within these norms, squares neither overflow nor underflow in float32.
_LEAST_NORM, _GREATEST_NORM = 1e-15, 1e15
# Work on more records than this is offloaded to a thread.
_OFFLOADED = 50
_MAP_OF_THREE = b"\x83"

_Found: TypeAlias = list[tuple[str, bytes]]


class Ask(NamedTuple):
    """A step whose answer is the store's answer to a request."""

    search: VectorSearch
    request: Request

    def run(self, store: BaseStore) -> Answer:
        """Ask the store."""
        return self.search.ask(self.request)

    async def arun(self, store: BaseStore) -> Answer:
        """Ask the store."""
        return await self.search.aask(self.request)


class Served:
    """The vector data that the store keeps for a collection.

    Args:
        search: The store's search.
        shared: The state shared by the threads that use the collection.
        codec: Decodes the values.
        metric: The measure of nearness.

    Attributes:
        name: The name of the search engine.
        metric: The measure of nearness.
        problem: Why the store cannot search, once that is known.
    """

    def __init__(self, search: VectorSearch, shared: Shared, codec: Codec, metric: Metric) -> None:
        self.name: Final = search.name
        self.problem: str | None = None
        self._search = search
        self._shared = shared
        self.metric: Final[Metric] = metric
        # The last known state; replaced, never mutated.
        self._state: VectorState | None = None
        self._codec = codec

    def forget(self) -> None:
        """Forget what is known, because the collection was cleared."""
        self._state = None
        self.problem = None

    def find(
        self,
        where: VectorWhere,
        embedding: array[float] | None = None,
        limit: int | None = None,
        *,
        whole: bool = True,
        exact: bool = False,
    ) -> Operation[_Found | None]:
        """Return candidate records; None if the store cannot search.

        Raises:
            DimensionError: The stored embeddings have another dimension.
        """
        while self.problem is None:
            state = yield from self._refresh()
            if state is None:
                return [] if self.problem is None else None
            if embedding is not None and state.dimensions not in (None, len(embedding)):
                raise DimensionError(state.dimensions or 0, len(embedding))
            request = FindVectors(
                self._shared.namespace, where, embedding, self.metric, limit, whole, exact
            )
            found: _Found | None = yield Ask(self._search, request)
            if found is not None:
                return found
            self._state = None
        return None

    def count(self) -> Operation[tuple[int, int, int | None] | None]:
        """Return the numbers of records and embeddings, and the dimension."""
        while self.problem is None:
            state = yield from self._refresh()
            if state is None:
                return (0, 0, None) if self.problem is None else None
            counts = yield Ask(self._search, CountVectors(self._shared.namespace))
            if counts is not None:
                return (*counts, state.dimensions)
            self._state = None
        return None

    def index_of(self, found: _Found) -> Operation[_core.VectorIndex]:
        """Return an index of the records found."""
        index = self._shared.new_index()

        def fill() -> None:
            ticket, _ = index.begin()
            index.apply(ticket, found)
            index.end(ticket)

        yield Compute(fill, sum(len(record) for _, record in found))
        return index

    def _refresh(self) -> Operation[VectorState | None]:
        """Bring the vector data up to date; None if there is no collection, or a problem."""
        namespace = self._shared.namespace
        while True:
            state = self._state
            if state is None:
                state = yield from self._open()
                if state is None:
                    return None
            cursors = state.cursors or ()
            known = dict(zip(layout.LANES, cursors, strict=True))
            [result] = yield Read([tail_query(namespace, known, ())])
            changed = changes(known, result)
            if changed is None:
                # The collection was replaced or cleared, or the vector data is too far behind.
                self._state = None
                if not (yield from self._begin()):
                    return None
                continue
            after = [entries[-1][0] for entries in result.ranges]
            if after == list(cursors):
                return state
            self._state = None
            applied = yield from self._apply(cursors, after, sorted(changed))
            if self.problem is not None:
                return None
            if applied and state.dimensions is not None:
                self._state = state._replace(cursors=after)

    def _open(self) -> Operation[VectorState | None]:
        """Return the state of the vector data, which is created if necessary."""
        namespace = self._shared.namespace
        while self.problem is None:
            state: VectorState = yield Ask(self._search, OpenVectors(namespace))
            if state.problem is not None and (yield from self._is_of_this(state)):
                self.problem = state.problem
                return None
            if state.cursors is None or state.problem is not None:
                if not (yield from self._begin()):
                    return None
            elif state.cursors[0] == _BUILDING:
                # Others are building it, or died while doing so. Building it twice does no harm.
                yield from self._build(state.cursors)
            else:
                self._state = state
                return state
        return None

    def _is_of_this(self, state: VectorState) -> Operation[bool]:
        """Return whether a state belongs to the current collection."""
        if state.cursors is None:
            return True
        cursors = state.cursors[1:] if state.cursors[0] == _BUILDING else state.cursors
        known = dict(zip(layout.LANES, cursors, strict=True))
        [result] = yield Read([tail_query(self._shared.namespace, known, ())])
        return changes(known, result) is not None

    def _begin(self) -> Operation[bool]:
        """Start the vector data over, unless others do; return False if there is no collection."""
        head = yield from read_head(self._shared)
        if head is None:
            return False
        building = [_BUILDING, *(head.tails[lane] for lane in layout.LANES)]
        request = ApplyVectors(self._shared.namespace, None, building)
        if (yield from self._ask_to_apply(request)):
            yield from self._build(building)
        return True

    def _build(self, building: Sequence[str]) -> Operation[None]:
        """Derive the vector data from all records, unless others have done so."""
        namespace = self._shared.namespace
        start, stop = layout.ITEM, prefix_end(layout.ITEM)
        while True:
            [result] = yield Read([Query(namespace, ranges=[Range(start, stop, limit=PAGE)])])
            [records] = result.ranges
            is_last = len(records) < PAGE
            # Anything written after these cursors is in the log behind them.
            after = building[1:] if is_last else building
            applied = yield from self._change(building, after, records, ())
            if is_last or not applied or self.problem is not None:
                return
            # The last record is read again with the next page, which does no harm.
            start = records[-1][0]

    def _apply(
        self, before: Sequence[str], after: Sequence[str], keys: Sequence[str]
    ) -> Operation[bool]:
        """Apply changed records to the vector data; return False if others got ahead."""
        parts = [*pages(keys)] or [()]
        for number, part in enumerate(parts, 1):
            [result] = yield Read([Query(self._shared.namespace, keys=part)])
            found = [*zip(part, result.values, strict=True)]
            records = [(key, data) for key, data in found if data is not None]
            gone = [key for key, data in found if data is None]
            reached = after if number == len(parts) else before
            if not (yield from self._change(before, reached, records, gone)):
                return False
        return True

    def _change(
        self,
        before: Sequence[str],
        after: Sequence[str],
        records: Sequence[tuple[str, bytes]],
        gone: Sequence[str],
    ) -> Operation[bool]:
        rows: list[VectorRow] = yield Compute(
            lambda: [self._row(*record) for record in records],
            OFFLOADED_BYTES if len(records) > _OFFLOADED else 0,
        )
        problem = _problem_of(rows)
        if problem is not None:
            self.problem, rows = problem, []
        request = ApplyVectors(self._shared.namespace, before, after, rows, gone, problem)
        return (yield from self._ask_to_apply(request))

    def _ask_to_apply(self, request: ApplyVectors) -> Operation[bool]:
        """Return the store's answer; a store that cannot be written has a problem."""
        try:
            applied: bool = yield Ask(self._search, request)
        except StoreReadOnlyError as error:
            # Waiting may not help: the processes that write to the primary may never search.
            self.problem = f"the search data is behind the records: {error}"
            return False
        return applied

    def _row(self, key: str, data: bytes) -> VectorRow:
        value, vectors, scope, categories = _core.decode_record(data)
        try:
            facts = known_part(self._codec.loads(value))
        except SwarmStateError:
            # This process may not construct the value. One that may checks the record itself.
            facts = UNKNOWN
        parts = (dumps("scope"), dumps(list(scope)), dumps("categories"), dumps(list(categories)))
        rest = b"".join((_MAP_OF_THREE, *parts, dumps("value"), value))
        embeddings = [array("f", vector) for vector in vectors]
        return VectorRow(key, embeddings, scope, categories, facts, rest)


def _problem_of(rows: Sequence[VectorRow]) -> str | None:
    """Return why embeddings cannot be compared in single precision, or None."""
    for row in rows:
        for embedding in row.embeddings:
            norm = hypot(*embedding)
            if norm and not _LEAST_NORM < norm < _GREATEST_NORM:
                return (
                    f"record {row.key.removeprefix(layout.ITEM)!r} has an embedding with the norm "
                    f"{norm:g}, which cannot be squared in single precision"
                )
    return None

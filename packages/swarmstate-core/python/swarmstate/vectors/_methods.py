"""The methods of a collection, as operations; see `swarmstate.operations`."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from swarmstate import _core
from swarmstate._checks import check_count, several
from swarmstate._core import check_name
from swarmstate._plane import Query
from swarmstate.codec import Codec, dumps, loads
from swarmstate.errors import DecodeError, InvalidFilterError
from swarmstate.operations import OFFLOADED_BYTES, Compute, Operation, Read
from swarmstate.serving import VectorWhere
from swarmstate.vectors import _layout as layout
from swarmstate.vectors._committing import commit
from swarmstate.vectors._facts import known_filter
from swarmstate.vectors._head import check_dimensions, clear
from swarmstate.vectors._records import Embedding, Match, Record, Stats
from swarmstate.vectors._refreshing import refresh
from swarmstate.vectors._served import Served
from swarmstate.vectors._shared import Shared, View

# How many extra records to request, since the store rounds and orders in its own way.
_SPARE = 8
# The factor by which the next request grows if too few of the records are selected.
_GROWTH = 4
# How far apart two sums in single precision may be, per dimension.
_ROUNDING = 4 * 2.0**-24
# More records than any collection has.
_EVERYTHING = 1 << 40

_Found: TypeAlias = tuple[str, float, bytes, tuple[str, ...], tuple[str, ...], list[bytes]]


class Selection(NamedTuple):
    """Which records to select, with the filter encoded."""

    scope: Sequence[str]
    categories: Sequence[str]
    filter: bytes | None

    @classmethod
    def of(
        cls,
        *,
        scope: Sequence[str] = (),
        categories: Sequence[str] = (),
        filter: Mapping[str, Any] | None = None,
    ) -> Selection:
        """Return the selection that the keyword arguments of `Where` describe."""
        if filter and not isinstance(filter, Mapping):
            raise InvalidFilterError(
                "expected a filter to be a dict of conditions by field, such as "
                f"{{'age': {{'$gte': 3}}}}, found {type(filter).__name__}"
            )
        for name in filter or ():
            if isinstance(name, str) and name.startswith("$"):
                raise InvalidFilterError(
                    f"expected a filter to name fields, such as {{'age': {{'$gte': 3}}}}, found "
                    f"{name!r}: operators go inside a field, and none combines conditions; run a "
                    "separate search for each alternative"
                )
        return cls(scope, categories, dumps(dict(filter)) if filter else None)

    @property
    def is_everything(self) -> bool:
        """Whether all records are selected."""
        return not (self.scope or self.categories or self.filter)

    def where(self) -> VectorWhere:
        """Return the selection in the form that stores take."""
        wanted = None if self.filter is None else known_filter(loads(self.filter))
        return VectorWhere(self.scope, self.categories, wanted)


class Page(NamedTuple):
    """A slice of a list of results, and whether they come with their embeddings."""

    limit: int | None
    offset: int
    embeddings: bool

    def check(self) -> Page:
        """Return the page with its numbers capped to what every store accepts.

        Raises:
            TypeError: A number is not an integer.
            ValueError: A number is negative.
        """
        if self.limit is not None:
            check_count("limit", self.limit)
        check_count("offset", self.offset)
        limit = None if self.limit is None else min(self.limit, _EVERYTHING)
        return self._replace(limit=limit, offset=min(self.offset, _EVERYTHING))


class Methods:
    """The operations of a collection.

    Args:
        shared: The state shared by the threads that use the collection.
        codec: Encodes the values.
        served: The search in the store, if it has one.
    """

    def __init__(self, shared: Shared, codec: Codec, served: Served | None = None) -> None:
        self.shared: Final = shared
        self._served: Final = served
        self._namespace: Final = shared.namespace
        self._codec: Final = codec

    def upsert(self, records: Iterable[Record]) -> Operation[None]:
        put, dimensions = _core.encode_records(self._codec, records, None)
        if put:
            yield from commit(self.shared, put, (), dimensions)

    def check(self, records: Iterable[Record]) -> Operation[None]:
        _, dimensions = _core.encode_records(self._codec, records, None)
        if dimensions is not None:
            yield from check_dimensions(self.shared, dimensions)

    def modify(self, ids: Iterable[str], change: Callable[[Record], Record]) -> Operation[int]:
        names = list(dict.fromkeys(several(ids, "ids")))
        keys = [_key(each) for each in names]
        while True:
            [result] = yield Read([Query(self._namespace, keys=keys)])
            found = {
                name: data
                for name, data in zip(names, result.values, strict=True)
                if data is not None
            }
            changed = [change(self._decode(name, data)) for name, data in found.items()]
            for name, record in zip(found, changed, strict=True):
                _check_changed(name, record)
            if not found:
                return 0
            put, dimensions = _core.encode_records(self._codec, changed, None)
            expected = {_key(name): data for name, data in found.items()}
            if (yield from commit(self.shared, put, (), dimensions, expected)):
                return len(found)

    def get(self, ids: Iterable[str]) -> Operation[list[Record | None]]:
        ids = several(ids, "ids")
        [result] = yield Read([Query(self._namespace, keys=[_key(each) for each in ids])])
        return [
            None if data is None else self._decode(each, data)
            for each, data in zip(ids, result.values, strict=True)
        ]

    def delete(self, ids: Iterable[str]) -> Operation[int]:
        keys = list(dict.fromkeys(_key(each) for each in several(ids, "ids")))
        [result] = yield Read([Query(self._namespace, keys=keys)])
        present = [key for key, data in zip(keys, result.values, strict=True) if data is not None]
        if present:
            yield from commit(self.shared, {}, present, None)
        return len(present)

    def delete_where(self, selection: Selection) -> Operation[int]:
        index, size = yield from self._index(selection)
        ids: list[str] = yield Compute(lambda: index.ids(*selection), size)
        if ids:
            keys = [_key(each) for each in ids]
            yield from commit(self.shared, {}, keys, None)
        return len(ids)

    def clear(self) -> Operation[None]:
        yield from clear(self.shared)
        self.shared.forget()
        if self._served is not None:
            self._served.forget()
        if self.shared.snapshot is not None:
            self.shared.snapshot.remove()

    def search(
        self, embedding: Embedding, selection: Selection, page: Page, exact: bool
    ) -> Operation[list[Match]]:
        page = page.check()
        found = None
        if self._served is not None:
            found = yield from self._search_served(embedding, selection, page, exact)
        if found is None:
            view = yield from refresh(self.shared)
            index = view.index
            found = yield Compute(
                lambda: index.search(embedding, *selection, *page, exact), view.size
            )
        return [Match(self._record(each), each[1]) for each in found]

    def _search_served(
        self, embedding: Embedding, selection: Selection, page: Page, exact: bool
    ) -> Operation[list[_Found] | None]:
        """Search in the store; None if that is not possible."""
        assert self._served is not None
        vector = self._vector(embedding, selection)
        wanted = page.offset + (page.limit or 0)
        asked = wanted + _SPARE
        while True:
            records = yield from self._served.find(selection.where(), vector, asked, exact=exact)
            if records is None:
                return None
            index = yield from self._served.index_of(records)
            if len(records) < asked or self._is_decided(index, vector, selection, wanted):
                return index.search(embedding, *selection, *page, True)
            asked *= _GROWTH

    def _is_decided(
        self,
        index: _core.VectorIndex,
        vector: array[float],
        selection: Selection,
        wanted: int,
    ) -> bool:
        """Return whether nothing that the store left out can be among the nearest selected."""
        assert self._served is not None
        if not wanted:
            return True
        # The store may return more than the filter selects, and so not enough that is selected.
        last = index.search(vector, *selection, 1, wanted - 1, False, True)
        # A record that was changed just now may have lost its embeddings.
        end = index.search(vector, (), (), None, 1, len(index) - 1, False, True)
        if not last or not end:
            return False
        score, least = last[0][1], end[0][1]
        # Rounding may make the store leave out a record that is nearer than one it returned, by at
        # most this much. It rounds equal embeddings equally, and orders them by id.
        scale = 1.0 if self._served.metric == "cosine" else max(abs(score), abs(least))
        return score == least or score - least > len(vector) * _ROUNDING * scale

    def _vector(self, embedding: Embedding, selection: Selection) -> array[float]:
        """Return an embedding as an array, after checking it and the filter."""
        self.shared.new_index().search(embedding, *selection, 0, 0, False, True)
        put, _ = _core.encode_records(self._codec, [Record("_", {}, [embedding])], None)
        [data] = put.values()
        return array("f", _core.decode_record(data)[1][0])

    def optimize(self) -> Operation[None]:
        if self._served is not None and (yield from self._served.count()) is not None:
            return
        view = yield from refresh(self.shared)

        def optimize() -> None:
            view.index.optimise()
            self.shared.save(view, wait=True)

        yield Compute(optimize, OFFLOADED_BYTES)

    def stats(self) -> Operation[Stats]:
        problem = None
        if self._served is not None:
            counts = yield from self._served.count()
            if counts is not None:
                records, vectors, dimensions = counts
                return Stats(self._served.name, records, vectors, dimensions)
            problem = self._served.problem
        view = yield from refresh(self.shared)
        index, snapshot = view.index, self.shared.snapshot
        size, failure = index.saved
        if problem is None:
            # A problem with the file no longer counts once the file has been written.
            unusable = None if snapshot is None or size is not None else snapshot.problem
            problem = failure or unusable
        return Stats(
            "index",
            records=len(index),
            vectors=index.vectors,
            dimensions=index.dimensions,
            clusters=index.clusters,
            made_of="snapshot" if view.is_saved else "records",
            snapshot=None if snapshot is None else snapshot.path,
            snapshot_bytes=size,
            problem=problem,
        )

    def select(
        self, selection: Selection, order_by: str | None, descending: bool, page: Page
    ) -> Operation[list[Record]]:
        page = page.check()
        index, size = yield from self._index(selection, page.embeddings)
        found: list[_Found] = yield Compute(
            lambda: index.select(*selection, order_by, descending, *page), size
        )
        return [self._record(each) for each in found]

    def count(self, selection: Selection) -> Operation[int]:
        if self._served is not None and selection.is_everything:
            counts = yield from self._served.count()
            if counts is not None:
                return counts[0]
        index, size = yield from self._index(selection)
        count: int = yield Compute(lambda: index.count(*selection), size)
        return count

    def scopes(self, selection: Selection) -> Operation[dict[tuple[str, ...], int]]:
        index, size = yield from self._index(selection)
        scopes = yield Compute(lambda: index.scopes(*selection), size)
        return dict(sorted(scopes))

    def categories(self, selection: Selection) -> Operation[dict[str, int]]:
        index, size = yield from self._index(selection)
        categories = yield Compute(lambda: index.categories(*selection), size)
        return dict(sorted(categories))

    def _index(
        self, selection: Selection, embeddings: bool = False
    ) -> Operation[tuple[_core.VectorIndex, int]]:
        """Return an index of at least the selected records, and how many bytes it examines."""
        if self._served is not None:
            # Checks the selection, so that errors do not depend on the store.
            self.shared.new_index().count(*selection)
            found = yield from self._served.find(selection.where(), whole=embeddings)
            if found is not None:
                index = yield from self._served.index_of(found)
                return index, View(index, {}).size
        view = yield from refresh(self.shared)
        return view.index, view.size

    def _record(self, found: _Found) -> Record:
        name, _, value, scope, categories, vectors = found
        return Record(name, self._value(name, value), _arrays(vectors), scope, categories)

    def _decode(self, name: str, data: bytes) -> Record:
        try:
            value, vectors, scope, categories = _core.decode_record(data)
        except DecodeError as error:
            raise _damaged(name, error) from error
        return Record(name, self._value(name, value), _arrays(vectors), scope, categories)

    def _value(self, name: str, data: bytes) -> dict[str, Any]:
        try:
            value: object = self._codec.loads(data)
        except DecodeError as error:
            raise _damaged(name, error) from error
        if not isinstance(value, dict):
            raise _damaged(name, f"its value is {value!r:.80}, not a map")
        return value


def _check_changed(name: str, record: object) -> None:
    """Check a record that a caller's function returned."""
    if not isinstance(record, Record):
        raise TypeError(
            f"expected `change` to return a Record, found {type(record).__name__} for {name!r}"
        )
    if record.id != name:
        raise ValueError(f"expected a record with the id {name!r}, found {record.id!r}")


def _damaged(name: str, reason: object) -> DecodeError:
    return DecodeError(
        f"the stored record {name!r} is not a valid collection record: {reason}; "
        "delete it or store it again"
    )


def _key(name: str) -> str:
    check_name(name, "id")
    return f"{layout.ITEM}{name}"


def _arrays(vectors: Sequence[bytes]) -> tuple[array[float], ...]:
    return tuple(array("f", each) for each in vectors)

"""What the methods of a collection do, as operations; see `swarmstate._steps`."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from swarmstate import _core
from swarmstate._core import check_name
from swarmstate._plane import Batch, Query
from swarmstate._steps import Compute, Operation, Read, Write
from swarmstate.codec import Codec, dumps
from swarmstate.vectors import _layout as layout
from swarmstate.vectors import _operations as operations
from swarmstate.vectors._records import Embedding, Match, Record

_Found: TypeAlias = tuple[str, float, bytes, tuple[str, ...], tuple[str, ...], list[bytes]]


class Selection(NamedTuple):
    """What selects records; the filter is encoded."""

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
        """Return what keyword arguments, those of `Where`, select."""
        return cls(scope, categories, dumps(dict(filter)) if filter else None)


class Page(NamedTuple):
    """A part of a list of results, and whether they come with their embeddings."""

    limit: int | None
    offset: int
    embeddings: bool

    def check(self) -> Page:
        """Return the page.

        Raises:
            ValueError: A number is negative.
        """
        for name, value in (("limit", self.limit), ("offset", self.offset)):
            if value is not None and value < 0:
                raise ValueError(f"{name} must be 0 or more, not {value}")
        return self


class Methods:
    """What a collection does with its records.

    Args:
        shared: What the threads that use the collection share.
        codec: What values are encoded with.
    """

    def __init__(self, shared: operations.Shared, codec: Codec) -> None:
        self.shared: Final = shared
        self._namespace: Final = shared.namespace
        self._codec: Final = codec

    def upsert(self, records: Iterable[Record]) -> Operation[None]:
        put, dimensions = _core.encode_records(self._codec, records, None)
        if put:
            yield from operations.commit(self.shared, put, (), dimensions)

    def modify(self, ids: Iterable[str], change: Callable[[Record], Record]) -> Operation[int]:
        names = list(dict.fromkeys(ids))
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
                if record.id != name:
                    raise ValueError(f"expected a record with the id {name!r}, found {record.id!r}")
            if not found:
                return 0
            put, dimensions = _core.encode_records(self._codec, changed, None)
            expected = {_key(name): data for name, data in found.items()}
            if (yield from operations.commit(self.shared, put, (), dimensions, expected)):
                return len(found)

    def get(self, ids: Iterable[str]) -> Operation[list[Record | None]]:
        ids = list(ids)
        [result] = yield Read([Query(self._namespace, keys=[_key(each) for each in ids])])
        return [
            None if data is None else self._decode(each, data)
            for each, data in zip(ids, result.values, strict=True)
        ]

    def delete(self, ids: Iterable[str]) -> Operation[int]:
        keys = list(dict.fromkeys(_key(each) for each in ids))
        [result] = yield Read([Query(self._namespace, keys=keys)])
        present = [key for key, data in zip(keys, result.values, strict=True) if data is not None]
        if present:
            yield from operations.commit(self.shared, {}, present, None)
        return len(present)

    def delete_where(self, selection: Selection) -> Operation[int]:
        view = yield from operations.refresh(self.shared)
        ids: list[str] = yield Compute(lambda: view.index.ids(*selection), view.size)
        if ids:
            keys = [_key(each) for each in ids]
            yield from operations.commit(self.shared, {}, keys, None)
        return len(ids)

    def clear(self) -> Operation[None]:
        yield Write([Batch(self._namespace, clear=True)])
        self.shared.forget()

    def search(
        self, embedding: Embedding, selection: Selection, page: Page, exact: bool
    ) -> Operation[list[Match]]:
        page.check()
        view = yield from operations.refresh(self.shared)

        def search() -> list[_Found]:
            limit = sys.maxsize if page.limit is None else page.limit
            return view.index.search(
                embedding, *selection, limit, page.offset, page.embeddings, exact
            )

        found: list[_Found] = yield Compute(search, view.size)
        return [Match(self._record(each), each[1]) for each in found]

    def optimize(self) -> Operation[None]:
        view = yield from operations.refresh(self.shared)
        yield Compute(view.index.optimise, view.size)

    def select(
        self, selection: Selection, order_by: str | None, descending: bool, page: Page
    ) -> Operation[list[Record]]:
        page.check()
        view = yield from operations.refresh(self.shared)

        def select() -> list[_Found]:
            return view.index.select(*selection, order_by, descending, *page)

        found: list[_Found] = yield Compute(select, view.size)
        return [self._record(each) for each in found]

    def count(self, selection: Selection) -> Operation[int]:
        view = yield from operations.refresh(self.shared)
        count: int = yield Compute(lambda: view.index.count(*selection), view.size)
        return count

    def scopes(self, selection: Selection) -> Operation[dict[tuple[str, ...], int]]:
        view = yield from operations.refresh(self.shared)
        scopes = yield Compute(lambda: view.index.scopes(*selection), view.size)
        return dict(sorted(scopes))

    def categories(self, selection: Selection) -> Operation[dict[str, int]]:
        view = yield from operations.refresh(self.shared)
        categories = yield Compute(lambda: view.index.categories(*selection), view.size)
        return dict(sorted(categories))

    def _record(self, found: _Found) -> Record:
        name, _, value, scope, categories, vectors = found
        return Record(name, self._codec.loads(value), _arrays(vectors), scope, categories)

    def _decode(self, name: str, data: bytes) -> Record:
        value, vectors, scope, categories = _core.decode_record(data)
        return Record(name, self._codec.loads(value), _arrays(vectors), scope, categories)


def _key(name: str) -> str:
    check_name(name, "id")
    return f"{layout.ITEM}{name}"


def _arrays(vectors: Sequence[bytes]) -> tuple[array[float], ...]:
    return tuple(array("f", each) for each in vectors)

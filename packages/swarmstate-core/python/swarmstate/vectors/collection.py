"""Collections: records with embeddings, in one namespace of a store."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, get_args

from swarmstate import _core
from swarmstate._core import check_name
from swarmstate.base import check_count, check_store
from swarmstate.codec import Codec
from swarmstate.operations import adrive, drive
from swarmstate.vectors._methods import Methods, Page, Selection
from swarmstate.vectors._records import Embedding, Match, Metric, Record, Stats
from swarmstate.vectors._served import Served
from swarmstate.vectors._shared import Shared
from swarmstate.vectors._snapshots import SnapshotFile, file_in

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from swarmstate.base import Allow, BaseStore

__all__ = ["Collection", "Where"]


class Where(TypedDict, total=False):
    """Keyword arguments that select records: those that meet all of them.

    Attributes:
        scope: Their scope begins with these segments.
        categories: They have at least one of these, unless this is empty.
        filter: Fields of their value meet these conditions, as in LangGraph's
            stores: `{"kind": "fact", "age": {"$gte": 3}}`. Operators are `$eq`,
            `$ne`, `$gt`, `$gte`, `$lt`, `$lte`; several for one field must all
            hold, and field names cannot begin with `$`. A plain value means
            equal, a nested mapping compares the fields of a mapping, and a list
            compares item by item. A missing field is None. Numbers, bools and
            numeric strings are ordered as numbers, other strings by code point.
            Values that cannot be compared do not match. An `UNKNOWN`, in a record or
            in the filter, always matches.
    """

    scope: Sequence[str]
    categories: Sequence[str]
    filter: Mapping[str, Any] | None


class Collection:
    """Records with embeddings, in one namespace of a store.

    Only the records are stored. Searches use an index that this object builds
    from them and keeps in memory; before it answers, it picks up whatever other
    threads or processes have written. The first search, list or count builds it, by
    reading either all records, or the file that the index was saved to and later
    changes. Objects that only write need no index.

    Some stores search by themselves (`BaseStore.vector_search`), such as PostgreSQL with
    pgvector. Then nothing is kept in memory, and the same records are found; `stats`
    shows what searches.

    You can call all methods from any thread and any event loop, also concurrently.
    The async twins, named with a leading `a`, do the same as their sync methods. A
    collection has nothing to close: close the store.

    Methods that take `Where` act on the records that `scope`, `categories` and
    `filter` select, and raise `InvalidFilterError` for a filter with an unknown
    operator.

    Args:
        store: The store.
        namespace: The namespace, which must hold nothing else.
        metric: How to measure nearness: "cosine", "dot" (inner product) or "l2"
            (Euclidean distance). Not stored: collections with different metrics can
            use the same namespace.
        approximate_above: If more vectors than this have to be ranked, search
            only those in the clusters nearest to the query: as many clusters as find
            99 % of the nearest in a trial, and more if these hold too few. A
            background thread builds the clusters. Searches are exact until they
            exist, and also if a few of them would not be enough. None: always
            exact.
        snapshots: Where a background thread saves the index for the next
            process: True for a file in the store's `derived_folder`, if it has
            one, such as the folder next to the file of a `DiskStore`; a
            folder; or False for nowhere. The file holds what the records hold,
            embeddings and values, and is readable only by its owner. It is never
            trusted: if anything is wrong with it, the index is built from the records.
        allow: Classes that may be constructed when values are read; see
            `swarmstate.codec.Codec`.

    Raises:
        TypeError: `store` or another argument has the wrong type.
        ValueError: The metric is unknown, or `approximate_above` is negative.
        InvalidNameError: (a ValueError) A namespace cannot have this name.
    """

    def __init__(
        self,
        store: BaseStore,
        namespace: str,
        *,
        metric: Metric = "cosine",
        approximate_above: int | None = 250_000,
        snapshots: bool | str | os.PathLike[str] = True,
        allow: Allow = (),
    ) -> None:
        """Set up a collection; nothing is read or written yet."""
        check_store(store)
        check_name(namespace, "namespace")
        if approximate_above is not None:
            check_count("approximate_above", approximate_above)
        if isinstance(metric, str) and metric not in get_args(Metric):
            raise ValueError(f"metric must be 'cosine', 'dot' or 'l2', not {metric!r}")
        new_index = partial(_core.VectorIndex, metric, approximate_above)
        # Says what else is wrong now.
        new_index()
        self.store = store
        self.namespace = namespace
        self.metric: Metric = metric
        folder = store.derived_folder if snapshots is True else snapshots or None
        snapshot = None
        if folder is not None:
            path = file_in(Path(folder), namespace)
            snapshot = SnapshotFile(path, namespace, metric, approximate_above)
        shared, codec = Shared(namespace, new_index, snapshot), Codec(allow=allow)
        search = store.vector_search
        served = None if search is None else Served(search, shared, codec, metric)
        self._methods = Methods(shared, codec, served)

    def __repr__(self) -> str:
        """Return the class, the store and the namespace."""
        return f"{type(self).__name__}({self.store!r}, {self.namespace!r}, metric={self.metric!r})"

    def upsert(self, records: Iterable[Record]) -> None:
        """Store records atomically, replacing those with the same ids.

        If several records have the same id, the last one wins. Batches of about 100
        give the highest throughput.

        Raises:
            DimensionError: An embedding has a different dimension than the stored
                ones; `clear()` resets the dimension.
            EmbeddingError: An embedding is invalid, or contains NaN or an infinity.
            EncodeError: The codec does not support a value.
        """
        drive(self.store, self._methods.upsert(records))

    async def aupsert(self, records: Iterable[Record]) -> None:
        """Store records as `upsert` does."""
        await adrive(self.store, self._methods.upsert(records))

    def check(self, records: Iterable[Record]) -> None:
        """Raise what `upsert` would raise for these records, and store nothing.

        Useful if you store something else first that belongs to them.
        """
        drive(self.store, self._methods.check(records))

    async def acheck(self, records: Iterable[Record]) -> None:
        """Check records as `check` does."""
        await adrive(self.store, self._methods.check(records))

    def modify(self, ids: Iterable[str], change: Callable[[Record], Record]) -> int:
        """Replace records with the results of `change`, atomically; return how many.

        Concurrent writes are not overwritten: `change` is called again
        with the newly written records, so it must have no side effects. Ids without
        a record are skipped.

        Args:
            ids: The ids of the records.
            change: Takes a record with its embeddings and returns the new one, with
                the same id.

        Raises:
            TypeError: `change` did not return a record.
            ValueError: It returned another id.
            DimensionError: It returned an embedding of another dimension.
            EmbeddingError: It returned an invalid embedding.
            EncodeError: The codec does not support the new value.
        """
        return drive(self.store, self._methods.modify(ids, change))

    async def amodify(self, ids: Iterable[str], change: Callable[[Record], Record]) -> int:
        """Replace records as `modify` does."""
        return await adrive(self.store, self._methods.modify(ids, change))

    def get(self, ids: Iterable[str]) -> list[Record | None]:
        """Return records with their embeddings, in the order of `ids`; None where there is none."""
        return drive(self.store, self._methods.get(ids))

    async def aget(self, ids: Iterable[str]) -> list[Record | None]:
        """Return records as `get` does."""
        return await adrive(self.store, self._methods.get(ids))

    def delete(self, ids: Iterable[str]) -> int:
        """Delete records atomically; return how many of them existed."""
        return drive(self.store, self._methods.delete(ids))

    async def adelete(self, ids: Iterable[str]) -> int:
        """Delete records as `delete` does."""
        return await adrive(self.store, self._methods.delete(ids))

    def delete_where(self, **where: Unpack[Where]) -> int:
        """Delete the selected records atomically; return how many there were."""
        return drive(self.store, self._methods.delete_where(Selection.of(**where)))

    async def adelete_where(self, **where: Unpack[Where]) -> int:
        """Delete records as `delete_where` does."""
        return await adrive(self.store, self._methods.delete_where(Selection.of(**where)))

    def clear(self) -> None:
        """Delete all records and reset the dimension.

        Raises:
            StoreFormatError: The namespace holds something else, which is kept.
        """
        drive(self.store, self._methods.clear())

    async def aclear(self) -> None:
        """Delete all records as `clear` does."""
        await adrive(self.store, self._methods.clear())

    def search(
        self,
        embedding: Embedding,
        *,
        limit: int = 10,
        offset: int = 0,
        embeddings: bool = False,
        exact: bool = False,
        **where: Unpack[Where],
    ) -> list[Match]:
        """Return the records nearest to `embedding`, nearest first.

        Ranks only selected records: all of them, up to
        `approximate_above`. Scores are always exact. Records with equal
        scores are ordered by id. A record with several embeddings
        counts with the nearest one; a record without any is not found.

        Args:
            embedding: What to search for.
            limit: The maximum number of records.
            offset: How many of the nearest to skip.
            embeddings: Return the records with their embeddings.
            exact: Rank all selected records, even above `approximate_above`.
            where: Selects records; see `Where`.

        Raises:
            DimensionError: The stored embeddings have another dimension.
            EmbeddingError: `embedding` is invalid, or contains NaN or an infinity.
        """
        page = Page(limit, offset, embeddings)
        operation = self._methods.search(embedding, Selection.of(**where), page, exact)
        return drive(self.store, operation)

    async def asearch(
        self,
        embedding: Embedding,
        *,
        limit: int = 10,
        offset: int = 0,
        embeddings: bool = False,
        exact: bool = False,
        **where: Unpack[Where],
    ) -> list[Match]:
        """Return the nearest records as `search` does."""
        page = Page(limit, offset, embeddings)
        operation = self._methods.search(embedding, Selection.of(**where), page, exact)
        return await adrive(self.store, operation)

    def optimize(self) -> None:
        """Read what others wrote, build the clusters for approximate searches, and wait for it.

        With `approximate_above` vectors or fewer, there are no clusters. Also saves the
        index, if there is a file for it. Searches do not require this; it
        makes the first ones fast, for example before serving.

        Raises:
            OSError: The file of the index cannot be written.
        """
        drive(self.store, self._methods.optimize())

    async def aoptimize(self) -> None:
        """Build clusters as `optimize` does."""
        await adrive(self.store, self._methods.optimize())

    def stats(self) -> Stats:
        """Read what others wrote, and return what the collection has and what searches use."""
        return drive(self.store, self._methods.stats())

    async def astats(self) -> Stats:
        """Return numbers as `stats` does."""
        return await adrive(self.store, self._methods.stats())

    def select(
        self,
        *,
        order_by: str | None = None,
        descending: bool = False,
        limit: int | None = None,
        offset: int = 0,
        embeddings: bool = False,
        **where: Unpack[Where],
    ) -> list[Record]:
        """Return the selected records, in order.

        Args:
            order_by: Order by this field of the values: numbers before strings
                before all else, equal ones by id. None orders by id.
            descending: Reverse the order.
            limit: The maximum number of records; None means all of them.
            offset: How many of the first to skip.
            embeddings: Return the records with their embeddings.
            where: Selects records; see `Where`.
        """
        page = Page(limit, offset, embeddings)
        operation = self._methods.select(Selection.of(**where), order_by, descending, page)
        return drive(self.store, operation)

    async def aselect(
        self,
        *,
        order_by: str | None = None,
        descending: bool = False,
        limit: int | None = None,
        offset: int = 0,
        embeddings: bool = False,
        **where: Unpack[Where],
    ) -> list[Record]:
        """Return records as `select` does."""
        page = Page(limit, offset, embeddings)
        operation = self._methods.select(Selection.of(**where), order_by, descending, page)
        return await adrive(self.store, operation)

    def count(self, **where: Unpack[Where]) -> int:
        """Return how many records are selected."""
        return drive(self.store, self._methods.count(Selection.of(**where)))

    async def acount(self, **where: Unpack[Where]) -> int:
        """Return how many records are selected."""
        return await adrive(self.store, self._methods.count(Selection.of(**where)))

    def scopes(self, **where: Unpack[Where]) -> dict[tuple[str, ...], int]:
        """Return the scopes of the selected records, and how many records each has.

        Parent scopes without records of their own are not included.
        """
        return drive(self.store, self._methods.scopes(Selection.of(**where)))

    async def ascopes(self, **where: Unpack[Where]) -> dict[tuple[str, ...], int]:
        """Return scopes as `scopes` does."""
        return await adrive(self.store, self._methods.scopes(Selection.of(**where)))

    def categories(self, **where: Unpack[Where]) -> dict[str, int]:
        """Return the categories of the selected records, and how many records each has."""
        return drive(self.store, self._methods.categories(Selection.of(**where)))

    async def acategories(self, **where: Unpack[Where]) -> dict[str, int]:
        """Return categories as `categories` does."""
        return await adrive(self.store, self._methods.categories(Selection.of(**where)))

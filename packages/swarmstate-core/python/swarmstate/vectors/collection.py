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
    """Keyword arguments that select the records that meet all of them.

    Attributes:
        scope: The record's scope begins with these segments.
        categories: The record has at least one of these, if any are given.
        filter: Fields of the record's value meet these conditions, as in
            LangGraph's stores: `{"kind": "fact", "age": {"$gte": 3}}`. The
            operators are `$eq`, `$ne`, `$gt`, `$gte`, `$lt` and `$lte`. Several
            operators on one field must all hold. No field name begins with `$`.
            A plain value means equality, a nested mapping compares the fields of
            a mapping, and a list is compared item by item. An absent field is
            None. Numbers, bools and numeric texts are ordered as numbers, other
            texts by their code points. Values that cannot be compared do not
            match. `UNKNOWN`, in a record or in the filter, always matches.
    """

    scope: Sequence[str]
    categories: Sequence[str]
    filter: Mapping[str, Any] | None


class Collection:
    """Records with embeddings, in one namespace of a store.

    The records are in the store, but the index for searches is not: this object builds
    it from them and keeps it in memory. Before each answer, the index picks up what
    other threads and processes have written. The first search, list or count builds the
    index by reading all records, or by loading the file that it was saved to and
    reading what was written since. Objects that only write need no index.

    Some stores search by themselves (`BaseStore.vector_search`), such as PostgreSQL
    with pgvector. Then nothing is kept in memory, and searches find the same records;
    `stats` says which of the two is in use.

    All methods may be called from any thread and any event loop, even concurrently.
    The async twins, whose names start with `a`, do what their sync methods do. A
    collection has nothing to close: close the store.

    Methods that take `Where` work on the records that `scope`, `categories` and
    `filter` select, and raise `InvalidFilterError` for a filter with an unknown
    operator.

    Args:
        store: The store.
        namespace: The namespace, which must hold nothing else.
        metric: The measure of nearness: "cosine", "dot" (inner product) or "l2"
            (Euclidean distance). It is not stored: collections with different
            metrics may use the same namespace.
        approximate_above: To rank more vectors than this, search only the clusters
            nearest to the query: as many as found 99% of the nearest vectors in a
            trial, and more if these hold too few. A background thread makes the
            clusters. Searches are exact until they are ready, and if searching a
            few of them would not be enough. None: always exact.
        snapshots: Where a background thread saves the index for the next process:
            True for a file in the store's `derived_folder`, if it has one, such as
            the folder beside the file of a `DiskStore`; a folder; or False for
            nowhere. The file holds the embeddings and values of the records, and
            only its owner can read it. It is never trusted: if anything is wrong
            with it, the index is built from the records.
        allow: Classes that may be constructed when values are read; see
            `swarmstate.codec.Codec`.

    Raises:
        TypeError: `store` is not a store, or another argument has the wrong type.
        ValueError: There is no such metric, or `approximate_above` is negative.
        InvalidNameError: (a ValueError) No namespace can have this name.
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
        # Checks the types of the arguments at once, rather than at the first search.
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
        """Store records, atomically, replacing those with the same ids.

        If several records have the same id, the last one counts. Batches of about 100
        are the fastest.

        Raises:
            DimensionError: An embedding's dimension differs from that of the stored
                ones; `clear()` resets the dimension.
            EmbeddingError: An embedding is invalid, or contains NaN or an infinity.
            EncodeError: The codec does not support a value.
        """
        drive(self.store, self._methods.upsert(records))

    async def aupsert(self, records: Iterable[Record]) -> None:
        """Store records as `upsert` does."""
        await adrive(self.store, self._methods.upsert(records))

    def check(self, records: Iterable[Record]) -> None:
        """Raise what `upsert` would raise for these records, but store nothing.

        For callers that must store something related first.
        """
        drive(self.store, self._methods.check(records))

    async def acheck(self, records: Iterable[Record]) -> None:
        """Check records as `check` does."""
        await adrive(self.store, self._methods.check(records))

    def modify(self, ids: Iterable[str], change: Callable[[Record], Record]) -> int:
        """Replace records with the results of `change`, atomically; return how many.

        Concurrent writes are not overwritten: `change` is called again with what they
        wrote, so it must have no side effects. Ids without a record are skipped.

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
        """Return records with their embeddings, in the order of `ids`; None for missing ones."""
        return drive(self.store, self._methods.get(ids))

    async def aget(self, ids: Iterable[str]) -> list[Record | None]:
        """Return records as `get` does."""
        return await adrive(self.store, self._methods.get(ids))

    def delete(self, ids: Iterable[str]) -> int:
        """Delete records, atomically; return how many existed."""
        return drive(self.store, self._methods.delete(ids))

    async def adelete(self, ids: Iterable[str]) -> int:
        """Delete records as `delete` does."""
        return await adrive(self.store, self._methods.delete(ids))

    def delete_where(self, **where: Unpack[Where]) -> int:
        """Delete the selected records, atomically; return how many there were."""
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

        All selected records are ranked, unless they have more than `approximate_above`
        vectors. Scores are always exact. Records with equal scores are ordered by id.
        A record with several embeddings counts with the nearest of them; one without
        embeddings is not found.

        Args:
            embedding: The embedding to search for.
            limit: Return at most this many records.
            offset: Skip this many of the nearest.
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
        """Catch up with other writers, make the clusters of approximate searches, and wait.

        With at most `approximate_above` vectors there are no clusters. The index is also
        saved, if it has a file. Searches do not need this, but it makes the first ones fast:
        call it before serving, for example.

        Raises:
            OSError: The file of the index cannot be written.
        """
        drive(self.store, self._methods.optimize())

    async def aoptimize(self) -> None:
        """Build clusters as `optimize` does."""
        await adrive(self.store, self._methods.optimize())

    def stats(self) -> Stats:
        """Catch up with other writers, and return what the collection holds and searches use."""
        return drive(self.store, self._methods.stats())

    async def astats(self) -> Stats:
        """Return statistics as `stats` does."""
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
        """Return the selected records in order.

        Args:
            order_by: Order by this field of the values: numbers, then texts, then
                everything else; ties are ordered by id. None orders by id.
            descending: Reverse the order.
            limit: Return at most this many; None is all of them.
            offset: Skip this many records.
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
        """Return the number of selected records."""
        return drive(self.store, self._methods.count(Selection.of(**where)))

    async def acount(self, **where: Unpack[Where]) -> int:
        """Return the number of selected records."""
        return await adrive(self.store, self._methods.count(Selection.of(**where)))

    def scopes(self, **where: Unpack[Where]) -> dict[tuple[str, ...], int]:
        """Return the scopes of the selected records, with the number of records in each.

        Parent scopes without records of their own are not included.
        """
        return drive(self.store, self._methods.scopes(Selection.of(**where)))

    async def ascopes(self, **where: Unpack[Where]) -> dict[tuple[str, ...], int]:
        """Return scopes as `scopes` does."""
        return await adrive(self.store, self._methods.scopes(Selection.of(**where)))

    def categories(self, **where: Unpack[Where]) -> dict[str, int]:
        """Return the categories of the selected records, with the number of records in each."""
        return drive(self.store, self._methods.categories(Selection.of(**where)))

    async def acategories(self, **where: Unpack[Where]) -> dict[str, int]:
        """Return categories as `categories` does."""
        return await adrive(self.store, self._methods.categories(Selection.of(**where)))

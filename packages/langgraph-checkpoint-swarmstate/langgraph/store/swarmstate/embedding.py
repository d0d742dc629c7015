"""The embeddings of items: which texts are embedded, and how the vectors are stored.

Embeddings are records of a collection (`swarmstate.vectors`) in the namespace
`langgraph-vectors`. The record of an item names the one that holds its embeddings
by a token, which is new for each put:

    id        the labels, joined by periods, "\\x01", the key, "\\x01", the token
    scope     the labels
    value     {"key": key, "token": token, "value": the part of the item's value to filter by}

Embeddings are written before their item, and those of its older value are removed after
it. Thanks to the token, stale embeddings of an item that was put again or deleted are never
mistaken for current ones. A record whose token no item names belongs to a put in progress,
or is left over from a race or a crash. Searches remove such records once no put can still
be in progress.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator, Mapping, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, SupportsIndex

from langgraph.store.base import IndexConfig, ensure_embeddings, get_text_at_path, tokenize_path

from swarmstate.errors import DecodeError, DimensionError, ItemError
from swarmstate.vectors import Collection, Match, Record, Where

from .layout import Labels

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

    from swarmstate import BaseStore

VECTORS = "langgraph-vectors"

_SEPARATOR = "\x01"

# Seconds after which a put cannot be in progress any more, including differences between clocks.
_LONGEST_PUT = 600.0

_EXPECTED = "expected `embed` to return a list of embeddings, one list of numbers for each text"


class Embed(NamedTuple):
    """A step that is answered with the embeddings of texts to store."""

    embeddings: Embeddings
    texts: list[str]

    def run(self, store: BaseStore) -> list[list[float]]:
        """Embed the texts."""
        return self.embeddings.embed_documents(self.texts)

    async def arun(self, store: BaseStore) -> list[list[float]]:
        """Embed the texts."""
        return await self.embeddings.aembed_documents(self.texts)


class EmbedQueries(NamedTuple):
    """A step that is answered with the embeddings of queries."""

    embeddings: Embeddings
    texts: list[str]

    def run(self, store: BaseStore) -> list[list[float]]:
        """Embed the texts, several at a time."""
        if len(self.texts) == 1:
            return [self.embeddings.embed_query(self.texts[0])]
        with ThreadPoolExecutor() as pool:
            return list(pool.map(self.embeddings.embed_query, self.texts))

    async def arun(self, store: BaseStore) -> list[list[float]]:
        """Embed the texts, several at a time."""
        return await asyncio.gather(*map(self.embeddings.aembed_query, self.texts))


class Rank(NamedTuple):
    """A step that is answered with the records in a scope that pass, nearest to a vector first."""

    collection: Collection
    vector: list[float]
    scope: Labels
    filter: Mapping[str, Any] | None
    offset: int
    limit: int

    def run(self, store: BaseStore) -> list[Match]:
        """Search the collection."""
        with _advising():
            return self.collection.search(
                self.vector, limit=self.limit, offset=self.offset, **self._where()
            )

    async def arun(self, store: BaseStore) -> list[Match]:
        """Search the collection."""
        with _advising():
            return await self.collection.asearch(
                self.vector, limit=self.limit, offset=self.offset, **self._where()
            )

    def _where(self) -> Where:
        return {"scope": self.scope, "filter": {"value": self.filter} if self.filter else None}


class Keep(NamedTuple):
    """A step that stores embeddings and is answered with None."""

    collection: Collection
    records: list[Record]

    def run(self, store: BaseStore) -> None:
        """Store the records."""
        with _advising():
            self.collection.upsert(self.records)

    async def arun(self, store: BaseStore) -> None:
        """Store the records."""
        with _advising():
            await self.collection.aupsert(self.records)


class Forget(NamedTuple):
    """A step that removes embeddings and is answered with their number."""

    collection: Collection
    ids: list[str]

    def run(self, store: BaseStore) -> int:
        """Delete the records."""
        return self.collection.delete(self.ids)

    async def arun(self, store: BaseStore) -> int:
        """Delete the records."""
        return await self.collection.adelete(self.ids)


class Index:
    """The embeddings of items, as configured by LangGraph's `IndexConfig`.

    Args:
        config: The configuration.
        store: The store of the items.

    Raises:
        TypeError: The configuration is not a dict, or `dims` or `embed` has the wrong type.
        ValueError: The configuration names no embeddings, or asks for something unsupported.
    """

    def __init__(self, config: IndexConfig, store: BaseStore) -> None:
        _check_config(config)
        self.config = config
        self.embeddings = ensure_embeddings(config.get("embed"))
        self.collection = Collection(store, VECTORS)
        # LangGraph's database stores also accept a single field.
        fields: Any = config.get("fields") or ["$"]
        self._paths = _tokenized([fields] if isinstance(fields, str) else fields)

    def texts_of(self, value: Mapping[str, Any], fields: Any) -> list[str]:
        """Return the texts of a value to embed, each once.

        Args:
            value: The value.
            fields: The `index` argument of its put: paths, None for the paths of the
                configuration, or False for nothing.
        """
        if fields is False:
            return []
        paths = self._paths if fields is None else _tokenized(fields)
        return [*dict.fromkeys(text for path in paths for text in get_text_at_path(value, path))]

    def checked(self, vectors: list[list[float]], texts: list[str]) -> list[list[float]]:
        """Return the embeddings of texts after checking them.

        Raises:
            TypeError: They are not a list of embeddings.
            ValueError: Their number, or their number of dimensions, is wrong.
        """
        if not isinstance(vectors, Sized):
            raise TypeError(f"{_EXPECTED}, found {type(vectors).__name__}")
        for vector in vectors:
            check_embedding(vector)
        if len(vectors) != len(texts):
            raise ValueError(
                f"expected one embedding for each text, found {len(vectors)} for {len(texts)}: "
                "correct what `embed` returns"
            )
        dims = self.config.get("dims")
        for vector in vectors:
            if dims is not None and len(vector) != dims:
                raise ValueError(
                    f"expected embeddings of {dims} dimensions, as `dims` says, "
                    f"found one of {len(vector)}"
                )
        return vectors


def check_embedding(vector: object) -> None:
    """Check that the embedding of one text is a vector, not a single number.

    Raises:
        TypeError: It is not a vector.
    """
    if not isinstance(vector, Sized):
        raise TypeError(
            f"{_EXPECTED}, found a list of {type(vector).__name__}: even for one text, it must "
            "return a list that holds its embedding"
        )


def new_token(now: float) -> str:
    """Return a token that identifies the embeddings of one put and tells its time."""
    return f"{max(int(now), 0):x}-{secrets.token_hex(6)}"


def is_left_over(token: str, now: float) -> bool:
    """Whether a token is so old that no put in progress can still name it in an item."""
    drawn, found, _ = token.partition("-")
    try:
        return not found or int(drawn, 16) < now - _LONGEST_PUT
    except ValueError:
        return True


def record_id(labels: Labels, key: str, token: str) -> str:
    """Return the id of the record that holds the embeddings of an item."""
    return _SEPARATOR.join((".".join(labels), key, token))


def record_of(labels: Labels, key: str, token: str, known: Any, vectors: Sequence[Any]) -> Record:
    """Return the record with the embeddings of an item, and the `known` part of its value."""
    value = {"key": key, "token": token, "value": known}
    return Record(record_id(labels, key, token), value, vectors, labels)


def named_by(record: Record) -> tuple[Labels, str, str]:
    """Return the labels and key of the item whose embeddings a record holds, and the token.

    Raises:
        ItemError: The record does not name an item.
    """
    key, token = record.value.get("key"), record.value.get("token")
    if not (isinstance(key, str) and isinstance(token, str)):
        raise ItemError(
            f"the record {record.id!r} of collection {VECTORS!r} is damaged: expected it to name "
            f"an item, found {record.value!r:.80}; delete it, and put the item again"
        )
    return tuple(record.scope), key, token


def _check_config(config: object) -> None:
    if not isinstance(config, Mapping):
        raise TypeError(
            "expected index to be a dict such as {'dims': 1536, 'embed': ...}, found "
            f"{type(config).__name__}"
        )
    dims, embed = config.get("dims"), config.get("embed")
    if not (dims is None or isinstance(dims, SupportsIndex)):
        raise TypeError(f"expected `dims` of index to be a number such as 1536, found {dims!r}")
    if not (embed is None or isinstance(embed, str) or callable(embed) or _embeds(embed)):
        raise TypeError(
            "expected `embed` of index to be LangChain's Embeddings, a function or the name of a "
            f"model, found {type(embed).__name__}"
        )
    # Options of LangGraph's other stores that would have no effect here.
    if config.get("text_fields") and not config.get("fields"):
        raise ValueError(
            "expected index to name the fields to embed as `fields`, found `text_fields`, which "
            "only LangGraph's SqliteStore reads: rename it"
        )
    distance = config.get("distance_type")
    if distance not in (None, "cosine"):
        raise ValueError(
            "expected `distance_type` of index to be 'cosine', the only one supported here, "
            f"found {distance!r}: leave it out"
        )


def _embeds(embed: object) -> bool:
    return hasattr(embed, "embed_documents") and hasattr(embed, "embed_query")


@contextmanager
def _advising() -> Iterator[None]:
    """Add advice to errors about embeddings that are damaged or have another dimension."""
    try:
        yield
    except DecodeError as error:
        raise ItemError(
            f"the embeddings of an item are damaged, so none can be searched: {error}; in "
            f"collection {VECTORS!r} an id consists of an item's namespace, its key and a token: "
            "put that item again, or delete it"
        ) from error
    except DimensionError as error:
        advice = "keep the items in another store"
        raise DimensionError(error.stored, error.given, advice) from None


def _tokenized(fields: Sequence[str]) -> list[Any]:
    return [field if field == "$" else tokenize_path(field) for field in fields]

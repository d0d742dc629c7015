"""Which embeddings are those of items that are about to go."""

from __future__ import annotations

from collections.abc import Sequence

from swarmstate import Query
from swarmstate import Result as Answer
from swarmstate.errors import EncryptionError, ItemError, StoreFormatError
from swarmstate.operations import Operation, Read

from .embedding import record_id
from .layout import Labels, item_key, namespace_of
from .records import token_of

# Of items that were encrypted with another key, or not as the store expects it.
_UNREADABLE = EncryptionError, StoreFormatError


def embedded(items: Sequence[tuple[Labels, str]]) -> Operation[list[str]]:
    """Return the ids of the records that hold the embeddings of items.

    An item that cannot be read can be replaced and removed all the same; its embeddings,
    which nothing names, stay until a search meets them.
    """
    queries = [Query(namespace_of(labels), keys=[item_key(key)]) for labels, key in items]
    answers: list[Answer | None] = []
    try:
        answers += yield Read(queries)
    except _UNREADABLE:
        # A layer of the store does not take one of them.
        for query in queries:
            try:
                answers += yield Read([query])
            except _UNREADABLE:
                answers.append(None)
    ids = []
    for (labels, key), answer in zip(items, answers, strict=True):
        record = None if answer is None else answer.values[0]
        token = None if record is None else _token(labels, key, record)
        if token is not None:
            ids.append(record_id(labels, key, token))
    return ids


def _token(labels: Labels, key: str, record: bytes) -> str | None:
    try:
        return token_of(labels, key, record)
    except ItemError:
        return None

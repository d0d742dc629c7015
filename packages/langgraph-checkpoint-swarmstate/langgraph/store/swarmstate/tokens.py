"""Finding the embeddings of items that are to be replaced or deleted."""

from __future__ import annotations

from collections.abc import Sequence

from swarmstate import Query
from swarmstate.errors import ItemError
from swarmstate.operations import Operation, read_apart

from .embedding import record_id
from .layout import Labels, item_key, namespace_of
from .records import token_of


def embedded(items: Sequence[tuple[Labels, str]]) -> Operation[list[str]]:
    """Return the ids of the records that hold the embeddings of items.

    An unreadable item can still be replaced or deleted; its embeddings, which nothing
    names any more, stay until a search finds them.
    """
    queries = [Query(namespace_of(labels), keys=[item_key(key)]) for labels, key in items]
    answers = yield from read_apart(queries)
    ids = []
    for (labels, key), answer in zip(items, answers, strict=True):
        record = None if isinstance(answer, Exception) else answer.values[0]
        token = None if record is None else _token(labels, key, record)
        if token is not None:
            ids.append(record_id(labels, key, token))
    return ids


def _token(labels: Labels, key: str, record: bytes) -> str | None:
    try:
        return token_of(labels, key, record)
    except ItemError:
        return None

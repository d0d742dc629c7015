"""Answering the gets and searches of a batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from langgraph.checkpoint.swarmstate.collector import collector_at_rest
from langgraph.store.base import GetOp, Result, SearchOp

from swarmstate.operations import Operation, Read

from .embedding import EmbedQueries, Index, check_embedding
from .layout import Labels
from .ranking import Ranking
from .records import StoredItem, item_of
from .searching import Found, item_query, query_for, scope_of

if TYPE_CHECKING:
    from langgraph.checkpoint.serde.base import SerializerProtocol

    from swarmstate import Result as Answer


def read(
    serde: SerializerProtocol,
    index: Index | None,
    gets: Sequence[tuple[int, GetOp]],
    searches: Sequence[tuple[int, SearchOp]],
    results: list[Result],
    now: float,
) -> Operation[list[StoredItem]]:
    """Fill in the results of gets and searches; return the items whose expiry they renew.

    Raises:
        ItemError: An item is damaged.
    """
    queries = [item_query(tuple(op.namespace), op.key) for _, op in gets]
    answers: list[Answer] = []
    if not searches:
        if queries:
            answers = yield Read(queries)
        return _got(serde, gets, answers, results, now)
    rankings: dict[int, Ranking] = {}
    if index is not None:
        rankings = yield from _ranked(serde, index, searches, now)
    # Semantic searches need the other items only if there are too few with embeddings.
    prefixes = {
        tuple(search.namespace_prefix)
        for place, search in searches
        if place not in rankings or not rankings[place].is_full
    }
    scopes: dict[Labels, list[Labels]] = {}
    for prefix in sorted(prefixes):
        scopes[prefix] = yield from scope_of(prefix)
    # Within one scope they are already in order.
    spanned = sorted(dict.fromkeys(labels for scope in scopes.values() for labels in scope))
    queries += [query_for(labels) for labels in spanned]
    if queries:
        answers = yield Read(queries)
    used = _got(serde, gets, answers, results, now)
    with collector_at_rest():
        found_in = dict(zip(spanned, answers[len(gets) :], strict=True))
        for place, search in searches:
            scope = scopes.get(tuple(search.namespace_prefix), ())
            found = Found(search, serde, [(labels, found_in[labels]) for labels in scope], now)
            if place in rankings:
                page = rankings[place].page(found)
            else:
                page = found.newest(search.offset + search.limit)[search.offset :]
            results[place] = [result for _, result in page]
            used += [item for item, _ in page] if search.refresh_ttl else []
    return used


def _got(
    serde: SerializerProtocol,
    gets: Sequence[tuple[int, GetOp]],
    answers: Sequence[Answer],
    results: list[Result],
    now: float,
) -> list[StoredItem]:
    """Fill in the results of gets; return the items whose expiry they renew."""
    used = []
    for (place, op), answer in zip(gets, answers, strict=False):
        item = item_of(tuple(op.namespace), op.key, answer)
        if item is not None and not item.is_expired(now):
            results[place] = item.item(serde)
            used += [item] if op.refresh_ttl else []
    return used


def _ranked(
    serde: SerializerProtocol,
    index: Index,
    searches: Iterable[tuple[int, SearchOp]],
    now: float,
) -> Operation[dict[int, Ranking]]:
    """Return the rankings of the searches that have a query, by their places."""
    by_meaning = [(place, search) for place, search in searches if search.query]
    texts = [*dict.fromkeys(str(search.query) for _, search in by_meaning)]
    if not texts:
        return {}
    vectors = yield EmbedQueries(index.embeddings, texts)
    for vector in vectors:
        check_embedding(vector)
    embedded = dict(zip(texts, vectors, strict=True))
    rankings = {}
    for place, search in by_meaning:
        rankings[place] = Ranking(search, index, serde)
        yield from rankings[place].rank(embedded[str(search.query)], now)
    return rankings

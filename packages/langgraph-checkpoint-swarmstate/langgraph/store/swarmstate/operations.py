"""A batch of operations, free of I/O.

As in LangGraph's own stores, all reads come before all writes: a batch reads the state
before it. If an item is put several times, the last put counts.

Round trips: one for all gets and searches (searches first list the namespaces, once per
prefix), and one for all puts. Renewing items that were read costs one more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from langgraph.store.base import (
    GetOp,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchOp,
    validate_op_namespace,
)

from swarmstate.operations import Operation, Write

from .embedding import Embed, Forget, Index, Keep, record_of
from .expiry import renew
from .layout import Labels, check_key, check_labels
from .listing import check_listing, list_namespaces
from .putting import Put, batches_of
from .reading import read
from .searching import check_search
from .tokens import embedded

if TYPE_CHECKING:
    from langgraph.checkpoint.serde.base import SerializerProtocol


@dataclass
class Batched:
    """The operations of a batch by kind, with their places in the batch."""

    gets: list[tuple[int, GetOp]] = field(default_factory=list)
    searches: list[tuple[int, SearchOp]] = field(default_factory=list)
    listings: list[tuple[int, ListNamespacesOp]] = field(default_factory=list)
    puts: dict[tuple[Labels, str], PutOp] = field(default_factory=dict)
    count: int = 0


def sorted_out(ops: Iterable[Op]) -> Batched:
    """Check operations and return them by kind.

    Raises:
        InvalidNamespaceError: LangGraph does not allow a label.
        ValueError: An operation or an argument is unknown.
        TypeError: A value is not a dict, a key is not a string, or a namespace is a single
            string.
    """
    batched = Batched()
    for place, op in enumerate(ops):
        validate_op_namespace(op)
        if isinstance(op, GetOp):
            check_labels(op.namespace)
            check_key(op.key)
            batched.gets.append((place, op))
        elif isinstance(op, SearchOp):
            check_search(op)
            batched.searches.append((place, op))
        elif isinstance(op, ListNamespacesOp):
            check_listing(op)
            batched.listings.append((place, op))
        elif isinstance(op, PutOp):
            check_put(op)
            batched.puts[tuple(op.namespace), op.key] = op
        else:
            raise ValueError(f"Unknown operation type: {type(op)}")
        batched.count = place + 1
    return batched


def check_put(op: PutOp) -> None:
    """Check the arguments that LangGraph does not check.

    Raises:
        TypeError: The value is not a dict, the key is not a string, or the namespace is a
            single string.
    """
    value: object = op.value
    if not (value is None or isinstance(value, Mapping)):
        raise TypeError(f"expected the value of an item to be a dict, found {type(value).__name__}")
    check_labels(op.namespace)
    check_key(op.key)


def run_batch(
    serde: SerializerProtocol, index: Index | None, batched: Batched, now: float
) -> Operation[list[Result]]:
    """Run the operations of a batch and return their results, in order.

    Raises:
        EncodeError: A value cannot be serialized; nothing was stored.
        ItemError: A requested item is damaged; nothing was stored.
    """
    puts = [Put.of(serde, index, op, now) for op in batched.puts.values()]
    results: list[Result] = [None] * batched.count
    used = yield from read(serde, index, batched.gets, batched.searches, results, now)
    for place, listing in batched.listings:
        results[place] = yield from list_namespaces(listing, now)
    if puts:
        if index is None:
            yield Write(batches_of(puts, now))
        else:
            yield from _write_indexed(index, puts, now)
    if used:
        yield from renew(used, now)
    return results


def _write_indexed(index: Index, puts: list[Put], now: float) -> Operation[None]:
    """Put and delete items, and their embeddings with them."""
    texts = [*dict.fromkeys(text for put in puts for text in put.texts)]
    vector_of: dict[str, list[float]] = {}
    if texts:
        vectors = yield Embed(index.embeddings, texts)
        vector_of = dict(zip(texts, index.checked(vectors, texts), strict=True))
    records = [
        record_of(
            put.labels, put.key, put.token, put.known, [vector_of[text] for text in put.texts]
        )
        for put in puts
        if put.token is not None
    ]
    if records:
        # Before the items are written: embeddings that cannot be stored must change none, and
        # no item is to be without its own.
        yield Keep(index.collection, records)
    # As late as possible: what others put before the items are written is left over.
    replaced = yield from embedded([(put.labels, put.key) for put in puts])
    yield Write(batches_of(puts, now))
    if replaced:
        yield Forget(index.collection, replaced)

"""A batch of operations, free of I/O.

All reads come before all writes, as in LangGraph's own stores: what a batch reads
is what was there before it. Of several puts of one item the last one counts.

Round trips: one for all gets, searches included (these ask first which namespaces
there are, once per prefix), one for all puts. Items that are renewed by being read
cost one more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from langgraph.checkpoint.swarmstate.requests import Operation, Read, Write
from langgraph.store.base import (
    GetOp,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchOp,
    validate_op_namespace,
)

from swarmstate import Batch, Query, Range, seal

from .expiry import renew
from .layout import Labels, created_key, expiry_prefix, item_key, namespace_of
from .listing import check_listing, list_namespaces
from .records import Expiry, StoredItem, encode_item, item_of, items_of, microseconds
from .searching import Found, check_search, query_for, scope_of

if TYPE_CHECKING:
    from langgraph.checkpoint.serde.base import SerializerProtocol


class Put(NamedTuple):
    """An item as it is to be stored; without record and expiry it is to be deleted."""

    record: bytes | None
    expiry: Expiry | None


@dataclass
class Changes:
    """What becomes of the items of one namespace."""

    put: dict[str, bytes] = field(default_factory=dict)
    put_if_absent: dict[str, bytes] = field(default_factory=dict)
    delete: list[str] = field(default_factory=list)
    delete_ranges: list[tuple[str, str | None]] = field(default_factory=list)

    def add(self, key: str, put: Put, created: bytes) -> None:
        """Put or delete an item; `created` says when, if it is new."""
        # Whatever becomes of the item, its old expiry does not stay.
        expiries = Range.of_prefix(expiry_prefix(key))
        self.delete_ranges.append((expiries.start, expiries.stop))
        if put.record is None:
            self.delete += [item_key(key), created_key(key)]
            return
        self.put[item_key(key)] = put.record
        self.put_if_absent[created_key(key)] = created
        if put.expiry is not None:
            name, record = put.expiry.record(key)
            self.put[name] = record

    def batch(self, labels: Labels) -> Batch:
        """Return the changes as what a store applies at once."""
        return Batch(
            namespace_of(labels), self.put, self.put_if_absent, self.delete, self.delete_ranges
        )


@dataclass
class Batched:
    """The operations of a batch by their kind, with their places in it."""

    gets: list[tuple[int, GetOp]] = field(default_factory=list)
    searches: list[tuple[int, SearchOp]] = field(default_factory=list)
    listings: list[tuple[int, ListNamespacesOp]] = field(default_factory=list)
    puts: dict[tuple[Labels, str], PutOp] = field(default_factory=dict)
    count: int = 0


def sorted_out(ops: Iterable[Op]) -> Batched:
    """Check operations and return them by their kind.

    Raises:
        InvalidNamespaceError: A label is not what LangGraph allows.
        ValueError: An operation or an argument is none that there is.
    """
    batched = Batched()
    for place, op in enumerate(ops):
        validate_op_namespace(op)
        if isinstance(op, GetOp):
            batched.gets.append((place, op))
        elif isinstance(op, SearchOp):
            check_search(op)
            batched.searches.append((place, op))
        elif isinstance(op, ListNamespacesOp):
            check_listing(op)
            batched.listings.append((place, op))
        elif isinstance(op, PutOp):
            batched.puts[tuple(op.namespace), op.key] = op
        else:
            raise ValueError(f"Unknown operation type: {type(op)}")
        batched.count = place + 1
    return batched


def run_batch(serde: SerializerProtocol, batched: Batched, now: float) -> Operation[list[Result]]:
    """Do what a batch asks for and return its results, in its order.

    Raises:
        EncodeError: A value cannot be serialized; nothing was stored.
        ItemError: An item that was asked for is damaged; nothing was stored.
    """
    puts = [(*place, _encode(serde, op, now)) for place, op in batched.puts.items()]
    results: list[Result] = [None] * batched.count
    used: list[StoredItem] = []
    if batched.gets or batched.searches:
        used = yield from _read(serde, batched, results, now)
    for place, listing in batched.listings:
        results[place] = yield from list_namespaces(listing, now)
    if puts:
        yield Write(_batches(puts, now))
    if used:
        yield from renew(used, now)
    return results


def _read(
    serde: SerializerProtocol, batched: Batched, results: list[Result], now: float
) -> Operation[list[StoredItem]]:
    """Fill in the results of gets and searches; return the items that these renew."""
    scopes: dict[Labels, list[Labels]] = {}
    for _, search in batched.searches:
        prefix = tuple(search.namespace_prefix)
        if prefix not in scopes:
            scopes[prefix] = yield from scope_of(prefix)
    spanned = sorted({labels for scope in scopes.values() for labels in scope})
    queries = [_query_of(op) for _, op in batched.gets] + [query_for(each) for each in spanned]
    answers = yield Read(queries)

    used = []
    for (place, op), answer in zip(batched.gets, answers, strict=False):
        item = item_of(tuple(op.namespace), op.key, answer, now)
        if item is not None:
            results[place] = item.item(serde)
            used += [item] if op.refresh_ttl else []
    items = {
        labels: items_of(labels, answer, now)
        for labels, answer in zip(spanned, answers[len(batched.gets) :], strict=True)
    }
    for place, search in batched.searches:
        found = Found(search, serde)
        for labels in scopes[tuple(search.namespace_prefix)]:
            found.add(items[labels])
        page = found.newest()
        results[place] = [result for _, result in page]
        used += [item for item, _ in page] if search.refresh_ttl else []
    return used


def _query_of(op: GetOp) -> Query:
    return Query(
        namespace_of(op.namespace),
        keys=[item_key(op.key), created_key(op.key)],
        ranges=[Range.of_prefix(expiry_prefix(op.key))],
    )


def _encode(serde: SerializerProtocol, op: PutOp, now: float) -> Put:
    if op.value is None:
        return Put(None, None)
    record = encode_item(serde, tuple(op.namespace), op.key, op.value, microseconds(now))
    return Put(record, Expiry.starting(now, op.ttl))


def _batches(puts: Sequence[tuple[Labels, str, Put]], now: float) -> list[Batch]:
    """Return the changes that put and delete items, one batch for each namespace."""
    created = seal(microseconds(now))
    changes: dict[Labels, Changes] = {}
    for labels, key, put in puts:
        changes.setdefault(labels, Changes()).add(key, put, created)
    return [change.batch(labels) for labels, change in changes.items()]

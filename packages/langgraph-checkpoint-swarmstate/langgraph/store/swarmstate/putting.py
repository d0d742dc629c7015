"""The batches that put and delete items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from langgraph.store.base import PutOp

from swarmstate import Batch, Range
from swarmstate.sharing import seal
from swarmstate.vectors import UNKNOWN

from .embedding import Index, new_token
from .layout import Labels, created_key, expiry_prefix, item_key, namespace_of
from .prefilter import known_of
from .records import Expiry, encode_item, microseconds

if TYPE_CHECKING:
    from langgraph.checkpoint.serde.base import SerializerProtocol


class Put(NamedTuple):
    """An item to store, or to delete if it has no record.

    Attributes:
        labels: Its namespace.
        key: Its key.
        record: Its record.
        expiry: When it expires, if it does.
        texts: Its texts to embed.
        token: The token that names its embeddings; None if there is nothing to embed.
        known: The part of its value that the index may know.
    """

    labels: Labels
    key: str
    record: bytes | None = None
    expiry: Expiry | None = None
    texts: Sequence[str] = ()
    token: str | None = None
    known: Any = UNKNOWN

    @classmethod
    def of(cls, serde: SerializerProtocol, index: Index | None, op: PutOp, now: float) -> Put:
        """Return the put for an operation.

        Raises:
            EncodeError: The value cannot be serialized.
            TypeError: The time to live is not a number.
            ValueError: It is NaN.
        """
        labels = tuple(op.namespace)
        if op.value is None:
            return cls(labels, op.key)
        texts = index.texts_of(op.value, op.index) if index else []
        token = new_token(now) if texts else None
        record = encode_item(serde, labels, op.key, op.value, microseconds(now), token)
        known = known_of(serde, op.value) if texts else UNKNOWN
        return cls(labels, op.key, record, Expiry.starting(now, op.ttl), texts, token, known)


@dataclass
class Changes:
    """The changes to the items of one namespace."""

    put: dict[str, bytes] = field(default_factory=dict)
    put_if_absent: dict[str, bytes] = field(default_factory=dict)
    delete: list[str] = field(default_factory=list)
    delete_ranges: list[tuple[str, str | None]] = field(default_factory=list)

    def add(self, put: Put, created: bytes) -> None:
        """Put or delete an item; `created` is the record of when, if it is new."""
        # In any case the old expiry goes.
        expiries = Range.of_prefix(expiry_prefix(put.key))
        self.delete_ranges.append((expiries.start, expiries.stop))
        if put.record is None:
            self.delete += [item_key(put.key), created_key(put.key)]
            return
        self.put[item_key(put.key)] = put.record
        self.put_if_absent[created_key(put.key)] = created
        if put.expiry is not None:
            name, record = put.expiry.record(put.key)
            self.put[name] = record

    def batch(self, labels: Labels) -> Batch:
        """Return the changes as one batch."""
        return Batch(
            namespace_of(labels), self.put, self.put_if_absent, self.delete, self.delete_ranges
        )


def batches_of(puts: Sequence[Put], now: float) -> list[Batch]:
    """Return the batches that put and delete items, one for each namespace."""
    created = seal(microseconds(now))
    changes: dict[Labels, Changes] = {}
    for put in puts:
        changes.setdefault(put.labels, Changes()).add(put, created)
    return [change.batch(labels) for labels, change in changes.items()]

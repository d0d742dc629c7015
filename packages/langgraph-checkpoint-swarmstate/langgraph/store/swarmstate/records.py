"""The records of an item.

Each is the msgpack array `[content, check]` (`swarmstate.sharing.seal`). The contents are

    created/    microseconds since the Unix epoch
    expiry/     the time to live, in minutes
    item/       [microseconds since the Unix epoch, type, bytes, token]

`type` and `bytes` are the output of the store's serializer. The token names the
item's embeddings (see `embedding`); nil if it has none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NamedTuple, SupportsFloat, TypeVar

from langgraph.checkpoint.swarmstate.values import dump
from langgraph.store.base import Item, SearchItem

from swarmstate import Result
from swarmstate.errors import CodecError, ItemError
from swarmstate.sharing import newest_items, seal, unseal

from .layout import CREATED, ITEMS, LAST_TIME, Labels, expiry_key, namespace_of, parse_expiry

if TYPE_CHECKING:
    from langgraph.checkpoint.serde.base import SerializerProtocol

T = TypeVar("T")

Records = list[tuple[str, bytes]]

_UNREADABLE = (CodecError, AttributeError, LookupError, OverflowError, TypeError, ValueError)

_EPOCH = datetime.fromtimestamp(0, timezone.utc)


def minutes_of(name: str, found: object) -> float:
    """Return a number of minutes, given as any kind of number.

    Raises:
        TypeError: It is not a number but, for example, a string from the environment.
    """
    if not isinstance(found, SupportsFloat):
        raise TypeError(f"expected {name} to be a number of minutes, found {found!r:.80}")
    try:
        return float(found)
    except OverflowError:
        return -math.inf if found < 0 else math.inf  # type: ignore[operator]  # an int, or the like


class Expiry(NamedTuple):
    """When an item expires.

    Attributes:
        expires: Milliseconds since the Unix epoch.
        minutes: Time to live since its last use, in minutes.
    """

    expires: int
    minutes: float

    @classmethod
    def starting(cls, now: float, minutes: float | None) -> Expiry | None:
        """Return the expiry of an item that is used `now` (in seconds).

        None means never: no minutes are given, or more than the format can hold.

        Raises:
            TypeError: The minutes are not a number.
            ValueError: They are NaN.
        """
        if minutes is None:
            return None
        minutes = minutes_of("ttl", minutes)
        if math.isnan(minutes):
            raise ValueError("expected ttl to be a number of minutes, found nan")
        expires = (now + minutes * 60) * 1000
        return cls(math.ceil(max(expires, 0)), minutes) if expires < LAST_TIME else None

    def record(self, key: str) -> tuple[str, bytes]:
        """Return the record of this expiry for the item `key`."""
        return expiry_key(key, self.expires), seal(self.minutes)


class StoredItem(NamedTuple):
    """An item's records; its value and creation time are still encoded."""

    labels: Labels
    key: str
    created: bytes
    updated: int
    data: tuple[str, bytes]
    token: str | None
    expiry: Expiry | None

    def is_expired(self, now: float) -> bool:
        """Whether the item is expired at `now`, in seconds."""
        return self.expiry is not None and self.expiry.expires <= now * 1000

    def order(self) -> tuple[int, Labels, str]:
        """Return the sort key of items: the most recent put comes first."""
        return -self.updated, self.labels, self.key

    def value(self, serde: SerializerProtocol) -> dict[str, Any]:
        """Return the value.

        Raises:
            ItemError: It is damaged.
        """
        return _read(self.labels, self.key, lambda: dict(serde.loads_typed(self.data)))

    def times(self) -> tuple[datetime, datetime]:
        """Return when it was put first, and when it was put last.

        Raises:
            ItemError: A record is damaged.
        """
        return _read(
            self.labels,
            self.key,
            lambda: (_datetime(unseal(self.created)), _datetime(self.updated)),
        )

    def item(self, serde: SerializerProtocol) -> Item:
        """Return the item in LangGraph's form.

        Raises:
            ItemError: It is damaged.
        """
        created, updated = self.times()
        return Item(
            value=self.value(serde),
            key=self.key,
            namespace=self.labels,
            created_at=created,
            updated_at=updated,
        )

    def search_item(
        self, serde: SerializerProtocol, value: dict[str, Any] | None, score: float | None
    ) -> SearchItem:
        """Return the item as a search result; `value` if it has been decoded already.

        Raises:
            ItemError: It is damaged.
        """
        created, updated = self.times()
        return SearchItem(
            value=self.value(serde) if value is None else value,
            key=self.key,
            namespace=self.labels,
            created_at=created,
            updated_at=updated,
            score=score,
        )


def encode_item(
    serde: SerializerProtocol,
    labels: Labels,
    key: str,
    value: Mapping[str, Any],
    updated: int,
    token: str | None,
) -> bytes:
    """Return the record of an item.

    Raises:
        EncodeError: The value cannot be serialized.
    """
    return seal((updated, *dump(serde, dict(value), describe(labels, key)), token))


def microseconds(now: float) -> int:
    """Return a time, given in seconds, as the records store it."""
    return round(now * 1_000_000)


def newest_of(
    spanned: Sequence[tuple[Labels, Result]],
    now: float,
    count: int | None,
    passing: dict[str, Any] | None,
) -> Iterator[StoredItem]:
    """Yield the items of namespaces that were read whole, in order, without expired ones.

    All records are looked at immediately; items are created as they are asked for.

    Args:
        spanned: The namespaces in order, each with the records read from it.
        now: The time, in seconds.
        count: At most this many; None for all.
        passing: A filter; some of the items that fail it are left out.

    Raises:
        ItemError: A record is damaged.
    """
    records = [result.ranges[0] for _, result in spanned]
    # The count may exceed a machine integer.
    most = None if count is None else min(count, sum(map(len, records)))
    found = newest_items(records, now * 1000, most, passing)
    if found is None:
        return iter(_sorted_items(spanned, now)[:count])
    return (
        _item_at(spanned[at][0], records[at], item, created, expires)
        for at, item, created, expires in found
    )


def _item_at(
    labels: Labels, records: Records, item: int, created: int, expires: int | None
) -> StoredItem:
    name, record = records[item]
    expiry = None if expires is None else decode_expiry(labels, *records[expires])[1]
    return decode_item(labels, name[len(ITEMS) :], record, records[created][1], expiry)


def _sorted_items(spanned: Iterable[tuple[Labels, Result]], now: float) -> list[StoredItem]:
    """Return all items in order; unlike `newest_items`, say which record is damaged."""
    items: list[StoredItem] = []
    for labels, result in spanned:
        items += _items_in(labels, result.ranges[0], now)
    return sorted(items, key=StoredItem.order)


def _items_in(labels: Labels, records: Records, now: float) -> Iterator[StoredItem]:
    created: dict[str, bytes] = {}
    expiries: dict[str, Expiry] = {}
    # In key order, the item record comes after the item's other records.
    for name, record in records:
        if name.startswith(ITEMS):
            key = name[len(ITEMS) :]
            item = decode_item(labels, key, record, created.get(key), expiries.get(key))
            if not item.is_expired(now):
                yield item
        elif name.startswith(CREATED):
            created[name[len(CREATED) :]] = record
        else:
            key, expiry = decode_expiry(labels, name, record)
            expiries[key] = expiry


def item_of(labels: Labels, key: str, result: Result) -> StoredItem | None:
    """Return an item, which may be expired, from the answer to its query.

    Raises:
        ItemError: A record is damaged.
    """
    record, created = result.values
    expiries = [decode_expiry(labels, *found)[1] for found in result.ranges[0]]
    if record is None:
        return None
    return decode_item(labels, key, record, created, expiries[0] if expiries else None)


def token_of(labels: Labels, key: str, record: bytes) -> str | None:
    """Return the token that names the embeddings of an item.

    Raises:
        ItemError: The record is damaged.
    """
    return _content(labels, key, record)[3]


def decode_expiry(labels: Labels, name: str, record: bytes) -> tuple[str, Expiry]:
    """Return the key of an item and when it expires.

    Raises:
        ItemError: The record is damaged.
    """
    key, expires = parse_expiry(namespace_of(labels), name)
    return key, Expiry(expires, _read(labels, key, lambda: _minutes(unseal(record))))


def decode_item(
    labels: Labels, key: str, record: bytes, created: bytes | None, expiry: Expiry | None
) -> StoredItem:
    """Parse an item's records.

    Raises:
        ItemError: A record is damaged or missing.
    """
    if created is None:
        raise ItemError(
            f"{describe(labels, key)} is incomplete: its record of {CREATED!r} is missing"
        )
    updated, type_, data, token = _content(labels, key, record)
    return StoredItem(labels, key, created, updated, (type_, data), token, expiry)


def describe(labels: Labels, key: str) -> str:
    """Return a description of an item for messages."""
    return f"item {key!r} of namespace {labels!r}"


def _content(labels: Labels, key: str, record: bytes) -> tuple[int, str, bytes, str | None]:
    try:
        content = unseal(record)
        updated, type_, data, token = content
        if not (
            type(updated) is int
            and type(type_) is str
            and type(data) is bytes
            and (token is None or type(token) is str)
        ):
            raise TypeError(f"expected a time, a type, bytes and a token, found {content!r:.80}")
    except _UNREADABLE as error:
        raise _damaged(labels, key, error) from error
    return updated, type_, data, token


def _read(labels: Labels, key: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except NotImplementedError as error:
        raise ItemError(
            f"{describe(labels, key)} was written by another kind of serializer, which this one "
            f"cannot read ({error}); use the one that wrote it"
        ) from error
    except _UNREADABLE as error:
        raise _damaged(labels, key, error) from error


def _damaged(labels: Labels, key: str, error: Exception) -> ItemError:
    return ItemError(f"{describe(labels, key)} is damaged: {error}")


def _minutes(content: object) -> float:
    if type(content) is not float:
        raise TypeError(f"expected a number of minutes, found {content!r:.80}")
    return content


def _datetime(micros: object) -> datetime:
    if type(micros) is not int:
        raise TypeError(f"expected a time, found {micros!r:.80}")
    return _EPOCH + timedelta(microseconds=micros)

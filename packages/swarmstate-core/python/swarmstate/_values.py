"""The value plane, as operations on the byte plane; see `swarmstate.operations`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from swarmstate._checks import several
from swarmstate._core import Snapshot, check_name
from swarmstate._plane import Batch, Query, Range
from swarmstate.errors import ConflictError
from swarmstate.operations import Namespaces, Operation, Read, Write, adrive, drive

if TYPE_CHECKING:
    from swarmstate.codec import Codec
    from swarmstate.merge import Mergeable

__all__ = [
    "adrive",
    "clear",
    "contains",
    "delete",
    "drive",
    "get",
    "get_many",
    "items",
    "keys",
    "length",
    "merge",
    "restore",
    "set_many",
    "snapshot",
]

M = TypeVar("M", bound="Mergeable")
T = TypeVar("T")

# How many namespaces an operation over all of them handles per step.
PAGE = 100


def page(after: str | None) -> Namespaces:
    """Return the step that lists the next namespaces."""
    return Namespaces(after=after, limit=PAGE)


def set_many(
    codec: Codec, namespace: str, items: Mapping[str, Any], ttl: float | None
) -> Operation[None]:
    """Encode everything before anything is written."""
    put = {key: codec.dumps(value) for key, value in items.items()}
    yield Write([Batch(namespace, put=put, ttl=ttl)])


def get(codec: Codec, namespace: str, key: str, default: T) -> Operation[Any | T]:
    [result] = yield Read([Query(namespace, keys=[key])])
    [data] = result.values
    return default if data is None else codec.loads(data)


def get_many(codec: Codec, namespace: str, keys: Iterable[str]) -> Operation[dict[str, Any]]:
    keys = several(keys, "keys")
    [result] = yield Read([Query(namespace, keys=keys)])
    return {
        key: codec.loads(data)
        for key, data in zip(keys, result.values, strict=True)
        if data is not None
    }


def merge(codec: Codec, namespace: str, key: str, value: M, ttl: float | None) -> Operation[M]:
    """Read, merge and compare-and-swap, until no other write comes in between."""
    while True:
        [result] = yield Read([Query(namespace, keys=[key])])
        [found] = result.values
        if found is None:
            _check_merges(value, "a mergeable value")
            merged = value
        else:
            kept: Any = codec.loads(found)
            _check_merges(kept, f"the value of {key!r} in namespace {namespace!r} to be mergeable")
            merged = kept.merge(value)
        data = codec.dumps(merged)
        if data == found and ttl is None:
            return merged
        try:
            expected = {key: found}
            yield Write([Batch(namespace, put={key: data}, ttl=ttl, expect_values=expected)])
        except ConflictError:
            # Another writer succeeded, so the writers as a whole make progress.
            continue
        return merged


def _check_merges(value: object, what: str) -> None:
    if not callable(getattr(value, "merge", None)):
        raise TypeError(
            f"expected {what}, such as one from swarmstate.merge, found {type(value).__name__}"
        )


def contains(namespace: str, key: str) -> Operation[bool]:
    check_name(key, "key")
    # The key alone: the value may be large, and layers would have to decode it.
    wanted = Range(key, limit=1, keys_only=True)
    [result] = yield Read([Query(namespace, ranges=[wanted])])
    return [found for found, _ in result.ranges[0]] == [key]


def delete(namespace: str, key: str) -> Operation[bool]:
    found = yield from contains(namespace, key)
    if found:
        yield Write([Batch(namespace, delete=[key])])
    return found


def keys(namespace: str, prefix: str) -> Operation[list[str]]:
    wanted = Range.of_prefix(prefix, keys_only=True)
    [result] = yield Read([Query(namespace, ranges=[wanted])])
    return [key for key, _ in result.ranges[0]]


def items(codec: Codec, namespace: str, prefix: str) -> Operation[list[tuple[str, Any]]]:
    [result] = yield Read([Query(namespace, ranges=[Range.of_prefix(prefix)])])
    return [(key, codec.loads(data)) for key, data in result.ranges[0]]


def clear(namespace: str | None) -> Operation[None]:
    if namespace is not None:
        yield Write([Batch(namespace, clear=True)])
        return
    names: list[str] = yield page(None)
    while names:
        yield Write([Batch(name, clear=True) for name in names])
        names = yield page(names[-1])


def length() -> Operation[int]:
    count = 0
    names: list[str] = yield page(None)
    while names:
        every_key = [Range(keys_only=True)]
        results = yield Read([Query(name, ranges=every_key) for name in names])
        count += sum(len(result.ranges[0]) for result in results)
        names = yield page(names[-1])
    return count


def snapshot(snapshot_id: int) -> Operation[Snapshot]:
    timestamp = time.time()
    records: dict[str, dict[str, bytes]] = {}
    names: list[str] = yield page(None)
    while names:
        results = yield Read([Query(name, ranges=[Range()]) for name in names])
        for name, result in zip(names, results, strict=True):
            records[name] = dict(result.ranges[0])
        names = yield page(names[-1])
    return Snapshot.of_records(snapshot_id, timestamp, records)


def restore(snapshot: Snapshot) -> Operation[None]:
    _check_snapshot(snapshot)
    wanted = snapshot.namespaces
    for start in range(0, len(wanted), PAGE):
        yield Write(
            [
                Batch(name, put=snapshot.records(name), clear=True)
                for name in wanted[start : start + PAGE]
            ]
        )
    kept = set(wanted)
    names: list[str] = yield page(None)
    while names:
        yield Write([Batch(name, clear=True) for name in names if name not in kept])
        names = yield page(names[-1])


def _check_snapshot(snapshot: object) -> None:
    if not isinstance(snapshot, Snapshot):
        found = type(snapshot).__name__
        raise TypeError(f"expected a Snapshot from a store's snapshot(), found {found}")

"""The head of a collection: whether it exists, its dimension, and the ends of its log.

Operations, written once and free of I/O; see `swarmstate.operations`.
"""

from __future__ import annotations

from contextlib import suppress

from swarmstate._plane import Batch, Query, Range
from swarmstate.codec import loads
from swarmstate.errors import (
    ConflictError,
    DecodeError,
    DimensionError,
    StoreFormatError,
    TypeNotAllowedError,
)
from swarmstate.operations import Operation, Read, Write
from swarmstate.vectors import _layout as layout
from swarmstate.vectors._shared import Head, Shared


def read_head(shared: Shared) -> Operation[Head | None]:
    [result] = yield Read([layout.head_query(shared.namespace)])
    [meta] = result.values
    if meta is None:
        return None
    check_format(shared, meta)
    dimensions, *lanes = result.ranges
    tails = [key for entries in lanes for key, _ in entries]
    size = dimensions[0][0].removeprefix(layout.DIMENSIONS) if dimensions else None
    if not layout.are_tails(tails) or not (size is None or size.isdecimal()):
        raise StoreFormatError(
            f"the collection in namespace {shared.namespace!r} is damaged: expected a dimension "
            f"and the last entries of {len(layout.LANES)} lanes, found {size!r} and {tails}; "
            "restore a backup, or copy its records to another collection"
        )
    return Head(None if size is None else int(size), dict(zip(layout.LANES, tails, strict=True)))


def check_format(shared: Shared, meta: bytes) -> None:
    try:
        found = loads(meta)["v"]
    except (DecodeError, TypeNotAllowedError, TypeError, LookupError):
        raise no_collection(shared) from None
    if found != layout.FORMAT:
        raise StoreFormatError(
            f"expected a collection with format {layout.FORMAT} in namespace "
            f"{shared.namespace!r}, found format {found}: use the version of swarmstate "
            "that wrote it, or a newer one"
        )


def open_head(shared: Shared, dimensions: int | None) -> Operation[Head]:
    """Return the head, after creating the collection and setting its dimension as needed.

    Raises:
        DimensionError: The collection has another dimension.
        StoreFormatError: The namespace holds something else.
    """
    head = shared.head
    if head is not None and dimensions in (None, head.dimensions):
        return head
    while True:
        # Read it anew: the collection may have been cleared in the meantime.
        head = shared.head = yield from read_head(shared)
        if head is None:
            batch = layout.creation(shared.namespace, dimensions)
        elif dimensions in (None, head.dimensions):
            return head
        elif head.dimensions is not None:
            raise DimensionError(head.dimensions, dimensions or 0)
        else:
            batch = layout.first_dimension(shared.namespace, dimensions)
        with suppress(ConflictError):
            yield Write([batch])
            continue
        if head is None:
            # Others created it, and may have cleared it since, or it is not a collection.
            yield from read_meta(shared)


def check_dimensions(shared: Shared, dimensions: int) -> Operation[None]:
    """Check a dimension against that of the collection, if it has one.

    Raises:
        DimensionError: The collection has another dimension.
        StoreFormatError: The namespace holds something else.
    """
    head = shared.head
    if head is None or head.dimensions != dimensions:
        # Read it anew: the collection may have been cleared in the meantime.
        head = shared.head = yield from read_head(shared)
    if head is not None and head.dimensions not in (None, dimensions):
        raise DimensionError(head.dimensions or 0, dimensions)


def no_collection(shared: Shared) -> StoreFormatError:
    return StoreFormatError(
        f"namespace {shared.namespace!r} holds records that are not a collection: choose another "
        "namespace"
    )


def read_meta(shared: Shared) -> Operation[bytes | None]:
    """Return the record that marks a collection, or None if the namespace is empty.

    Raises:
        StoreFormatError: The namespace holds something else.
    """
    query = Query(shared.namespace, keys=[layout.META], ranges=[Range(limit=1, keys_only=True)])
    [result] = yield Read([query])
    meta: bytes | None = result.values[0]
    if meta is None and result.ranges[0]:
        raise no_collection(shared)
    return meta


def clear(shared: Shared) -> Operation[None]:
    """Delete everything, if the namespace holds a collection.

    Raises:
        StoreFormatError: The namespace holds something else.
    """
    while True:
        meta = yield from read_meta(shared)
        if meta is None:
            return
        check_format(shared, meta)
        # Must not delete what somebody else has put there in the meantime.
        batch = Batch(shared.namespace, clear=True, expect_values={layout.META: meta})
        with suppress(ConflictError):
            yield Write([batch])
            return

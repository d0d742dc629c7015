"""Renewing items that were read, and removing expired ones.

Both change an item only if its expiry is still the one that was seen: a concurrent
put or delete wins. A batch has only one expectation, so each item needs its own
batch; the batches of many items still take one round trip.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, InvalidStateError
from typing import TypeVar

from langgraph.store.base import TTLConfig

from swarmstate import Batch, Expect, Query, Range
from swarmstate.errors import ConflictError, StoreClosedError, StoreReadOnlyError
from swarmstate.operations import Namespaces, Operation, Read, Write

from .embedding import Forget, Index
from .layout import (
    EXPIRY,
    ITEMS,
    STORES,
    created_key,
    expiry_prefix,
    item_key,
    labels_of,
    namespace_of,
    parse_expiry,
)
from .records import Expiry, StoredItem, minutes_of
from .tokens import embedded

T = TypeVar("T")

logger = logging.getLogger(__name__)

# Number of namespaces, or items, that a sweep handles per round trip.
_PAGE = 100


def renew(items: Iterable[StoredItem], now: float) -> Operation[None]:
    """Restart the time to live of items that expire, from `now`."""
    batches = {}
    for item in items:
        old = item.expiry
        new = None if old is None else Expiry.starting(now, old.minutes)
        if old is None or new is None or new.expires <= old.expires:
            continue
        prefix = expiry_prefix(item.key)
        name, record = new.record(item.key)
        batches[item.labels, item.key] = Batch(
            namespace_of(item.labels),
            put={name: record},
            delete=[old.record(item.key)[0]],
            expect=Expect(prefix, old.record(item.key)[0]),
        )
    if batches:
        try:
            yield from _each([*batches.values()])
        except StoreReadOnlyError:
            # In a read-only store, items expire at their original time.
            logger.debug("items read from a read-only store were not renewed")


def sweep(index: Index | None, now: float) -> Operation[int]:
    """Remove the items that are expired at `now`; return how many were found."""
    names: list[str] = yield Namespaces(STORES)
    count = 0
    for page in _pages(names):
        queries = [Query(name, ranges=[Range.of_prefix(EXPIRY, keys_only=True)]) for name in page]
        results = yield Read(queries)
        expired = [
            _removal(name, found)
            for name, result in zip(page, results, strict=True)
            for found, _ in result.ranges[0]
            if parse_expiry(name, found)[1] <= now * 1000
        ]
        count += len(expired)
        for batches in _pages(expired):
            yield from _each(batches) if index is None else _each_indexed(index, batches)
    return count


def _removal(namespace: str, found: str) -> Batch:
    key, _ = parse_expiry(namespace, found)
    return Batch(
        namespace,
        delete=[created_key(key), item_key(key), found],
        expect=Expect(expiry_prefix(key), found),
    )


def _each_indexed(index: Index, removals: list[Batch]) -> Operation[None]:
    """Remove the items whose expectation holds, and their embeddings."""
    items = [(labels_of(batch.namespace), batch.delete[1][len(ITEMS) :]) for batch in removals]
    before = yield from embedded(items)
    yield from _each(removals)
    if before:
        # An item that was renewed by a slower clock still exists.
        gone = set(before).difference((yield from embedded(items)))
        if gone:
            yield Forget(index.collection, sorted(gone))


def _each(batches: list[Batch]) -> Operation[None]:
    """Apply the batches whose expectation holds."""
    try:
        yield Write(batches)
    except ConflictError:
        # Batches before the failed one were applied, so their expectations fail now.
        for batch in batches:
            with contextlib.suppress(ConflictError):
                yield Write([batch])


def _pages(items: list[T]) -> Iterator[list[T]]:
    return (items[start : start + _PAGE] for start in range(0, len(items), _PAGE))


def check_ttl_config(config: TTLConfig | None) -> None:
    """Check a configuration of expiry.

    Raises:
        TypeError: It is not a dict, or a number of minutes is not a number.
        ValueError: It has keys that LangGraph's `TTLConfig` does not have, or all items
            would expire as soon as they are put.
    """
    if config is None:
        return
    known = sorted(TTLConfig.__annotations__)
    if not isinstance(config, dict):
        raise TypeError(
            "expected ttl to be a dict such as {'default_ttl': 60} (minutes), found "
            f"{type(config).__name__}"
        )
    if unknown := sorted(config.keys() - set(known)):
        raise ValueError(f"expected ttl keys among {known}, found {unknown}")
    for name in ("default_ttl", "sweep_interval_minutes"):
        if config.get(name) is not None:
            minutes = minutes_of(name, config[name])
            if name == "default_ttl" and not minutes > 0:
                raise ValueError(
                    f"expected default_ttl to be a positive number of minutes, found {minutes:g}; "
                    "without it items do not expire"
                )


class Sweeper:
    """A thread that sweeps at intervals until it is stopped.

    Args:
        sweep: Removes what has expired, and returns how many items that was.
    """

    def __init__(self, sweep: Callable[[], int]) -> None:
        self._sweep = sweep
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ended: Future[None] | None = None

    def start(self, minutes: float) -> Future[None]:
        """Start the thread, unless it is already running.

        The returned future is done when the thread has ended; cancelling it ends the thread.

        Raises:
            TypeError: The interval is not a number.
            ValueError: It is not positive and finite.
        """
        seconds = minutes_of("sweep_interval_minutes", minutes) * 60
        if not 0 < seconds < math.inf:
            raise ValueError(
                f"expected a positive finite interval between sweeps, found {seconds!r} s"
            )
        with self._lock:
            if self._ended is not None and not self._ended.done():
                return self._ended
            self._ended = ended = Future[None]()
            wakeup = threading.Event()
            ended.add_done_callback(lambda _: wakeup.set())
            self._thread = threading.Thread(
                target=self._loop,
                # The longest wait that a lock supports, which is centuries.
                args=(min(seconds, threading.TIMEOUT_MAX), wakeup, ended),
                daemon=True,
                name="swarmstate-sweeper",
            )
            self._thread.start()
            return ended

    def stop(self, timeout: float | None) -> bool:
        """Stop the thread; return whether it ended within `timeout` seconds."""
        with self._lock:
            thread, ended = self._thread, self._ended
        if thread is None or ended is None:
            return True
        if not ended.done():
            ended.cancel()
        if thread is not threading.current_thread():
            thread.join(timeout)
        return not thread.is_alive()

    def _loop(self, seconds: float, wakeup: threading.Event, ended: Future[None]) -> None:
        while not wakeup.wait(seconds):
            try:
                if count := self._sweep():
                    logger.info("removed %d expired items", count)
            except StoreClosedError:
                with contextlib.suppress(InvalidStateError):  # cancelled at this moment
                    ended.set_result(None)
                return
            except Exception:
                # The next sweep will remove what this one could not.
                logger.exception("failed to remove expired items; retrying in %g s", seconds)

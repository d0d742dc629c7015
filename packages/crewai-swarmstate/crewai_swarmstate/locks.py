"""CrewAI's named locks, held in a swarmstate store.

A lock is a lease: the record `holder` in a namespace that expires. The holder renews its lease;
after a process dies, its lease expires.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from swarmstate.base import Batch, check_seconds
from swarmstate.codec import Codec
from swarmstate.errors import ConflictError, StoreError

from .handles import canonical_uri, shared_store

__all__ = ["LockTimeoutError", "lock_backend"]

logger = logging.getLogger(__name__)

_codec = Codec()

_HOLDER = "holder"
# The first and the longest wait between attempts, in seconds.
_WAITS = 0.002, 0.1


class LockTimeoutError(StoreError, TimeoutError):
    """The lock did not become free within the timeout."""


def lock_backend(
    uri: str | os.PathLike[str], *, lease: float = 30.0
) -> Callable[..., AbstractContextManager[None]]:
    """Return a lock backend for `crewai_core.lock_store.set_lock_backend`.

    The locks work across all processes that use the store, on any machine. Like CrewAI's own, they
    are not reentrant.

    Args:
        uri: The store: what `swarmstate.open` takes, or the path of a file.
        lease: Seconds until the lock of a dead process becomes free. A live holder renews its lease
            three times in that period, and keeps retrying while the store is unavailable.

    Raises:
        TypeError: `lease` is not a number.
        ValueError: `lease` is not positive and finite.
    """
    check_seconds("lease", lease)
    canonical = canonical_uri(uri)

    @contextmanager
    def lock(name: str, *, timeout: float = 120) -> Iterator[None]:
        # Each step looks up the store by URI: it may be closed and reopened in the meantime.
        namespace = f"crewai-lock:{name}"
        token = _codec.dumps(uuid.uuid4().hex)
        _acquire(canonical, namespace, token, lease, timeout, name)
        released = threading.Event()
        renewing = threading.Thread(
            target=_renew,
            args=(canonical, namespace, token, lease, released),
            name="crewai-swarmstate-lock",
            daemon=True,
        )
        has_failed = True
        try:
            renewing.start()
            yield
            has_failed = False
        finally:
            released.set()
            if renewing.is_alive():
                renewing.join()
            try:
                _release(canonical, namespace, token)
            except StoreError as error:
                if not has_failed:
                    raise
                # Raising here would hide the error that occurred while the lock was held.
                logger.warning("could not release lock %r: %s", name, error)

    return lock


def _acquire(
    uri: str, namespace: str, token: bytes, lease: float, timeout: float, name: str
) -> None:
    deadline = time.monotonic() + timeout
    wait, longest = _WAITS
    taking = Batch(namespace, put={_HOLDER: token}, ttl=lease, expect_values={_HOLDER: None})
    while True:
        try:
            shared_store(uri).write([taking])
        except ConflictError:
            if time.monotonic() >= deadline:
                raise LockTimeoutError(
                    f"expected lock {name!r} to be free within {timeout} s, but it is still held"
                ) from None
        else:
            return
        # Jitter, so that waiting processes do not retry in lockstep.
        time.sleep(min(random.uniform(wait / 2, wait), max(deadline - time.monotonic(), 0)))
        wait = min(wait * 2, longest)


def _renew(uri: str, namespace: str, token: bytes, lease: float, released: threading.Event) -> None:
    wait = lease / 3
    while not released.wait(wait):
        wait = lease / 3
        try:
            shared_store(uri).write([Batch(namespace, ttl=lease, expect_values={_HOLDER: token})])
        except ConflictError:
            return  # The lease expired, so another process may hold the lock now.
        except StoreError as error:
            # Retry sooner than usual, before the rest of the lease runs out.
            wait = lease / 10
            logger.warning("could not renew %r, trying again: %s", namespace, error)


def _release(uri: str, namespace: str, token: bytes) -> None:
    try:
        shared_store(uri).write([Batch(namespace, clear=True, expect_values={_HOLDER: token})])
    except ConflictError:
        raise StoreError(
            f"{namespace!r} was held for longer than its lease, so others may have held it too: "
            "choose a longer lease"
        ) from None

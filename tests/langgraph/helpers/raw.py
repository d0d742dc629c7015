"""Access to a store's records behind the saver's back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swarmstate.base import Batch, Query, Range

if TYPE_CHECKING:
    from swarmstate.base import BaseStore

__all__ = ["delete", "everything", "keys", "read", "replace"]


def everything(store: BaseStore) -> dict[tuple[str, str], bytes]:
    """Return all records of all namespaces."""
    return {
        (namespace, key): value
        for namespace in store.namespaces()
        for key, value in store.read([Query(namespace, ranges=[Range()])])[0].ranges[0]
    }


def keys(store: BaseStore, thread: str, kind: str) -> list[str]:
    """Return the keys of a thread's checkpoints, writes or blobs, in order."""
    found = Range.of_prefix(f"{kind}/", keys_only=True)
    [answer] = store.read([Query(f"langgraph:{thread}", ranges=[found])])
    return [key for key, _ in answer.ranges[0]]


def read(store: BaseStore, thread: str, key: str) -> bytes:
    """Return an existing record."""
    [answer] = store.read([Query(f"langgraph:{thread}", [key])])
    [value] = answer.values
    assert value is not None
    return value


def replace(store: BaseStore, thread: str, key: str, value: bytes) -> None:
    """Write a record."""
    store.write([Batch(f"langgraph:{thread}", put={key: value})])


def delete(store: BaseStore, thread: str, key: str) -> None:
    """Delete a record."""
    store.write([Batch(f"langgraph:{thread}", delete=[key])])

"""Open stores and collections, shared within a process by URI.

CrewAI builds its storages several times in one run and expects each to see
what the others wrote. They name their store by a URI, which fits into CrewAI's
JSON, and share the handle kept here, so a memory's index is built only once.
"""

from __future__ import annotations

import atexit
import os
import threading
from typing import TYPE_CHECKING

import swarmstate
from swarmstate.vectors import Collection

if TYPE_CHECKING:
    from swarmstate import BaseStore
    from swarmstate.vectors import Metric

__all__ = ["canonical_uri", "close_stores", "shared_collection", "shared_store"]

_lock = threading.Lock()
# A handle must not cross a fork, so the process id is part of each key.
_stores: dict[tuple[int, str], BaseStore] = {}
_collections: dict[tuple[int, str, str, Metric], Collection] = {}


def canonical_uri(uri: str | os.PathLike[str]) -> str:
    """Return `uri` in a form that names the same store from any working directory.

    Args:
        uri: What `swarmstate.open` takes, or the path of a file.

    Raises:
        TypeError: `uri` is neither a string nor a path.
    """
    if not isinstance(uri, str | os.PathLike):
        raise TypeError(
            f"expected a store's URI or a file path, found {type(uri).__name__}: CrewAI names "
            "storages in JSON, so an open store cannot be passed"
        )
    text = os.fspath(uri)
    if "://" not in text:
        return f"disk://{_quoted(os.path.abspath(text))}"
    scheme, _, rest = text.partition("://")
    if scheme.lower() == "disk" and not rest.startswith("/"):
        return f"disk://{_quoted(os.getcwd())}/{rest}"
    return text


def shared_store(uri: str | os.PathLike[str]) -> BaseStore:
    """Return the store at `uri`, opened on the first call and shared after that.

    Raises:
        UnknownSchemeError: No installed store opens such URIs.
        StoreUnavailableError: The store cannot be opened.
    """
    with _lock:
        return _store(canonical_uri(uri))


def shared_collection(uri: str | os.PathLike[str], namespace: str, metric: Metric) -> Collection:
    """Return the collection in `namespace` of a shared store.

    Raises:
        UnknownSchemeError: No installed store opens such URIs.
        StoreUnavailableError: The store cannot be opened.
    """
    canonical = canonical_uri(uri)
    key = os.getpid(), canonical, namespace, metric
    with _lock:
        collection = _collections.get(key)
        if collection is None:
            collection = Collection(_store(canonical), namespace, metric=metric)
            _collections[key] = collection
        return collection


def close_stores() -> None:
    """Close every shared store of this process; the next use opens it again."""
    with _lock:
        process = os.getpid()
        for collection in [each for each in _collections if each[0] == process]:
            del _collections[collection]
        for store in [each for each in _stores if each[0] == process]:
            _stores.pop(store).close()


def _store(canonical: str) -> BaseStore:
    key = os.getpid(), canonical
    store = _stores.get(key)
    if store is None:
        store = _stores[key] = swarmstate.open(canonical)
    return store


def _quoted(path: str) -> str:
    # Escape the characters that end a URL's path or start an escape in it.
    return path.replace("%", "%25").replace("?", "%3F").replace("#", "%23")


def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()


atexit.register(close_stores)
if hasattr(os, "register_at_fork"):
    # A thread that does not exist in the child may have held the lock at the fork.
    os.register_at_fork(after_in_child=_renew_lock)

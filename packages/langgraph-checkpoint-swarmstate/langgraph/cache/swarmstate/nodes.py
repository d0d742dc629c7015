"""LangGraph's cache of what nodes returned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langgraph.cache.base import BaseCache, FullKey, Namespace
from langgraph.checkpoint.swarmstate.holding import StoreHolder
from langgraph.checkpoint.swarmstate.layout import escape
from langgraph.checkpoint.swarmstate.serde import SwarmStateSerializer
from typing_extensions import TypeVar

from swarmstate.entries import clear
from swarmstate.operations import Operation

from . import entries

if TYPE_CHECKING:
    import os

    from langgraph.checkpoint.serde.base import SerializerProtocol

    from swarmstate import BaseStore

_PREFIX = "langgraph-cache:"

# With a default, so that nobody needs to say what the values of a cache are.
ValueT = TypeVar("ValueT", default=Any)


class SwarmStateCache(StoreHolder, BaseCache[ValueT]):
    """Keeps the results of nodes in a swarmstate store, for `compile(cache=...)`.

    Sync and async, shared by all threads, event loops and processes that use the
    store. An entry that cannot be read is logged and treated as missing. While the store is
    unavailable, nothing is cached, and a warning is logged. An object whose class no longer
    exists or is not allowed comes back as the data it was built from, as with LangGraph's
    serializers.

    Args:
        store: A store, a file's path, a URL (see `swarmstate.open`), or None
            (or ":memory:") for a new store in memory.
        serde: Converts values to bytes; `SwarmStateSerializer()` by default.

    `close()` closes a store that was opened here, but not one that you passed in.
    The object is a context manager, sync and async.

    Raises:
        TypeError: `store` has the wrong type.
        ValueError: The URL is invalid.
        UnknownSchemeError: (a ValueError) No installed store handles such URLs.
        StoreUnavailableError: A file cannot be opened. Stores on servers connect on first
            use.
        StoreFormatError: A file is not a swarmstate database, or is from a newer release.
    """

    def __init__(
        self,
        store: BaseStore | str | os.PathLike[str] | None = None,
        *,
        serde: SerializerProtocol | None = None,
    ) -> None:
        super().__init__(serde=serde or SwarmStateSerializer())
        self._hold(store)

    def get(self, keys: Sequence[FullKey]) -> dict[FullKey, ValueT]:
        """Return the cached values of the keys that have one."""
        return self._run(self._get(keys))

    async def aget(self, keys: Sequence[FullKey]) -> dict[FullKey, ValueT]:
        """Return cached values as `get` does."""
        return await self._arun(self._get(keys))

    def set(self, pairs: Mapping[FullKey, tuple[ValueT, int | None]]) -> None:
        """Cache values, each with its time to live in seconds (None: forever).

        Raises:
            EncodeError: A value cannot be serialized; nothing was cached.
            TypeError: A time to live is not a number; nothing was cached.
        """
        self._run(self._set(pairs))

    async def aset(self, pairs: Mapping[FullKey, tuple[ValueT, int | None]]) -> None:
        """Cache values as `set` does."""
        await self._arun(self._set(pairs))

    def clear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """Remove the values of exactly these namespaces, or all values if none are given.

        Raises:
            TypeError: They are strings, such as the labels of one; nothing was removed.
        """
        self._run(_clear(namespaces))

    async def aclear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """Remove values as `clear` does."""
        await self._arun(_clear(namespaces))

    def _get(self, keys: Sequence[FullKey]) -> Operation[dict[FullKey, ValueT]]:
        names = {_name(namespace, key): (tuple(namespace), key) for namespace, key in keys}
        found = yield from entries.read(self.serde, [*names])
        return {names[name]: value for name, value in found.items()}

    def _set(self, pairs: Mapping[FullKey, tuple[ValueT, int | None]]) -> Operation[None]:
        return entries.write(self.serde, {_name(*key): pair for key, pair in pairs.items()})


def _clear(namespaces: Sequence[Namespace] | None) -> Operation[None]:
    if namespaces is None:
        yield from clear(_PREFIX)
        return
    for path in [_path(namespace) for namespace in namespaces]:
        yield from clear(path, deep=False)


def _path(namespace: Namespace) -> str:
    """Return what the names of a namespace's entries start with: each part ends in a slash.

    Raises:
        TypeError: It is a single string, whose characters would be the parts, or has other parts.
    """
    found: object = namespace
    if isinstance(found, str) or not all(isinstance(part, str) for part in namespace):
        raise TypeError(
            "expected each namespace to be a tuple of strings, as in [('node', 'tenant')], found "
            f"{found!r:.80}"
        )
    return _PREFIX + "".join(f"{escape(part)}/" for part in namespace)


def _name(namespace: Namespace, key: str) -> str:
    found: object = key
    if not isinstance(found, str):
        raise TypeError(f"expected each key to be a string, found {found!r:.80}")
    return f"{_path(namespace)}{escape(key)}"

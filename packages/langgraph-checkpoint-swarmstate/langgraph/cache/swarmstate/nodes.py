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
    """Keeps what nodes returned, for `compile(cache=...)`, in a swarmstate store.

    Sync and async, shared by all threads, event loops and processes that use the
    store. An entry that cannot be read counts as missing, and is logged. An object of a
    class that is gone, or may not be built, comes back as LangGraph's serializers have
    it: as what it was built from.

    Args:
        store: A store, a file's path, a URL (see `swarmstate.open`), or None
            (or ":memory:") for a new store in memory.
        serde: How values become bytes; `SwarmStateSerializer()` by default.

    A store that was opened here is closed by `close()`; one that was handed in is
    not. The object is a context manager, sync and async.

    Raises:
        TypeError: `store` is nothing of that.
        ValueError: The URL makes no sense.
        UnknownSchemeError: (a ValueError) No installed store opens such URLs.
        StoreUnavailableError: A file cannot be opened. Stores on servers connect when they
            are first used.
        StoreFormatError: A file is no database of swarmstate's, or of a newer release.
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
        """Return the cached values of those keys that have one."""
        return self._run(self._get(keys))

    async def aget(self, keys: Sequence[FullKey]) -> dict[FullKey, ValueT]:
        """Return cached values as `get` does."""
        return await self._arun(self._get(keys))

    def set(self, pairs: Mapping[FullKey, tuple[ValueT, int | None]]) -> None:
        """Cache values, each with its time to live in seconds (None: for ever).

        Raises:
            EncodeError: A value cannot be serialized; nothing was cached.
            TypeError: A time to live is no number; nothing was cached.
        """
        self._run(self._set(pairs))

    async def aset(self, pairs: Mapping[FullKey, tuple[ValueT, int | None]]) -> None:
        """Cache values as `set` does."""
        await self._arun(self._set(pairs))

    def clear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """Forget the values of exactly these namespaces; without them, all values.

        Raises:
            TypeError: They are texts, such as the labels of one; nothing was forgotten.
        """
        self._run(_clear(namespaces))

    async def aclear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """Forget values as `clear` does."""
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
        TypeError: It is a single text, whose characters would be the parts, or has other parts.
    """
    found: object = namespace
    if isinstance(found, str) or not all(isinstance(part, str) for part in namespace):
        raise TypeError(
            "expected each namespace to be a tuple of texts, as in [('node', 'tenant')], found "
            f"{found!r:.80}"
        )
    return _PREFIX + "".join(f"{escape(part)}/" for part in namespace)


def _name(namespace: Namespace, key: str) -> str:
    found: object = key
    if not isinstance(found, str):
        raise TypeError(f"expected each key to be a text, found {found!r:.80}")
    return f"{_path(namespace)}{escape(key)}"

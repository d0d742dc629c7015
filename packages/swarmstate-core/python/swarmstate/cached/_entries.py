"""Cached results in a store, by the key of a call.

Each result is its own entry, `cache:{name}/{hash}`; see `swarmstate.entries`. `%` and `/` in
names are escaped, so that clearing one function's results never affects another's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from swarmstate import entries
from swarmstate._core import CallKey, blob_hash
from swarmstate.codec import Codec
from swarmstate.operations import Operation, adrive, drive

if TYPE_CHECKING:
    from swarmstate.base import Allow, BaseStore

__all__ = ["StoredEntries"]


class StoredEntries:
    """The results of one function in a store.

    Args:
        store: The store; it is not closed.
        name: The function's name, unique among those that use the store.
        ttl: Seconds after which a result expires; None is never.
        allow: Classes that results may have; see `swarmstate.codec.Codec`.
    """

    def __init__(self, store: BaseStore, name: str, ttl: float | None, allow: Allow) -> None:
        self.store = store
        escaped = name.replace("%", "%25").replace("/", "%2F")
        self._prefix = f"cache:{escaped}/"
        self._ttl = ttl
        self._codec = Codec(allow=allow)

    def get(self, key: CallKey, default: Any) -> Any:
        """Return a result, or `default`."""
        return drive(self.store, self._get(key, default))

    async def aget(self, key: CallKey, default: Any) -> Any:
        """Return a result, or `default`."""
        return await adrive(self.store, self._get(key, default))

    def put(self, key: CallKey, value: Any) -> None:
        """Store a result.

        Raises:
            EncodeError: The codec does not support it.
        """
        drive(self.store, self._put(key, value))

    async def aput(self, key: CallKey, value: Any) -> None:
        """Store a result as `put` does."""
        await adrive(self.store, self._put(key, value))

    def clear(self) -> None:
        """Delete all results."""
        drive(self.store, entries.clear(self._prefix))

    async def aclear(self) -> None:
        """Delete all results."""
        await adrive(self.store, entries.clear(self._prefix))

    def _get(self, key: CallKey, default: Any) -> Operation[Any]:
        name = self._name(key)
        found = yield from entries.read([name], self._codec.loads)
        return found.get(name, default)

    def _put(self, key: CallKey, value: Any) -> Operation[None]:
        return entries.write({self._name(key): (self._codec.dumps(value), self._ttl)})

    def _name(self, key: CallKey) -> str:
        return f"{self._prefix}{blob_hash(key.encoded()).hex()}"

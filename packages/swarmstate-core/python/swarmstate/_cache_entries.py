"""Where `swarmstate.cached` keeps results in a store, by what stands for a call.

Each result is a namespace of its own, `cache:{name}/{hash}`, with one record, so that
stores expire results by themselves, each at its time. In names `%` and `/` are escaped, so
that clearing one function's results never meets another's.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from swarmstate._core import CallKey, blob_hash, seal, unseal
from swarmstate.base import BaseStore, Batch, Query
from swarmstate.codec import Codec
from swarmstate.errors import CodecError

if TYPE_CHECKING:
    from swarmstate.base import Allow

__all__ = ["StoredEntries"]

logger = logging.getLogger(__name__)

_PREFIX = "cache:"
_KEY = "value"


class StoredEntries:
    """Results of one function in a store.

    Args:
        store: The store; it is not closed.
        name: What tells the function from others that use the store.
        ttl: Seconds after which a result expires; None is never.
        allow: Classes that results may be of; see `swarmstate.codec.Codec`.
    """

    def __init__(self, store: BaseStore, name: str, ttl: float | None, allow: Allow) -> None:
        self.store = store
        escaped = name.replace("%", "%25").replace("/", "%2F")
        self._prefix = f"{_PREFIX}{escaped}/"
        self._ttl = math.inf if ttl is None else ttl
        self._codec = Codec(allow=allow)

    def get(self, key: CallKey, default: Any) -> Any:
        """Return a result, or `default`."""
        return self._found(self.store.read([self._query(key)])[0].values[0], default)

    async def aget(self, key: CallKey, default: Any) -> Any:
        """Return a result, or `default`."""
        results = await self.store.aread([self._query(key)])
        return self._found(results[0].values[0], default)

    def put(self, key: CallKey, value: Any) -> None:
        """Store a result.

        Raises:
            EncodeError: The codec does not take it.
        """
        self.store.write([self._batch(key, value)])

    async def aput(self, key: CallKey, value: Any) -> None:
        """Store a result as `put` does."""
        await self.store.awrite([self._batch(key, value)])

    def clear(self) -> None:
        """Delete all results."""
        self.store.write(_cleared(self.store.namespaces(self._prefix)))

    async def aclear(self) -> None:
        """Delete all results."""
        await self.store.awrite(_cleared(await self.store.anamespaces(self._prefix)))

    def _namespace(self, key: CallKey) -> str:
        return f"{self._prefix}{blob_hash(key.encoded()).hex()}"

    def _query(self, key: CallKey) -> Query:
        return Query(self._namespace(key), keys=[_KEY])

    def _batch(self, key: CallKey, value: Any) -> Batch:
        record = seal(self._codec.dumps(value))
        return Batch(self._namespace(key), put={_KEY: record}, ttl=self._ttl)

    def _found(self, record: bytes | None, default: Any) -> Any:
        if record is None:
            return default
        try:
            return self._codec.loads(unseal(record))
        except CodecError as error:
            # It is computed anew and replaced: a cache loses nothing.
            logger.warning("a result cached under %r cannot be read: %s", self._prefix, error)
            return default


def _cleared(names: Sequence[str]) -> list[Batch]:
    return [Batch(name, clear=True) for name in names]

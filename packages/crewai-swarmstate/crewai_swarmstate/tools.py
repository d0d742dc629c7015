"""Tool results, cached across runs and processes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from crewai.agents.cache.cache_handler import CacheHandler
from pydantic import field_validator
from swarmstate import entries
from swarmstate.base import check_ttl
from swarmstate.codec import Codec
from swarmstate.errors import CodecError, StoreError
from swarmstate.operations import drive
from swarmstate.sharing import blob_hash

from .fields import StoreUri
from .handles import shared_store

if TYPE_CHECKING:
    from crewai import Crew

__all__ = ["SwarmStateCacheHandler"]

logger = logging.getLogger(__name__)


class SwarmStateCacheHandler(CacheHandler):
    """CrewAI's cache of tool results on a swarmstate store.

    Each result has its own namespace, which the store expires. All crews that use the same store
    share results. If the codec cannot encode a result, or the store cannot be written to, the
    result is not cached and a warning is logged. Declared failures are never cached, as in CrewAI's
    own handler. If the store cannot be read, the result counts as missing, and a warning is logged.

    Args:
        uri: The store: what `swarmstate.open` takes, or the path of a file.
        ttl: Seconds until a result expires; never if None.
    """

    uri: StoreUri
    ttl: float | None = None

    @field_validator("ttl")
    @classmethod
    def _checked(cls, ttl: float | None) -> float | None:
        check_ttl(ttl)
        return ttl

    def use_for(self, crew: Crew) -> None:
        """Make the agents of `crew` that cache results (`cache=True`) use this cache."""
        # CrewAI itself does this when it creates the crew.
        crew._cache_handler = self
        for agent in crew.agents:
            agent.set_cache_handler(self)

    def add(self, tool: str, input: str, output: Any) -> None:
        """Remember what `tool` returned for `input`."""
        if _is_failure(output):
            return
        try:
            encoded = _codec.dumps(output)
            _codec.loads(encoded)
        except CodecError as error:
            logger.warning("the result of tool %r is not cached: %s", tool, error)
            return
        written = entries.write({_namespace(tool, input): (encoded, self.ttl)})
        try:
            drive(shared_store(self.uri), written)
        except StoreError as error:
            # CrewAI would treat the error as the tool's, although the tool has succeeded.
            logger.warning("the result of tool %r is not cached: %s", tool, error)

    def read(self, tool: str, input: str) -> Any | None:
        """Return what `tool` returned for `input`, or None if that is not cached."""
        name = _namespace(tool, input)
        try:
            return drive(shared_store(self.uri), entries.read([name], _codec.loads)).get(name)
        except StoreError as error:
            # CrewAI would end the crew, or report a failure of the tool, which can still be called.
            logger.warning("the cached result of tool %r cannot be read: %s", tool, error)
            return None

    def clear(self, tool: str) -> None:
        """Forget all results of `tool`."""
        drive(shared_store(self.uri), entries.clear(_prefix(tool)))


_codec = Codec()


def _is_failure(output: Any) -> bool:
    try:
        from crewai.tools.tool_failure import ToolFailure
    except ImportError:
        return False  # Tools of older CrewAI versions cannot declare failures.
    return isinstance(output, ToolFailure)


def _prefix(tool: str) -> str:
    # Escaped so that no tool's prefix is a prefix of another tool's namespaces.
    return f"crewai-tool:{quote(tool, safe='')}/"


def _namespace(tool: str, input: str) -> str:
    # Hashed: an input may have any length and hold characters that a name cannot.
    return f"{_prefix(tool)}{blob_hash(input.encode('utf-8', 'surrogatepass')).hex()}"

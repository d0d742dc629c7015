"""Results of tools, kept across runs and processes."""

from __future__ import annotations

import hashlib
import logging
import math
import time
from typing import TYPE_CHECKING, Any

from crewai.agents.cache.cache_handler import CacheHandler
from pydantic import field_validator
from swarmstate.base import Batch, Query
from swarmstate.codec import Codec
from swarmstate.errors import CodecError

from .handles import canonical_uri, shared_store

if TYPE_CHECKING:
    import os

    from crewai import Crew

__all__ = ["SwarmStateCacheHandler"]

logger = logging.getLogger(__name__)


class SwarmStateCacheHandler(CacheHandler):
    """CrewAI's cache of tool results on a swarmstate store.

    Results are shared by all crews that use the same store. What a tool returned
    and the codec does not take is not cached, and a warning is logged; declared
    failures are never cached, as in CrewAI's own handler.

    Args:
        uri: The store: what `swarmstate.open` takes, or the path of a file.
        ttl: Seconds until a result is forgotten; never if None.
    """

    uri: str
    ttl: float | None = None

    @field_validator("uri", mode="before")
    @classmethod
    def _canonical(cls, uri: str | os.PathLike[str]) -> str:
        return canonical_uri(uri)

    @field_validator("ttl")
    @classmethod
    def _positive(cls, ttl: float | None) -> float | None:
        if ttl is not None and not (ttl > 0 and math.isfinite(ttl)):
            raise ValueError(f"expected ttl to be a positive number of seconds, found {ttl!r}")
        return ttl

    def use_for(self, crew: Crew) -> None:
        """Make the agents of `crew` that cache results (`cache=True`) use this cache."""
        # What CrewAI itself does when the crew is made.
        crew._cache_handler = self
        for agent in crew.agents:
            agent.set_cache_handler(self)

    def add(self, tool: str, input: str, output: Any) -> None:
        """Remember what `tool` returned for `input`."""
        from crewai.tools.tool_failure import ToolFailure

        if isinstance(output, ToolFailure):
            return
        expires = None if self.ttl is None else time.time() + self.ttl
        try:
            record = _codec.dumps({"input": input, "output": output, "expires": expires})
            _codec.loads(record)
        except CodecError as error:
            logger.warning("the result of tool %r is not cached: %s", tool, error)
            return
        shared_store(self.uri).write([Batch(_namespace(tool), put={_key(input): record})])

    def read(self, tool: str, input: str) -> Any | None:
        """Return what `tool` returned for `input`, None if that is not known."""
        [result] = shared_store(self.uri).read([Query(_namespace(tool), keys=[_key(input)])])
        [record] = result.values
        if record is None:
            return None
        entry = _codec.loads(record)
        if entry["expires"] is not None and entry["expires"] <= time.time():
            return None
        return entry["output"]

    def clear(self, tool: str) -> None:
        """Forget all results of `tool`."""
        shared_store(self.uri).clear(_namespace(tool))


_codec = Codec()


def _namespace(tool: str) -> str:
    return f"crewai-tool:{tool}"


def _key(input: str) -> str:
    # An input may be of any length and hold characters that a key cannot.
    return hashlib.sha256(input.encode("utf-8", "surrogatepass")).hexdigest()

"""Remember the results of functions and coroutines.

    from swarmstate.cached import cached

    @cached(maxsize=1000, ttl=60)
    def look_up(city: str) -> dict: ...

Results are remembered by the values of the arguments, however they were passed.
"""

from __future__ import annotations

from swarmstate.cached._calls import CacheInfo
from swarmstate.cached._coroutines import CachedCoroutine
from swarmstate.cached._decorator import cached
from swarmstate.cached._functions import CachedFunction

__all__ = ["CacheInfo", "CachedCoroutine", "CachedFunction", "cached"]

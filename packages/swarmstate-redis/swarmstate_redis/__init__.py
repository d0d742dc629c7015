"""A swarmstate store in Redis."""

from __future__ import annotations

from swarmstate_redis.store import RedisStore, open_url

__all__ = ["RedisStore", "open_url"]

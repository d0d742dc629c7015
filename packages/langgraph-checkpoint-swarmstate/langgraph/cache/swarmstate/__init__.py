"""Caches of LangGraph and LangChain on swarmstate.

from langgraph.cache.swarmstate import SwarmStateCache, SwarmStateLLMCache

graph = builder.compile(cache=SwarmStateCache("cache.db"))
set_llm_cache(SwarmStateLLMCache("cache.db", ttl=3600))
"""

from .llm import SwarmStateLLMCache
from .nodes import SwarmStateCache

__all__ = ["SwarmStateCache", "SwarmStateLLMCache"]

"""CrewAI memory, flow state, checkpoints and knowledge on swarmstate.

`install("agents.db")` makes them CrewAI's defaults. CrewAI takes seconds to import, so this package
imports it lazily, when a class that needs it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .handles import close_stores, shared_store
from .installing import install, uninstall
from .locks import LockTimeoutError, lock_backend
from .requiring import requiring_crewai
from .routing import handoff_router

if TYPE_CHECKING:
    from .checkpoints import CheckpointInfo, SwarmStateCheckpointProvider
    from .flow import FlowStep, SwarmStateFlowPersistence
    from .knowledge import SwarmStateKnowledgeStorage
    from .storage import SwarmStateStorage
    from .tools import SwarmStateCacheHandler

__all__ = [
    "CheckpointInfo",
    "FlowStep",
    "LockTimeoutError",
    "SwarmStateCacheHandler",
    "SwarmStateCheckpointProvider",
    "SwarmStateFlowPersistence",
    "SwarmStateKnowledgeStorage",
    "SwarmStateStorage",
    "close_stores",
    "handoff_router",
    "install",
    "lock_backend",
    "shared_store",
    "uninstall",
]

# Classes that subclass CrewAI's, so importing their modules imports CrewAI.
_LAZY = {
    "CheckpointInfo": "checkpoints",
    "FlowStep": "flow",
    "SwarmStateCacheHandler": "tools",
    "SwarmStateCheckpointProvider": "checkpoints",
    "SwarmStateFlowPersistence": "flow",
    "SwarmStateKnowledgeStorage": "knowledge",
    "SwarmStateStorage": "storage",
}


# A type checker that saw this would accept any name in this module, misspelled ones included.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name in _LAZY:
            with requiring_crewai():
                return getattr(import_module(f".{_LAZY[name]}", __name__), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

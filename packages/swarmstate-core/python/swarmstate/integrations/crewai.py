"""An alias for everything in the CrewAI adapter; needs crewai-swarmstate and CrewAI."""

try:
    from crewai_swarmstate import (
        CheckpointInfo,
        FlowStep,
        LockTimeoutError,
        SwarmStateCacheHandler,
        SwarmStateCheckpointProvider,
        SwarmStateFlowPersistence,
        SwarmStateKnowledgeStorage,
        SwarmStateStorage,
        close_stores,
        handoff_router,
        install,
        lock_backend,
        shared_store,
        uninstall,
    )
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"expected the CrewAI adapter to be installed, found no module {error.name!r}; "
        "run: pip install 'crewai-swarmstate[crewai]'",
        name=error.name,
    ) from error

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

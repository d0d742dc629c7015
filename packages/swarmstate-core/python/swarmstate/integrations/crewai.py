"""The CrewAI adapter, under a short path; needs crewai-swarmstate and CrewAI."""

try:
    from crewai_swarmstate import (
        SwarmStateCacheHandler,
        SwarmStateCheckpointProvider,
        SwarmStateFlowPersistence,
        SwarmStateKnowledgeStorage,
        SwarmStateStorage,
        handoff_router,
        install,
        uninstall,
    )
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"expected the CrewAI adapter to be installed, found no module {error.name!r}; "
        "run: pip install 'crewai-swarmstate[crewai]'",
        name=error.name,
    ) from error

__all__ = [
    "SwarmStateCacheHandler",
    "SwarmStateCheckpointProvider",
    "SwarmStateFlowPersistence",
    "SwarmStateKnowledgeStorage",
    "SwarmStateStorage",
    "handoff_router",
    "install",
    "uninstall",
]

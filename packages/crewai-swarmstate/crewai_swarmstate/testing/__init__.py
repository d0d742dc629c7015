"""What a CrewAI memory storage and a flow persistence must do, as pytest classes.

They test any implementation, CrewAI's own included. Subclass one under a name
that pytest collects and override its `make_...` method.
"""

from crewai_swarmstate.testing._flow import FlowPersistenceContract
from crewai_swarmstate.testing._storage import StorageBackendContract

__all__ = ["FlowPersistenceContract", "StorageBackendContract"]

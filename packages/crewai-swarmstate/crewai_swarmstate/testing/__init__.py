"""What a CrewAI memory storage and a flow persistence must do, as pytest classes.

They test any implementation, CrewAI's own included. Subclass one under a name
that pytest collects and override its `make_...` method. Needs `pytest`.
"""

from __future__ import annotations

from pkgutil import iter_modules

import pytest

# pytest shows the values in failed assertions of modules that are imported from here on.
pytest.register_assert_rewrite(*(f"{__name__}.{each.name}" for each in iter_modules(__path__)))

from crewai_swarmstate.testing._flow import FlowPersistenceContract  # noqa: E402
from crewai_swarmstate.testing._storage import StorageBackendContract  # noqa: E402

__all__ = ["FlowPersistenceContract", "StorageBackendContract"]

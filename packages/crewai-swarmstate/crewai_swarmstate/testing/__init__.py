"""Contracts of a CrewAI memory storage and a flow persistence, as pytest classes.

They work for any implementation, including CrewAI's own. Subclass one under a name that pytest
collects and override its `make_...` method. Needs `pytest`.
"""

from __future__ import annotations

from pkgutil import iter_modules

import pytest

# Makes pytest show the values in failed assertions of the modules imported below.
pytest.register_assert_rewrite(*(f"{__name__}.{each.name}" for each in iter_modules(__path__)))

from crewai_swarmstate.testing._flow import FlowPersistenceContract  # noqa: E402
from crewai_swarmstate.testing._storage import StorageBackendContract  # noqa: E402

__all__ = ["FlowPersistenceContract", "StorageBackendContract"]

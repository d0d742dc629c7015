"""What differs between the CrewAI of the lock and the oldest that is supported."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

import pytest

# What is told of CrewAI's own storages is true of the release that the lock names, and later ones.
of_this_crewai: Final = pytest.mark.skipif(
    tuple(map(int, version("crewai").split(".")[:2])) < (1, 15),
    reason="an older CrewAI has more defects of its own",
)

"""Differences between the locked CrewAI and the oldest supported one."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

import pytest

# Statements about CrewAI's own storages hold for the locked release and later ones.
of_this_crewai: Final = pytest.mark.skipif(
    tuple(map(int, version("crewai").split(".")[:2])) < (1, 15),
    reason="an older CrewAI has more defects of its own",
)

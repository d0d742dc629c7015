"""Imports of CrewAI that say what to install if it is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["requiring_crewai"]


@contextmanager
def requiring_crewai() -> Iterator[None]:
    """Raise an error that says what to install if an import in the block finds no CrewAI.

    Raises:
        ModuleNotFoundError: CrewAI, or a part of it that is needed here, is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"crewai", "crewai_core"}:
            raise
        raise ModuleNotFoundError(
            f"expected CrewAI to be installed, found no module {error.name!r}; "
            "run: pip install 'crewai-swarmstate[crewai]' (CrewAI needs Python 3.13 or older)",
            name=error.name,
        ) from error

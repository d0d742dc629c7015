"""Imports of LangGraph that say what to install if it is missing.

Storing checkpoints needs only langgraph-checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["requiring_langgraph"]


@contextmanager
def requiring_langgraph() -> Iterator[None]:
    """Say what to install if an import in the block does not find LangGraph.

    Raises:
        ModuleNotFoundError: LangGraph is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "langgraph":
            raise
        raise ModuleNotFoundError(
            f"expected LangGraph to be installed, found no module {error.name!r}; "
            "run: pip install langgraph",
            name=error.name,
        ) from error

"""An open saver, and a way to ask how much it stores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from langgraph.checkpoint.base import BaseCheckpointSaver

Saver = BaseCheckpointSaver[Any]


class Opened(NamedTuple):
    """An open saver.

    Attributes:
        saver: The saver, or None for a run without one.
        stored_bytes: Returns the number of bytes it holds, or None where that has no meaning.
    """

    saver: Saver | None
    stored_bytes: Callable[[], int | None]

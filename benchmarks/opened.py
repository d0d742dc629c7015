"""An open saver, and how to ask for what it stores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from langgraph.checkpoint.base import BaseCheckpointSaver

Saver = BaseCheckpointSaver[Any]


class Opened(NamedTuple):
    """An open saver.

    Attributes:
        saver: The saver; None is a run without one.
        stored_bytes: Returns how many bytes it holds, None where that means nothing.
    """

    saver: Saver | None
    stored_bytes: Callable[[], int | None]

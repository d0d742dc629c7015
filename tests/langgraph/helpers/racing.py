"""A store beneath which somebody else is quicker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.langgraph.helpers.counting import CountingStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from swarmstate.base import BaseStore, Batch

__all__ = ["RacingStore"]


class RacingStore(CountingStore):
    """Calls `before_write`, once, before the next write reaches `inner`."""

    def __init__(self, inner: BaseStore) -> None:
        super().__init__(inner)
        self.before_write: Callable[[], None] | None = None

    def write(self, batches: Sequence[Batch]) -> None:
        if (race := self.before_write) is not None:
            self.before_write = None
            race()
        super().write(batches)

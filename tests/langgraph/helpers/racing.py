"""A store on which another writer always wins the race."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.langgraph.helpers.counting import CountingStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from swarmstate.base import BaseStore, Batch

__all__ = ["RacingStore"]


class RacingStore(CountingStore):
    """Calls `before_write`, once, before the next write reaches `inner`.

    Args:
        inner: The store to write to.
        is_awaited: Whether to race against a write with this batch.

    Attributes:
        before_write: The other writer's action.
    """

    def __init__(
        self, inner: BaseStore, is_awaited: Callable[[Batch], bool] = lambda _: True
    ) -> None:
        super().__init__(inner)
        self.before_write: Callable[[], object] | None = None
        self._is_awaited = is_awaited

    def _race(self, batches: Sequence[Batch]) -> None:
        if self.before_write is not None and any(map(self._is_awaited, batches)):
            race, self.before_write = self.before_write, None
            race()

    def write(self, batches: Sequence[Batch]) -> None:
        self._race(batches)
        super().write(batches)

    async def awrite(self, batches: Sequence[Batch]) -> None:
        self._race(batches)
        await super().awrite(batches)

"""The foundation of a saver: its store, its serializer and its memory of values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.base import BaseCheckpointSaver

from swarmstate.base import check_ttl
from swarmstate.observability import GuardedSink
from swarmstate.sharing import Sharing

from .foreign import EmptyFields
from .holding import Done, StoreHolder
from .metering import meter
from .reading import Reader
from .serde import SwarmStateSerializer
from .values import Values, values_of

if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable

    from langgraph.checkpoint.serde.base import SerializerProtocol
    from typing_extensions import Self

    from swarmstate import BaseStore
    from swarmstate.observability import MetricsSink

_MEMORY_BUDGET = 64 * 1024 * 1024


class SaverBase(StoreHolder, BaseCheckpointSaver[Any]):
    """Opens, configures and closes a saver; `SwarmStateSaver` adds the methods.

    Args:
        store: See `SwarmStateSaver`.
        serde: See `SwarmStateSaver`.
        ttl: See `SwarmStateSaver`.
        refresh_on_read: See `SwarmStateSaver`.
        metrics: See `SwarmStateSaver`.
        memory_budget: See `SwarmStateSaver`.
    """

    _metrics: GuardedSink  # Of a measured one alone.

    def __init__(
        self,
        store: BaseStore | str | os.PathLike[str] | None = None,
        *,
        serde: SerializerProtocol | None = None,
        ttl: float | None = None,
        refresh_on_read: bool = False,
        metrics: MetricsSink | None = None,
        memory_budget: int = _MEMORY_BUDGET,
    ) -> None:
        if serde is not None and not any(hasattr(serde, name) for name in ("dumps_typed", "dumps")):
            raise TypeError(
                "expected serde to have dumps_typed and loads_typed, like SwarmStateSerializer, "
                f"found a {type(serde).__name__}"
            )
        super().__init__(serde=serde or SwarmStateSerializer())
        check_ttl(ttl)
        budget: object = memory_budget
        if not isinstance(budget, int):
            found = type(budget).__name__
            raise TypeError(f"expected memory_budget to be a number of bytes, found a {found}")
        if memory_budget < 0:
            raise ValueError(f"expected memory_budget to be 0 or more bytes, found {memory_budget}")
        # Reject an invalid sink before opening a file.
        sink = None if metrics is None else GuardedSink(metrics)
        self._hold(store)
        if sink is not None:
            meter(self, sink)
        self.ttl = ttl
        self.refresh_on_read = refresh_on_read
        self._memory_budget = memory_budget
        self._sharing = Sharing(budget=memory_budget)
        self._empty_fields = EmptyFields() if memory_budget else EmptyFields(threads=0)
        # `serde` may be reassigned at any time; this belongs to the one used last.
        self._values_of_serde = self.serde, self._values_with(self.serde)

    @classmethod
    def from_conn_string(cls, conn_string: str, **options: Any) -> Self:
        """Return a saver for a path, a URL or ":memory:".

        The result is a saver and, as with LangGraph's own savers, a sync and async
        context manager that closes it.
        """
        return cls(conn_string, **options)

    def setup(self) -> Awaitable[None]:
        """Do nothing: stores set themselves up.

        For code written for other savers, sync or async: the result may be awaited or ignored.
        """
        return Done()

    def _values(self) -> Values:
        serde, values = self._values_of_serde
        if serde is not self.serde:
            values = self._values_with(self.serde)
            self._values_of_serde = self.serde, values
        return values

    def _values_with(self, serde: SerializerProtocol) -> Values:
        return values_of(serde, self._sharing, self._memory_budget)

    def _reader(self) -> Reader:
        refresh = self.ttl if self.refresh_on_read else None
        return Reader(self._values(), self.serde, self.get_next_version, refresh)

"""A store that cannot be reached, without a server to stop."""

from __future__ import annotations

from typing import Any

from swarmstate.errors import StoreUnavailableError
from swarmstate.layers import Operation, StoreLayer


class Away(StoreLayer):
    """A store whose server cannot be reached."""

    def reading(self, queries: Any) -> Operation[Any]:
        raise StoreUnavailableError("the server is away")

    def writing(self, batches: Any) -> Operation[None]:
        raise StoreUnavailableError("the server is away")

    def listing(self, prefix: str, after: str | None, limit: int | None) -> Operation[list[str]]:
        raise StoreUnavailableError("the server is away")

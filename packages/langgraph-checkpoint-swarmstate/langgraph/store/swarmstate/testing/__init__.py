"""The contract of LangGraph's long-term memory on a store, as a suite to subclass.

A few lines run it for a store:

    from langgraph.store.swarmstate.testing import MemoryContract

    class TestMyStore(MemoryContract):
        def open_store(self, folder):
            return MyStore(folder / "state.db")

Generated sequences of operations run on `SwarmStateStore` and on LangGraph's
`InMemoryStore`, through the sync and through the async methods. Every result is
compared; `reference` lists the intended differences.

Needs `pytest` and `hypothesis`.
"""

from __future__ import annotations

from pkgutil import iter_modules

import pytest

# pytest shows the values in failed assertions of modules imported after this line.
pytest.register_assert_rewrite(*(f"{__name__}.{each.name}" for each in iter_modules(__path__)))

from langgraph.store.swarmstate.testing._contract import MemoryContract  # noqa: E402

__all__ = ["MemoryContract"]

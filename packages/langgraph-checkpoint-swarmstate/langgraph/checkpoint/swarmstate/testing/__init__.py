"""The contract of a LangGraph checkpoint saver, as a suite to subclass.

A saver joins it with a few lines:

    from langgraph.checkpoint.swarmstate.testing import SaverContract

    class TestMySaver(SaverContract):
        def make_saver(self, tmp_path):
            return MySaver(tmp_path / "state.db")

        def reopen(self, saver, tmp_path):
            return MySaver(tmp_path / "state.db")

        def close_saver(self, saver):
            saver.close()

Each test runs through the sync and through the async methods; neither needs a
pytest plugin. A saver declares intended differences with the class attributes
of `SaverContract`; the suite does not probe for them.

Needs `pytest` and `langgraph`.
"""

from __future__ import annotations

from pkgutil import iter_modules

import pytest

# pytest shows the values in failed assertions of modules imported after this line.
pytest.register_assert_rewrite(*(f"{__name__}.{each.name}" for each in iter_modules(__path__)))

from langgraph.checkpoint.swarmstate.testing._delta import DeltaContract  # noqa: E402
from langgraph.checkpoint.swarmstate.testing._driver import Driver, Mode  # noqa: E402
from langgraph.checkpoint.swarmstate.testing._graph_runs import GraphRunsContract  # noqa: E402
from langgraph.checkpoint.swarmstate.testing._migration import MigrationContract  # noqa: E402
from langgraph.checkpoint.swarmstate.testing._prune import PruneContract  # noqa: E402
from langgraph.checkpoint.swarmstate.testing._reading import ReadingContract  # noqa: E402
from langgraph.checkpoint.swarmstate.testing._sharing import SharingContract  # noqa: E402
from langgraph.checkpoint.swarmstate.testing._threads import ThreadsContract  # noqa: E402
from langgraph.checkpoint.swarmstate.testing._values import ValuesContract  # noqa: E402
from langgraph.checkpoint.swarmstate.testing._versions import VersionsContract  # noqa: E402
from langgraph.checkpoint.swarmstate.testing._writes import WritesContract  # noqa: E402

__all__ = ["Driver", "Mode", "SaverContract"]


class SaverContract(
    VersionsContract,
    WritesContract,
    ReadingContract,
    ThreadsContract,
    PruneContract,
    ValuesContract,
    MigrationContract,
    SharingContract,
    GraphRunsContract,
    DeltaContract,
):
    """The whole contract; see `ContractBase` for the hooks and declarations."""

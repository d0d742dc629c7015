"""Contract suites that a store joins by subclassing; needs pytest.

from swarmstate.testing import StoreContract

class TestMyStore(StoreContract):
    persistent = True

    def make_store(self, path):
        return MyStore(path / "my.store")
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    "swarmstate.testing._concurrency",
    "swarmstate.testing._expiry",
    "swarmstate.testing._lifetime",
    "swarmstate.testing._names",
    "swarmstate.testing._reading",
    "swarmstate.testing._values",
    "swarmstate.testing._writing",
)

# pytest shows the values in failed assertions of modules imported from here on.
from swarmstate.testing._harness import ManualClock  # noqa: E402
from swarmstate.testing._store import StoreContract  # noqa: E402

__all__ = ["ManualClock", "StoreContract"]

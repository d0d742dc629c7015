"""Contract suites that test a store when subclassed; needs pytest.

from swarmstate.testing import StoreContract

class TestMyStore(StoreContract):
    persistent = True

    def make_store(self, path):
        return MyStore(path / "my.store")
"""

from __future__ import annotations

from pkgutil import iter_modules

import pytest

# Make pytest show the values in failed assertions of the modules imported below.
pytest.register_assert_rewrite(*(f"{__name__}.{each.name}" for each in iter_modules(__path__)))

from swarmstate.testing._harness import ManualClock  # noqa: E402
from swarmstate.testing._store import StoreContract  # noqa: E402

__all__ = ["ManualClock", "StoreContract"]

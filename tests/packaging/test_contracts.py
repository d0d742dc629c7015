"""A failing contract shows the values, since pytest has rewritten its asserts."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

import pytest


@pytest.mark.parametrize(
    "name",
    [
        "langgraph.checkpoint.swarmstate.testing",
        "langgraph.store.swarmstate.testing",
        "swarmstate.testing",
    ],
)
def test_failed_asserts_of_contracts_show_values(name: str) -> None:
    path = import_module(name).__path__
    modules = [import_module(f"{name}.{each.name}") for each in iter_modules(path)]
    assert modules
    # pytest imports itself under this name into modules whose asserts it has rewritten.
    assert [module for module in modules if "@pytest_ar" not in vars(module)] == []

"""Fixtures for the import tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.importing import stock
from tests.importing.sources import Source, postgres_source, sqlite_source


@pytest.fixture(params=["sqlite", "postgres"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    if request.param == "sqlite":
        return sqlite_source(tmp_path)
    return postgres_source(request.getfixturevalue("postgres_server"))


@pytest.fixture
def filled(source: Source) -> Source:
    with source.saver() as saver:
        stock.fill(saver)
    return source

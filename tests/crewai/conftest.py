"""CrewAI without telemetry, terminal output and the home directory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import pytest

# CrewAI reads these when it is imported.
os.environ.update(
    CREWAI_DISABLE_TELEMETRY="true",
    CREWAI_DISABLE_TRACKING="true",
    CREWAI_DISABLE_VERSION_CHECK="true",
    CREWAI_STORAGE_DIR=tempfile.mkdtemp(prefix="crewai-"),
    CREWAI_TESTING="true",
    CREWAI_TRACING_ENABLED="false",
    OTEL_SDK_DISABLED="true",
)


def pytest_configure(config: pytest.Config) -> None:
    # CrewAI replaces one of its modules during import, and uses deprecated parts of its own.
    config.addinivalue_line(
        "filterwarnings", "ignore:Cannot set an attribute on 'crewai:ImportWarning"
    )
    config.addinivalue_line("filterwarnings", "ignore::DeprecationWarning:crewai")


@pytest.fixture(autouse=True)
def _closed_stores() -> Iterator[None]:
    from crewai_swarmstate import close_stores, uninstall

    yield
    uninstall()
    close_stores()

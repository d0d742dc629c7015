"""What docs/design.md says about layers and about where things are is true."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = [
    *(ROOT / "packages").iterdir(),
    *(ROOT / "packages/swarmstate-core").glob("python"),
]


def test_every_place_that_a_change_may_belong_to_exists() -> None:
    text = (ROOT / "docs/design.md").read_text(encoding="utf-8")
    rows = [line.split("|")[2] for line in text.splitlines() if line.startswith("| ")]
    missing = []
    for row in rows[1:]:
        folder = ""
        for name in re.findall(r"`([^`]+)`", row):
            # A bare name is in the folder of the name before it.
            path = name if "/" in name or not folder else f"{folder}/{name}"
            folder = path.rpartition("/")[0]
            if not any(any(package.glob(path)) for package in PACKAGES):
                missing.append(path)
    assert rows
    assert missing == []


def imported(module: Path) -> Iterator[str]:
    """Yield the full names of everything that a module imports, at any place in it."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from (f"{node.module}.{each.name}" for each in node.names)


@pytest.mark.parametrize(
    ("distribution", "own"),
    [
        ("langgraph-checkpoint-swarmstate", "langgraph"),
        ("crewai-swarmstate", "crewai_swarmstate"),
        ("swarmstate-redis", "swarmstate_redis"),
        ("swarmstate-postgres", "swarmstate_postgres"),
    ],
)
def test_a_distribution_uses_what_the_core_offers_and_none_beside_it(
    distribution: str, own: str
) -> None:
    folder = ROOT / "packages" / distribution
    allowed = re.compile(rf"swarmstate(\.[^_]\w*)*$|{own}\.")
    names = {name for module in folder.rglob("*.py") for name in imported(module)}
    assert [name for name in names if "swarmstate" in name and not allowed.match(name)] == []


def test_the_core_knows_what_is_above_it_by_its_short_paths_alone() -> None:
    folder = ROOT / "packages/swarmstate-core/python/swarmstate"
    above = re.compile(r"langgraph|crewai|swarmstate_(redis|postgres)")
    knowing = {
        module.relative_to(folder).parts[0]
        for module in folder.rglob("*.py")
        if any(above.match(name) for name in imported(module))
    }
    assert knowing == {"backends", "integrations"}

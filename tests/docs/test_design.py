"""Whatever docs/design.md says about where things are is there."""

from __future__ import annotations

import re
from pathlib import Path

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
            # A bare name is beside the one before it.
            path = name if "/" in name or not folder else f"{folder}/{name}"
            folder = path.rpartition("/")[0]
            if not any(any(package.glob(path)) for package in PACKAGES):
                missing.append(path)
    assert rows
    assert missing == []

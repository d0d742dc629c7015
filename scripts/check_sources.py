"""Check rules of the sources that no linter knows.

- A package's module has one subject: about 400 lines, at most 450.
- No tracked file names the host of a package registry. The hosts are read from
  the full lock that uv keeps in the work tree. Cargo.lock is exempt: cargo writes
  it that way.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

MAX_LINES = 450
_HOST = re.compile(rb'\b(?:url|registry) = "[a-z]+://(?:[^/"@]*@)?([^/":]+)')


def tracked(root: Path) -> list[Path]:
    """Return the files that git tracks or would add, as paths relative to `root`."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        check=True,
        stdout=subprocess.PIPE,
    ).stdout.decode()
    return [path for name in names.split("\0") if name and (root / (path := Path(name))).is_file()]


def too_long(root: Path, files: list[Path]) -> list[str]:
    """Return a complaint for each package module of more than `MAX_LINES` lines."""
    complaints = []
    for path in files:
        if path.parts[0] == "packages" and path.suffix in {".py", ".pyi", ".rs"}:
            lines = (root / path).read_bytes().count(b"\n")
            if lines > MAX_LINES:
                complaints.append(f"{path}: {lines} lines, at most {MAX_LINES}: split it")
    return complaints


def registry_hosts(lock: bytes) -> set[bytes]:
    """Return the hosts named in a full uv.lock; none for a neutral one."""
    return set(_HOST.findall(lock))


def naming_a_registry(root: Path, files: list[Path], hosts: set[bytes]) -> list[str]:
    """Return a complaint for each file, except the locks, that names one of `hosts`."""
    complaints = []
    for path in files:
        if path.name in {"uv.lock", "Cargo.lock"}:
            continue
        content = (root / path).read_bytes()
        complaints += [
            f"{path}: names the package registry {host.decode()}"
            for host in sorted(hosts)
            if host in content
        ]
    return complaints


def main() -> int:
    """Print every complaint; return the exit status."""
    root = Path(__file__).resolve().parent.parent
    files = tracked(root)
    hosts = registry_hosts((root / "uv.lock").read_bytes())
    complaints = too_long(root, files) + naming_a_registry(root, files, hosts)
    print(*complaints, sep="\n", end="\n" if complaints else "", file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())

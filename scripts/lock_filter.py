"""Git clean filter that keeps package registries out of the committed uv.lock.

Git runs this file (see .gitattributes; `make setup` registers it) whenever it
stores uv.lock: the full lock comes in on stdin, the index-neutral one goes out.

- `url = "https://host/path/name.whl"` becomes `filename = "name.whl"`,
- `registry = "https://host/simple"` becomes `registry = "index"`,
- the `[package.metadata]` tables are left out.

Versions and hashes stay. uv reads the neutral form as stale, keeps what it pins
and writes the full lock again, which this filter turns back into the committed
text. `lock_filter.py --check` holds that: it compares the filtered lock of the
work tree with the staged one.
"""

from __future__ import annotations

import difflib
import re
import subprocess
import sys
from pathlib import Path

LOCK = "uv.lock"
NEUTRAL_REGISTRY = "index"

_URL = re.compile(r'\burl = "[^"]*?([^"/?#]+)(?:[?#][^"]*)?"')
_REGISTRY = re.compile(r'\bregistry = "[^"]*"')
# A table runs to the next header or the end of the file; arrays inside it are indented.
_METADATA = re.compile(r"^\[package\.metadata(?:\.[^\]]+)?\]\n(?:(?!\[).*\n)*", re.MULTILINE)


def clean(lock: str) -> str:
    """Return the index-neutral form of `lock`; a neutral lock comes back unchanged."""
    lock = _METADATA.sub("", lock)
    lock = _URL.sub(r'filename = "\1"', lock)
    lock = _REGISTRY.sub(f'registry = "{NEUTRAL_REGISTRY}"', lock)
    return lock.rstrip("\n") + "\n"


def difference(root: Path) -> list[str]:
    """Return how the filtered lock of the work tree differs from the staged one.

    Args:
        root: The top of the git work tree.

    Returns:
        Lines of a unified diff, none if they are equal.

    Raises:
        subprocess.CalledProcessError: `root` is no work tree, or git has no lock in its index.
    """
    staged = subprocess.run(
        ["git", "show", f":{LOCK}"], cwd=root, check=True, stdout=subprocess.PIPE
    ).stdout.decode()
    working = clean((root / LOCK).read_text(encoding="utf-8"))
    return list(
        difflib.unified_diff(
            staged.splitlines(), working.splitlines(), "staged", "work tree", lineterm="", n=1
        )
    )


def main(arguments: list[str]) -> int:
    """Filter stdin to stdout, or with `--check` compare; return the exit status."""
    if not arguments:
        sys.stdout.buffer.write(clean(sys.stdin.buffer.read().decode()).encode())
        return 0
    if arguments != ["--check"]:
        print("usage: lock_filter.py [--check]", file=sys.stderr)
        return 2
    lines = difference(Path(__file__).resolve().parent.parent)
    if not lines:
        return 0
    print(*lines[:60], sep="\n", file=sys.stderr)
    print(
        f"{LOCK} of the work tree is not the committed one (diff above). If the change of "
        f"versions is meant, stage it: make setup && git add {LOCK}",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Git clean filter that keeps package registries out of the committed uv.lock.

Git runs this file (see .gitattributes; `make setup` registers it) whenever it
stores uv.lock: the full lock comes in on stdin, the index-neutral one goes out.

- `url = "https://host/path/name.whl"` becomes `filename = "name.whl"`,
- `registry = "https://host/simple"` becomes `registry = "index"`,
- `size = 123` is left out, since only some indexes provide it,
- and so are the `[package.metadata]` tables.

Versions and hashes stay. uv treats the neutral form as stale, keeps its pins and writes the full
lock again. `lock_filter.py --check` verifies this: the staged lock and the one in the work tree
must pin the same packages. The rest of the text is not compared: another uv version may word a
marker differently, and an index may have gained a wheel of a pinned version.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

LOCK = "uv.lock"
NEUTRAL_REGISTRY = "index"

_URL = re.compile(r'\burl = "[^"]*?([^"/?#]+)(?:[?#][^"]*)?"')
_REGISTRY = re.compile(r'\bregistry = "[^"]*"')
_SIZE = re.compile(r", size = \d+")
# A table ends at the next header or the end of the file; arrays inside it are indented.
_METADATA = re.compile(r"^\[package\.metadata(?:\.[^\]]+)?\]\n(?:(?!\[).*\n)*", re.MULTILINE)


def clean(lock: str) -> str:
    """Return the index-neutral form of `lock`; a neutral lock comes back unchanged."""
    lock = _METADATA.sub("", lock)
    lock = _URL.sub(r'filename = "\1"', lock)
    lock = _REGISTRY.sub(f'registry = "{NEUTRAL_REGISTRY}"', lock)
    lock = _SIZE.sub("", lock)
    return lock.rstrip("\n") + "\n"


class Pinned(NamedTuple):
    """What a lock pins for a package.

    Attributes:
        hashes: The hashes of its files; empty for our own packages.
        needs: The names of its dependencies.
    """

    hashes: frozenset[str]
    needs: frozenset[str]


def pins(lock: str) -> dict[str, Pinned]:
    """Return what `lock` pins, by `name==version`, or by name for our own packages."""
    pinned = {}
    for package in clean(lock).split("[[package]]\n")[1:]:
        identity = "==".join(re.findall(r'^(?:name|version) = "([^"]+)"', package, re.MULTILINE))
        pinned[identity] = Pinned(
            frozenset(re.findall(r'\bhash = "([^"]+)"', package)),
            frozenset(re.findall(r'\{ name = "([^"]+)"', package)),
        )
    return pinned


def difference(root: Path) -> list[str]:
    """Return where the pins of the work tree's lock differ from those of the staged one.

    Args:
        root: The top of the git work tree.

    Returns:
        One line for each package that only one of them has (`-` for the staged one, `+` for the
        work tree), for each staged hash that is missing, and for each dependency that only one of
        them has; empty if they pin the same.

    Raises:
        subprocess.CalledProcessError: `root` is not a work tree, or git has no lock in its index.
    """
    staged = pins(
        subprocess.run(
            ["git", "show", f":{LOCK}"], cwd=root, check=True, stdout=subprocess.PIPE
        ).stdout.decode()
    )
    working = pins((root / LOCK).read_text(encoding="utf-8"))
    lines = [f"-{package}" for package in sorted(staged.keys() - working.keys())]
    lines += [f"+{package}" for package in sorted(working.keys() - staged.keys())]
    for package in sorted(staged.keys() & working.keys()):
        before, now = staged[package], working[package]
        lines += [f"-{package} {digest}" for digest in sorted(before.hashes - now.hashes)]
        lines += [f"-{package} needs {name}" for name in sorted(before.needs - now.needs)]
        lines += [f"+{package} needs {name}" for name in sorted(now.needs - before.needs)]
    return lines


def main(arguments: list[str]) -> int:
    """Filter stdin to stdout, or compare with `--check`; return the exit status."""
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
        f"{LOCK} of the work tree does not pin what the staged one does (- above), or pins more "
        f"(+ above). If that is meant, stage it: make setup && git add {LOCK}",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

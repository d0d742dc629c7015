"""The rules that `make lint` adds to the linters find violations."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from scripts.check_sources import MAX_LINES, naming_a_registry, registry_hosts, too_long, tracked

if TYPE_CHECKING:
    from pathlib import Path


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_a_long_module_of_a_package_is_reported(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    write(tmp_path, "packages/a/long.py", "x = 1\n" * (MAX_LINES + 1))
    write(tmp_path, "packages/a/short.rs", "//\n" * MAX_LINES)
    write(tmp_path, "packages/a/README.md", "\n" * (MAX_LINES + 1))
    assert [line.split(":")[0] for line in too_long(tmp_path, tracked(tmp_path))] == [
        "packages/a/long.py"
    ]


def test_a_file_that_names_a_registry_is_reported(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    lock = 'registry = "https://u:p@mirror.example:8443/simple"\nurl = "https://files.example/a"\n'
    write(tmp_path, "uv.lock", lock)
    write(tmp_path, "README.md", "pip install -i https://mirror.example/simple a\n")
    write(tmp_path, "good.md", "pip install a\n")
    hosts = registry_hosts(lock.encode())
    assert hosts == {b"mirror.example", b"files.example"}
    assert naming_a_registry(tmp_path, tracked(tmp_path), hosts) == [
        "README.md: names the package registry mirror.example"
    ]

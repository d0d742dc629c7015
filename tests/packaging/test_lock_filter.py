"""The committed lock names no registry, but still pins every version and hash."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from scripts.lock_filter import clean, difference

ROOT = Path(__file__).resolve().parents[2]

# The host is made up; the format is uv's.
FULL = """\
version = 1

[[package]]
name = "left"
version = "1.2.0"
source = { registry = "https://mirror.example:8443/simple" }
dependencies = [
    { name = "right", version = "2.0", source = { registry = "https://m.example/simple" } },
]
sdist = { url = "https://user:word@f.example/left-1.2.0.tar.gz", hash = "sha256:aa", size = 1 }
wheels = [
    { url = "https://f.example/left-1.2.0-py3-none-any.whl#bb", hash = "sha256:bb", size = 3 },
]

[[package]]
name = "ours"
version = "0.1.0"
source = { editable = "packages/ours" }
dependencies = [
    { name = "left" },
]

[package.metadata]
requires-dist = [
    { name = "left", specifier = ">=1" },
]

[package.metadata.requires-dev]
dev = [{ name = "left", specifier = ">=1" }]

[[package]]
name = "right"
version = "2.0"

[package.metadata]
requires-dist = [{ name = "left" }]
"""

NEUTRAL = """\
version = 1

[[package]]
name = "left"
version = "1.2.0"
source = { registry = "index" }
dependencies = [
    { name = "right", version = "2.0", source = { registry = "index" } },
]
sdist = { filename = "left-1.2.0.tar.gz", hash = "sha256:aa" }
wheels = [
    { filename = "left-1.2.0-py3-none-any.whl", hash = "sha256:bb" },
]

[[package]]
name = "ours"
version = "0.1.0"
source = { editable = "packages/ours" }
dependencies = [
    { name = "left" },
]

[[package]]
name = "right"
version = "2.0"
"""


def test_a_full_lock_becomes_neutral() -> None:
    assert clean(FULL) == NEUTRAL


def test_a_neutral_lock_stays_as_it_is() -> None:
    assert clean(NEUTRAL) == NEUTRAL


def test_the_lock_in_use_keeps_every_hash_and_version() -> None:
    full = (ROOT / "uv.lock").read_text(encoding="utf-8")
    neutral = clean(full)
    for pattern in (r'hash = "[^"]+"', r'^version = "[^"]+"$'):
        expected = re.findall(pattern, full, re.MULTILINE)
        assert expected
        assert re.findall(pattern, neutral, re.MULTILINE) == expected


def test_the_staged_lock_is_neutral() -> None:
    staged = subprocess.run(
        ["git", "show", ":uv.lock"], cwd=ROOT, check=True, stdout=subprocess.PIPE
    ).stdout.decode()
    assert staged == clean(staged)
    assert "://" not in staged


def repository_with(lock: str, path: Path) -> None:
    """Commit `lock` as git does once the filter is registered."""
    filter_command = f'"{sys.executable}" "{ROOT / "scripts/lock_filter.py"}"'
    (path / ".gitattributes").write_bytes((ROOT / ".gitattributes").read_bytes())
    (path / "uv.lock").write_text(lock, encoding="utf-8")
    for command in (
        ["init", "--quiet"],
        ["config", "filter.uv-lock.clean", filter_command],
        ["config", "filter.uv-lock.smudge", "cat"],
        ["config", "filter.uv-lock.required", "true"],
        ["add", "."],
    ):
        subprocess.run(["git", *command], cwd=path, check=True)


def test_git_stores_the_neutral_form_of_a_full_lock(tmp_path: Path) -> None:
    repository_with(FULL, tmp_path)
    staged = subprocess.run(
        ["git", "show", ":uv.lock"], cwd=tmp_path, check=True, stdout=subprocess.PIPE
    ).stdout.decode()
    assert staged == NEUTRAL
    assert difference(tmp_path) == []
    (tmp_path / "uv.lock").unlink()
    subprocess.run(["git", "checkout", "--", "uv.lock"], cwd=tmp_path, check=True)
    assert (tmp_path / "uv.lock").read_text(encoding="utf-8") == NEUTRAL


def test_another_version_package_dependency_or_hash_is_a_difference(tmp_path: Path) -> None:
    repository_with(FULL, tmp_path)
    third = '\n[[package]]\nname = "third"\nversion = "3.0"\n'
    for lock, expected in (
        (FULL.replace('version = "1.2.0"', 'version = "1.3.0"'), ["-left==1.2.0", "+left==1.3.0"]),
        (FULL.replace("sha256:bb", "sha256:cc"), ["-left==1.2.0 sha256:bb"]),
        (FULL + third, ["+third==3.0"]),
        (
            FULL.replace('name = "right", version', 'name = "third", version'),
            ["-left==1.2.0 needs right", "+left==1.2.0 needs third"],
        ),
    ):
        (tmp_path / "uv.lock").write_text(lock, encoding="utf-8")
        assert difference(tmp_path) == expected


def test_another_wording_or_one_more_wheel_is_no_difference(tmp_path: Path) -> None:
    repository_with(FULL, tmp_path)
    wheel = '    { url = "https://files.example/left-1.2.0-cp9.whl", hash = "sha256:dd" },\n'
    lock = FULL.replace("wheels = [\n", "wheels = [\n" + wheel).replace(
        "https://mirror.example:8443/simple", "https://another.example/simple"
    )
    (tmp_path / "uv.lock").write_text(lock.replace('specifier = ">=1"', 'specifier=">= 1"'))
    assert difference(tmp_path) == []

"""The examples run offline and without warnings; each checks its own claims."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.stores import Stores

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("semantic_memory", "instrument do I practice?\n   I play the cello on Tuesdays"),
        ("support_triage", "ok: the front desk takes it"),
        ("swarm", "ok: all 200 threads are in one store"),
        ("merge_forks", "merged: ['desk lamps are returned most', 'lamps sell in autumn', 'the"),
    ],
)
def test_runs(name: str, said: str, tmp_path: Path) -> None:
    run(tmp_path, said, name)


@pytest.mark.parametrize(
    ("name", "place", "said"),
    [
        ("semantic_memory", "agents.db", "instrument do I practice?\n   I play the cello"),
        ("support_triage", "new", "ok: the front desk takes it"),
        ("merge_forks", "agents.db", "merged: ['desk lamps are returned most', 'lamps sell in"),
    ],
)
def test_runs_twice_in_one_place(name: str, place: str, said: str, tmp_path: Path) -> None:
    run(tmp_path, said, name, place)
    run(tmp_path, said, name, place)


@pytest.mark.parametrize(
    "name", ["demo", "semantic_memory", "support_triage", "swarm", "merge_forks"]
)
def test_asked_for_help_tells_what_it_takes(name: str, tmp_path: Path) -> None:
    run(tmp_path, f"usage: {name}.py [-h] [", name, "--help")
    assert list(tmp_path.iterdir()) == []


def test_a_swarm_has_a_folder_of_its_own(tmp_path: Path) -> None:
    run(tmp_path, "ok: all 3 threads are in one store", "swarm", "new/folder", "--agents", "3")
    again = done(tmp_path, "swarm", "new/folder")
    assert again.returncode == 2
    assert "choose another directory" in again.stderr
    nobody = done(tmp_path, "swarm", "--agents", "0")
    assert "expected at least one agent" in nobody.stderr


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("semantic_memory", "instrument do I practice?\n   I play the cello on Tuesdays"),
        ("merge_forks", "merged: ['desk lamps are returned most', 'lamps sell in autumn', 'the"),
    ],
)
@pytest.mark.parametrize("kind", ["redis", "postgres"])
def test_runs_on_servers(
    name: str, said: str, kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue(f"{kind}_server")
    run(tmp_path, said, name, Stores(kind, tmp_path, lambda _: str(server.url())).url)


def run(folder: Path, said: str, name: str, *arguments: str) -> None:
    ended = done(folder, name, *arguments)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""
    assert said in ended.stdout


def done(folder: Path, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", ROOT / f"examples/{name}.py", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )

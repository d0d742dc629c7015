"""The names, versions and files of the distributions agree with each other."""

from __future__ import annotations

import re
import sys
from importlib.metadata import distribution, entry_points, version
from pathlib import Path

import pytest
import swarmstate._core

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "packages/swarmstate-core"
PACKAGES = sorted(path.parent for path in ROOT.glob("packages/*/pyproject.toml"))
ADAPTERS = [package for package in PACKAGES if package != CORE]


def core_version() -> str:
    found = re.search(r'^version = "([^"]+)"', (CORE / "Cargo.toml").read_text(), re.MULTILINE)
    assert found
    return found[1]


def test_cargo_toml_alone_gives_the_version_of_the_core() -> None:
    assert 'dynamic = ["version"]' in (CORE / "pyproject.toml").read_text()
    assert version("swarmstate-core") == swarmstate._core.__version__ == core_version()


def test_the_rust_crates_take_their_version_from_the_workspace() -> None:
    for manifest in CORE.glob("rust/*/Cargo.toml"):
        assert "version.workspace = true" in manifest.read_text(), manifest


@pytest.mark.parametrize("package", ADAPTERS, ids=lambda package: package.name)
def test_adapters_pin_the_core(package: Path) -> None:
    requires = distribution(package.name).requires or []
    assert f"swarmstate-core=={core_version()}" in requires


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_a_folder_is_named_after_its_distribution(package: Path) -> None:
    assert distribution(package.name).metadata["Name"] == package.name


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_a_distribution_has_what_users_look_for(package: Path) -> None:
    changelog = (package / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## {version(package.name)}" in changelog
    assert (package / "README.md").read_text(encoding="utf-8").startswith(f"# {package.name}")
    assert (package / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert list(package.rglob("py.typed"))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere SQLite has another way to sync")
def test_a_commit_does_not_write_the_times_of_its_file() -> None:
    # The flags in `packages/swarmstate-core/.cargo/config.toml` reached the compiler.
    assert b"fdatasync" in Path(swarmstate._core.__file__).read_bytes()


def test_the_namespaces_of_langgraph_stay_namespaces() -> None:
    adapter = ROOT / "packages/langgraph-checkpoint-swarmstate"
    shared = [adapter / "langgraph", *(p for p in (adapter / "langgraph").iterdir() if p.is_dir())]
    assert [path for path in shared if (path / "__init__.py").exists()] == []


def test_every_registered_store_can_be_loaded() -> None:
    registered = entry_points(group="swarmstate.stores")
    assert {"memory", "disk", "redis", "rediss"} <= registered.names
    assert all(callable(entry_point.load()) for entry_point in registered)

"""The public names: explicit and complete."""

from __future__ import annotations

import importlib
import inspect
import sys

import pytest
import swarmstate

MODULES = [
    "swarmstate",
    "swarmstate.base",
    "swarmstate.cached",
    "swarmstate.closing",
    "swarmstate.batching",
    "swarmstate.codec",
    "swarmstate.disk",
    "swarmstate.backends.disk",
    "swarmstate.backends.postgres",
    "swarmstate.backends.redis",
    "swarmstate.entries",
    "swarmstate.errors",
    "swarmstate.finding",
    "swarmstate.forking",
    "swarmstate.graph",
    "swarmstate.integrations.langgraph",
    "swarmstate.layers",
    "swarmstate.loops",
    "swarmstate.memory",
    "swarmstate.merge",
    "swarmstate.moving",
    "swarmstate.observability",
    "swarmstate.operations",
    "swarmstate.serving",
    "swarmstate.sharing",
    "swarmstate.testing",
    "swarmstate.urls",
    "swarmstate.vectors",
    "swarmstate_postgres",
    "swarmstate_redis",
    "langgraph.cache.swarmstate",
    "langgraph.checkpoint.swarmstate",
    "langgraph.store.swarmstate",
]


@pytest.mark.parametrize("name", MODULES)
def test_every_module_names_what_it_exports(name: str) -> None:
    module = importlib.import_module(name)
    exported: list[str] = module.__all__
    assert sorted(set(exported)) == sorted(exported)
    for each in exported:
        assert getattr(module, each) is not None


def test_nothing_public_is_left_out_of_the_package() -> None:
    modules = {"backends", "base", "batching", "cached", "closing", "codec", "disk", "errors"}
    modules |= {
        "cli",
        "entries",
        "finding",
        "forking",
        "graph",
        "integrations",
        "layers",
        "loops",
        "memory",
        "merge",
        "moving",
        "observability",
        "operations",
        "serving",
        "sharing",
        "testing",
        "urls",
        "vectors",
    }
    public = {name for name in vars(swarmstate) if not name.startswith("_")}
    assert public - modules - {"annotations"} == set(swarmstate.__all__) - {"__version__"}


def test_help_has_something_to_say_of_all_that_is_public() -> None:
    silent = []
    for name in swarmstate.__all__:
        each = getattr(swarmstate, name)
        if inspect.isclass(each):
            members = (member for member in dir(each) if not member.startswith("_"))
            silent += [f"{name}.{m}" for m in members if not inspect.getdoc(getattr(each, m))]
        if callable(each) and not inspect.getdoc(each):
            silent.append(name)
    assert silent == []


def offered(*names: str) -> dict[str, object]:
    """Return what modules export to users, without `open_url`, which is for entry points."""
    modules = [importlib.import_module(name) for name in names]
    exported = {name: getattr(each, name) for each in modules for name in each.__all__}
    return {name: each for name, each in exported.items() if name != "open_url"}


@pytest.mark.parametrize(
    ("path", "modules"),
    [
        ("swarmstate.backends.postgres", ["swarmstate_postgres"]),
        ("swarmstate.backends.redis", ["swarmstate_redis"]),
        (
            "swarmstate.integrations.langgraph",
            [f"langgraph.{each}.swarmstate" for each in ("cache", "checkpoint", "store")],
        ),
    ],
)
def test_a_short_path_leads_to_all_that_is_behind_it(path: str, modules: list[str]) -> None:
    assert offered(path) == offered(*modules)


def test_the_short_path_of_files_leads_to_their_store() -> None:
    from swarmstate.backends import disk

    assert disk.DiskStore is swarmstate.DiskStore


@pytest.mark.parametrize(
    ("name", "missing", "distribution"),
    [
        ("swarmstate.backends.postgres", "swarmstate_postgres", "swarmstate-postgres"),
        ("swarmstate.backends.redis", "swarmstate_redis", "swarmstate-redis"),
        (
            "swarmstate.integrations.langgraph",
            "langgraph.checkpoint.swarmstate",
            "langgraph-checkpoint-swarmstate",
        ),
    ],
)
def test_a_short_path_that_leads_nowhere_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, name: str, missing: str, distribution: str
) -> None:
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ModuleNotFoundError, match=f"found no module '{missing}'.*{distribution}"):
        importlib.import_module(name)


def test_the_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert swarmstate.__version__ == version("swarmstate-core")

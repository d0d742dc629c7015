"""Patches are applied on request, if they fit the installed versions, and leave no trace."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
from langgraph.checkpoint.swarmstate import accelerate, deaccelerate
from langgraph.checkpoint.swarmstate.acceleration.guarding import Versions, digest, find
from langgraph.checkpoint.swarmstate.acceleration.patches import PATCHES

_PACKAGE = "langgraph.checkpoint.swarmstate.acceleration"


@pytest.fixture(autouse=True)
def _undone() -> Iterator[None]:
    yield
    deaccelerate()


def replaced_by(name: str) -> dict[str, Any]:
    """Return what is currently at the places that a patch replaces."""
    paths = import_module(f"{_PACKAGE}.{PATCHES[name].module}").REPLACEMENTS
    return {path: find(path).value for path in paths}


@pytest.mark.parametrize("name", PATCHES)
def test_suits_the_installed_versions(name: str) -> None:
    [report] = accelerate(name).patches
    assert report == (name, PATCHES[name].summary, True, "")


@pytest.mark.parametrize("name", PATCHES)
def test_undo_puts_back_what_was_there(name: str) -> None:
    before = replaced_by(name)
    with accelerate(name) as acceleration:
        assert acceleration.applied == (name,)
        replacements = import_module(f"{_PACKAGE}.{PATCHES[name].module}").REPLACEMENTS
        assert replaced_by(name) == replacements
        assert not any(before[path] is replacements[path] for path in before)
    assert replaced_by(name) == before
    acceleration.undo()
    assert replaced_by(name) == before


@pytest.mark.parametrize("name", PATCHES)
def test_lists_the_sources_of_all_that_it_replaces(name: str) -> None:
    replacements = import_module(f"{_PACKAGE}.{PATCHES[name].module}").REPLACEMENTS
    assert replacements.keys() <= {
        path.removesuffix(".__wrapped__") for path in PATCHES[name].sources
    }


def test_the_last_holder_undoes() -> None:
    before = replaced_by("messages")
    first, second = accelerate(), accelerate("messages")
    first.undo()
    assert replaced_by("messages") != before
    assert second.applied == ("messages",)
    second.undo()
    assert replaced_by("messages") == before


def test_deaccelerate_undoes_every_acceleration() -> None:
    before = {name: replaced_by(name) for name in PATCHES}
    first, _ = accelerate(), accelerate("saving", "messages")
    deaccelerate()
    assert {name: replaced_by(name) for name in PATCHES} == before
    with accelerate("messages"):
        first.undo()
        assert replaced_by("messages") != before["messages"]
    assert {name: replaced_by(name) for name in PATCHES} == before


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r"patch names among 'messages', .*; found 'fater', 'q'$"):
        accelerate("fater", "messages", "q")
    names: Any = ["messages"]
    with pytest.raises(ValueError, match=r"; found \['messages'\]$"):
        accelerate(names)
    assert "swarmstate" not in replaced_by("messages").popitem()[1].__module__


def test_another_source_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    from langgraph.channels.binop import BinaryOperatorAggregate

    def update(self: Any, values: Any) -> bool:
        return True

    monkeypatch.setattr(BinaryOperatorAggregate, "update", update)
    acceleration = accelerate("messages", "runtimes")
    assert acceleration.applied == ("runtimes",)
    assert BinaryOperatorAggregate.update is update
    reason = "found a different langgraph.channels.binop:BinaryOperatorAggregate.update than"
    assert acceleration.patches[0].reason.startswith(reason)
    assert f"\n  messages     not applied: {reason}" in repr(acceleration)
    assert "\n  runtimes     applied: the runtime" in repr(acceleration)
    assert repr(acceleration).startswith("Acceleration of langgraph 1.")


def test_what_others_wrapped_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    from functools import wraps

    from langgraph.channels.binop import BinaryOperatorAggregate

    original = BinaryOperatorAggregate.update

    @wraps(original)
    def traced(self: Any, values: Any) -> bool:
        return original(self, values)

    monkeypatch.setattr(BinaryOperatorAggregate, "update", traced)
    [report] = accelerate("messages").patches
    assert not report.applied
    assert "wrapped by something else" in report.reason


def test_another_version_is_not_patched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{_PACKAGE}.guarding.version", lambda distribution: "1.3.0rc1")
    acceleration = accelerate()
    assert {report.name for report in acceleration.patches if report.applied} == {
        "callbacks",
        "chat_models",
    }
    assert acceleration.patches[0].reason == "needs langgraph>=1.2,<1.3, found 1.3.0rc1"


def test_what_is_gone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from langgraph.channels.binop import BinaryOperatorAggregate

    monkeypatch.delattr(BinaryOperatorAggregate, "update")
    [report] = accelerate("messages").patches
    assert report.reason == "found no langgraph.channels.binop:BinaryOperatorAggregate.update"


def test_undo_leaves_what_others_put_there(monkeypatch: pytest.MonkeyPatch) -> None:
    from langgraph.channels.binop import BinaryOperatorAggregate

    original = BinaryOperatorAggregate.update
    acceleration = accelerate("messages")

    def update(self: Any, values: Any) -> bool:
        return True

    BinaryOperatorAggregate.update = update  # type: ignore[method-assign]
    try:
        with pytest.warns(RuntimeWarning, match="expected update of .* of patch 'messages'"):
            acceleration.undo()
        assert BinaryOperatorAggregate.update is update
    finally:
        BinaryOperatorAggregate.update = original  # type: ignore[method-assign]


@pytest.mark.parametrize("undo", ["undo", "deaccelerate"])
def test_a_warning_that_is_an_error_leaves_no_patch_behind(undo: str) -> None:
    from langgraph.channels.binop import BinaryOperatorAggregate
    from langgraph.runtime import Runtime

    def other(*_: Any, **__: Any) -> Any:
        raise AssertionError("not called")

    before = {name: replaced_by(name) for name in PATCHES}
    originals = BinaryOperatorAggregate.update, Runtime.override
    acceleration = accelerate()
    BinaryOperatorAggregate.update = Runtime.override = other  # type: ignore[method-assign]
    try:
        with pytest.raises(RuntimeWarning, match="left unchanged"):
            acceleration.undo() if undo == "undo" else deaccelerate()
    finally:
        BinaryOperatorAggregate.update, Runtime.override = originals  # type: ignore[method-assign]
    assert {name: replaced_by(name) for name in PATCHES} == before


def test_importing_patches_nothing() -> None:
    code = f"""
import langgraph.pregel.main, langgraph.runtime
from {_PACKAGE}.guarding import digest, find
import langgraph.checkpoint.swarmstate, swarmstate.integrations.langgraph
from {_PACKAGE}.patches import PATCHES
for patch in PATCHES.values():
    for path, expected in patch.sources.items():
        assert digest(find(path).value) == expected, path
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_versions() -> None:
    suitable = Versions((1, 2), (1, 3))
    found = {"1.1.9", "1.2", "1.2.0", "1.2.22", "1.2.1rc1", "1.3", "1.3.0a1", "2.0"}
    assert {version for version in found if suitable.include(version)} == {
        "1.2",
        "1.2.0",
        "1.2.22",
        "1.2.1rc1",
    }
    assert str(suitable) == ">=1.2,<1.3"


def test_digests_are_of_the_source() -> None:
    assert digest(find("langgraph.runtime:Runtime.override").value) != digest(
        find("langgraph.runtime:Runtime.merge").value
    )

"""Applying patches and undoing them."""

from __future__ import annotations

import warnings
from contextlib import suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from threading import RLock
from typing import TYPE_CHECKING, NamedTuple

from .guarding import Target, UnsuitableError, check, find
from .patches import PATCHES, Patch

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

_DISTRIBUTIONS = ("langgraph", "langchain-core")


class PatchReport(NamedTuple):
    """The outcome of applying a patch.

    Attributes:
        name: Its name.
        summary: What it does.
        applied: Whether it was applied.
        reason: Why it was not; empty if it was.
    """

    name: str
    summary: str
    applied: bool
    reason: str


class Acceleration:
    """Patches in force, until `undo()`; a context manager that undoes them.

    Print it to see which patches were applied, and why others were not.

    Attributes:
        patches: The outcome for each requested patch.
    """

    def __init__(self, patches: tuple[PatchReport, ...], held: list[_Applied]) -> None:
        self.patches = patches
        self._held = held

    @property
    def applied(self) -> tuple[str, ...]:
        """The names of the patches that were applied."""
        return tuple(report.name for report in self.patches if report.applied)

    def undo(self) -> None:
        """Restore the originals, unless another acceleration needs the patches; can be repeated.

        Running graphs continue with what they started with. If something else has replaced
        a patch meanwhile, that stays, and a `RuntimeWarning` names it.
        """
        left: list[str] = []
        with _LOCK:
            while self._held:
                left += _release(self._held.pop())
        _warn_of(left)

    def __enter__(self) -> Self:
        """Return the object itself."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Undo it."""
        self.undo()

    def __repr__(self) -> str:
        """Return a line for each patch."""
        lines = [
            f"  {report.name:<12} "
            + (f"applied: {report.summary}" if report.applied else f"not applied: {report.reason}")
            for report in self.patches
        ]
        return "\n".join([f"Acceleration of {_installed()}", *lines])


def accelerate(*names: str) -> Acceleration:
    """Make LangGraph faster in this process, and return a handle that undoes it.

    Results, events and stored data stay the same. Patches replace functions and classes
    of LangGraph or LangChain with ones that do the same in less time; one adjusts Python's
    garbage collector. Graphs that are already compiled get faster too. Each patch is applied
    only if it was made for the installed versions and for the source of everything it
    replaces. No patch is applied twice: several accelerations share them, and undoing the last
    one restores the originals.

    Args:
        names: The patches to apply; all of them by default.

    Raises:
        ValueError: A name is not the name of a patch.
    """
    unknown = [name for name in names if name not in [*PATCHES]]
    if unknown:
        raise ValueError(
            f"expected patch names among {', '.join(map(repr, PATCHES))}; "
            f"found {', '.join(map(repr, unknown))}"
        )
    reports, held = [], []
    with _LOCK:
        for patch in PATCHES.values():
            if names and patch.name not in names:
                continue
            try:
                applied = _APPLIED.get(patch.name) or _apply(patch)
            except UnsuitableError as error:
                reports.append(PatchReport(patch.name, patch.summary, False, str(error)))
            else:
                applied.holders += 1
                held.append(applied)
                reports.append(PatchReport(patch.name, patch.summary, True, ""))
    return Acceleration(tuple(reports), held)


def deaccelerate() -> None:
    """Undo every acceleration of this process."""
    left: list[str] = []
    with _LOCK:
        for applied in list(_APPLIED.values()):
            applied.holders = 1
            left += _release(applied)
    _warn_of(left)


class _Applied:
    """A patch in force.

    Attributes:
        name: The patch's.
        replaced: What was put in place of what.
        release: What else is to be done when it is taken away; returns what was left, if anything.
        holders: How many accelerations need it; none once it is undone.
    """

    def __init__(
        self,
        name: str,
        replaced: list[tuple[Target, object]],
        release: Callable[[], str | None] | None,
    ) -> None:
        self.name = name
        self.replaced = replaced
        self.release = release
        self.holders = 0


_LOCK = RLock()
_APPLIED: dict[str, _Applied] = {}


def _apply(patch: Patch) -> _Applied:
    check(patch.versions, patch.sources)
    try:
        module = import_module(f".{patch.module}", __package__)
    except ImportError as error:
        raise UnsuitableError(f"failed to import: {error}") from error
    replacements: dict[str, object] = module.REPLACEMENTS
    replaced = [(find(path), replacement) for path, replacement in replacements.items()]
    engage: Callable[[], None] | None = getattr(module, "engage", None)
    if engage is not None:
        engage()
    for target, replacement in replaced:
        setattr(target.owner, target.name, replacement)
    applied = _Applied(patch.name, replaced, getattr(module, "release", None))
    _APPLIED[patch.name] = applied
    return applied


def _release(applied: _Applied) -> list[str]:
    """Put back what was replaced if nobody needs it, and return what was left unchanged."""
    if not applied.holders:
        return []
    applied.holders -= 1
    if applied.holders:
        return []
    del _APPLIED[applied.name]
    left = []
    for target, replacement in applied.replaced:
        if vars(target.owner).get(target.name) is replacement:
            setattr(target.owner, target.name, target.value)
        else:
            left.append(
                f"expected {target.name} of {target.owner!r} to be that of patch "
                f"{applied.name!r}, found something else; left unchanged"
            )
    found = applied.release() if applied.release is not None else None
    return left if found is None else [*left, found]


def _warn_of(left: list[str]) -> None:
    """Warn, which may raise: only when all is done."""
    for message in left:
        warnings.warn(message, RuntimeWarning, stacklevel=3)


def _installed() -> str:
    found = []
    for distribution in _DISTRIBUTIONS:
        with suppress(PackageNotFoundError):
            found.append(f"{distribution} {version(distribution)}")
    return ", ".join(found)

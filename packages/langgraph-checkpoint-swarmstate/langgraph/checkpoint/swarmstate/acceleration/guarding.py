"""Finding what a patch replaces, and making sure that it is what the patch was made for."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from itertools import takewhile
from typing import Any, NamedTuple

_DIGEST_LENGTH = 16


class Target(NamedTuple):
    """An attribute of a module or class."""

    owner: Any
    name: str
    value: Any


class Versions(NamedTuple):
    """Versions of a distribution: from `since` on, and below `before`."""

    since: tuple[int, ...]
    before: tuple[int, ...]

    def include(self, version: str) -> bool:
        """Tell whether a version such as "1.2.22" is one of them."""
        return self.since <= _numbers(version) < self.before

    def __str__(self) -> str:
        """Return them as requirements write them."""
        return f">={'.'.join(map(str, self.since))},<{'.'.join(map(str, self.before))}"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int("".join(takewhile(str.isdigit, part)) or 0) for part in version.split(".")[:3])


class UnsuitableError(Exception):
    """What is installed is not what a patch was made for; the message says what was found."""


def find(path: str) -> Target:
    """Return what `path`, such as "package.module:Class.method", names.

    Raises:
        UnsuitableError: There is no such thing.
    """
    module, _, qualified = path.partition(":")
    *parents, name = qualified.split(".")
    try:
        owner: Any = import_module(module)
        for parent in parents:
            owner = getattr(owner, parent)
        return Target(owner, name, vars(owner)[name])
    except (ImportError, AttributeError, KeyError) as error:
        raise UnsuitableError(f"found no {path}") from error


@lru_cache(maxsize=256)
def digest(value: Any) -> str:
    """Return a digest of the source of a function or class.

    Raises:
        UnsuitableError: Its source is not there.
    """
    try:
        source = inspect.getsource(value)
    except (OSError, TypeError) as error:
        raise UnsuitableError(f"found no source of {value!r}") from error
    return hashlib.sha256(source.encode()).hexdigest()[:_DIGEST_LENGTH]


def check(versions: Mapping[str, Versions], sources: Mapping[str, str]) -> None:
    """Check that what is installed is what a patch was made for.

    Args:
        versions: Of distributions, those that will do.
        sources: Of functions and classes, the digests of their sources.

    Raises:
        UnsuitableError: It is not.
    """
    for distribution, suitable in versions.items():
        try:
            found = version(distribution)
        except PackageNotFoundError as error:
            raise UnsuitableError(f"found no {distribution}") from error
        if not suitable.include(found):
            raise UnsuitableError(f"needs {distribution}{suitable}, found {found}")
    for path, expected in sources.items():
        value = find(path).value
        # The source of a wrapper would be that of what is wrapped.
        if hasattr(value, "__wrapped__"):
            raise UnsuitableError(f"found {path} wrapped by something else")
        if digest(value) != expected:
            raise UnsuitableError(f"found another {path} than this patch was made for")

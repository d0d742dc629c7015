"""Finding what a patch replaces, and checking that it is what the patch was made for."""

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
    """A range of versions of a distribution: from `since` on, below `before`."""

    since: tuple[int, ...]
    before: tuple[int, ...]

    def include(self, version: str) -> bool:
        """Whether a version such as "1.2.22" is in the range."""
        return self.since <= _numbers(version) < self.before

    def __str__(self) -> str:
        """Return the range as a requirement specifier."""
        return f">={'.'.join(map(str, self.since))},<{'.'.join(map(str, self.before))}"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int("".join(takewhile(str.isdigit, part)) or 0) for part in version.split(".")[:3])


class UnsuitableError(Exception):
    """The installed code is not what a patch was made for; the message says what was found."""


def find(path: str) -> Target:
    """Return the object that a path such as "package.module:Class.method" names.

    Raises:
        UnsuitableError: It does not exist.
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
        UnsuitableError: Its source is not available.
    """
    try:
        source = inspect.getsource(value)
    except (OSError, TypeError) as error:
        raise UnsuitableError(f"found no source for {value!r}") from error
    return hashlib.sha256(source.encode()).hexdigest()[:_DIGEST_LENGTH]


def check(versions: Mapping[str, Versions], sources: Mapping[str, str]) -> None:
    """Check that the installed code is what a patch was made for.

    Args:
        versions: The accepted versions of distributions.
        sources: The expected digests of the sources of functions and classes.

    Raises:
        UnsuitableError: It is not.
    """
    for distribution, suitable in versions.items():
        try:
            found = version(distribution)
        except PackageNotFoundError as error:
            raise UnsuitableError(f"{distribution} is not installed") from error
        if not suitable.include(found):
            raise UnsuitableError(f"needs {distribution}{suitable}, found {found}")
    for path, expected in sources.items():
        value = find(path).value
        # inspect would return the source of the wrapped function for a wrapper.
        if hasattr(value, "__wrapped__"):
            raise UnsuitableError(f"found {path} wrapped by something else")
        if digest(value) != expected:
            raise UnsuitableError(f"found a different {path} than this patch was made for")

"""Panics of native modules, which `except Exception` does not catch."""

from __future__ import annotations

__all__ = ["is_panic"]


def is_panic(error: BaseException) -> bool:
    """Return whether `error` is a panic of a native module, such as pydantic's."""
    # Each native module has a class of this name, and none exports it.
    return type(error).__name__ == "PanicException"

"""Panics of native modules, which no `except Exception` stops."""

from __future__ import annotations

__all__ = ["is_panic"]


def is_panic(error: BaseException) -> bool:
    """Return whether `error` is the panic of a native module, such as that of pydantic."""
    # Each native module has a class of this name, and none exports it.
    return type(error).__name__ == "PanicException"

"""Field types shared by this package's CrewAI models."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from .handles import canonical_uri

__all__ = ["StoreUri"]

StoreUri = Annotated[
    str,
    BeforeValidator(canonical_uri),
    Field(repr=False),  # The URI may contain a password.
]
"""The URI of a store, or a path. Either names the same store from any working directory."""

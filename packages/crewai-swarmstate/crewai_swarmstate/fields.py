"""Fields that several of CrewAI's pydantic models have here."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from .handles import canonical_uri

__all__ = ["StoreUri"]

StoreUri = Annotated[
    str,
    BeforeValidator(canonical_uri),
    Field(repr=False),  # It may hold a password.
]
"""The URI of a store: a path is taken as well, and both mean the same from any directory."""

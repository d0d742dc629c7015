"""What all tests share."""

from __future__ import annotations

from hypothesis import settings

# Tests share the machine with each other, so time says nothing about an example.
settings.register_profile("swarmstate", deadline=None, print_blob=True)
settings.load_profile("swarmstate")

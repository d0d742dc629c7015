"""The store in one SQLite file; an alias of `swarmstate.disk`."""

from swarmstate.disk import DiskStore

__all__ = ["DiskStore"]

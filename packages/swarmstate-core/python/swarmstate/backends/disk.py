"""An alias of `swarmstate.disk`, the store in an SQLite file."""

from swarmstate.disk import DiskStore

__all__ = ["DiskStore"]

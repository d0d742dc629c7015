"""The state layer under AI agents: records, snapshots, codec and file storage."""

from __future__ import annotations

from swarmstate._core import Snapshot, __version__
from swarmstate.base import BaseStore, Batch, Expect, Query, Range, Result
from swarmstate.codec import Codec, dumps, loads
from swarmstate.disk import DiskStore
from swarmstate.graph import HandoffGraph
from swarmstate.memory import Store
from swarmstate.observability import profile
from swarmstate.urls import open

__all__ = [
    "BaseStore",
    "Batch",
    "Codec",
    "DiskStore",
    "Expect",
    "HandoffGraph",
    "Query",
    "Range",
    "Result",
    "Snapshot",
    "Store",
    "__version__",
    "dumps",
    "loads",
    "open",
    "profile",
]

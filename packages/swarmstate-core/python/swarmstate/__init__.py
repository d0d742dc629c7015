"""State layer under AI agents: records, snapshots, codec and file storage."""

from __future__ import annotations

from swarmstate._core import (
    Sharing,
    Snapshot,
    Split,
    __version__,
    blob_hash,
    blob_home,
    blob_names,
    seal,
    unseal,
)
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
    "Sharing",
    "Snapshot",
    "Split",
    "Store",
    "__version__",
    "blob_hash",
    "blob_home",
    "blob_names",
    "dumps",
    "loads",
    "open",
    "profile",
    "seal",
    "unseal",
]

"""State layer under AI agents: records, snapshots, codec and file storage."""

from __future__ import annotations

from swarmstate._core import Snapshot, __version__
from swarmstate.codec import Codec, dumps, loads
from swarmstate.memory import Store

__all__ = ["Codec", "Snapshot", "Store", "__version__", "dumps", "loads"]

"""Fields of a thread's state that the running graph does not have.

LangGraph passes the values of the running graph, but the versions of all channels that the
thread has ever had. A field of another graph, or of another release of this graph, therefore
has an unchanged version and no value: it must keep its old value.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any

from swarmstate import Query
from swarmstate.errors import CheckpointError
from swarmstate.forking import renew_in_children
from swarmstate.operations import Operation, Read

from .layout import Address, checkpoint_key, thread_namespace
from .records import decode_body, decode_checkpoint
from .values import Entry

if TYPE_CHECKING:
    from langgraph.checkpoint.base import Checkpoint, CheckpointMetadata
    from langgraph.checkpoint.serde.base import SerializerProtocol

__all__ = ["EmptyFields", "empty_fields", "taken_over"]

# Name prefixes of LangGraph's own control channels, which say which nodes run next.
_CONTROL = ("__", "branch:", "join:")

# Number of threads to remember, at a few hundred bytes each.
_THREADS = 4096


def empty_fields(checkpoint: Checkpoint, metadata: CheckpointMetadata) -> Sequence[str]:
    """Return the fields that have a version but no value; usually there are none."""
    values = checkpoint["channel_values"]
    empty = [
        channel
        for channel in checkpoint["channel_versions"]
        if channel not in values and not channel.startswith(_CONTROL)
    ]
    if not empty:
        return empty
    # DeltaChannels are rebuilt from ancestors.
    deltas = metadata.get("counters_since_delta_snapshot") or {}
    return [channel for channel in empty if channel not in deltas]


class EmptyFields:
    """Remembers which fields have no value in the newest checkpoint of each thread. Thread-safe.

    Some graphs have fields that are usually empty, and these look like the fields of another
    graph. If a field is known to be empty in the parent, there is nothing to take over, and the
    parent need not be read.

    Args:
        threads: Number of threads to remember.
    """

    def __init__(self, threads: int = _THREADS) -> None:
        self._threads = threads
        self._renew()
        renew_in_children(self, EmptyFields._renew)

    def _renew(self) -> None:
        """Forget everything."""
        # By thread: the checkpoint's id, and the versions of its fields without a value.
        self._known: OrderedDict[str, tuple[str, dict[str, Any]]] = OrderedDict()
        self._lock = Lock()

    def note(self, key: str, checkpoint: Checkpoint, fields: Sequence[str]) -> None:
        """Record that a checkpoint, once stored, has no value for these fields."""
        versions = checkpoint["channel_versions"]
        with self._lock:
            self._known[key] = checkpoint["id"], {field: versions[field] for field in fields}
            self._known.move_to_end(key)
            while len(self._known) > self._threads:
                self._known.popitem(last=False)

    def unknown(
        self, key: str, parent: str, checkpoint: Checkpoint, fields: Sequence[str]
    ) -> list[str]:
        """Return the fields for which the parent may hold a value of the same version."""
        with self._lock:
            of, known = self._known.get(key, (None, {}))
        if of != parent:
            return list(fields)
        versions = checkpoint["channel_versions"]
        return [field for field in fields if known.get(field) != versions[field]]


def taken_over(
    serde: SerializerProtocol, parent: Address, checkpoint: Checkpoint, fields: Sequence[str]
) -> Operation[dict[str, Entry]]:
    """Return the parent's entries for the fields whose version has not changed."""
    query = Query(thread_namespace(parent.thread_id), (checkpoint_key(parent),))
    [answer] = yield Read([query])
    record = answer.values[0]
    if record is None:
        return {}
    try:
        stored = decode_checkpoint(parent, record)
        body, _ = decode_body(serde, stored)
    except CheckpointError:
        # Reading the parent reports the damage; its successors do not depend on it.
        return {}
    before, now = body["channel_versions"], checkpoint["channel_versions"]
    return {
        field: stored.channels[field]
        for field in fields
        if field in stored.channels and before.get(field) == now[field]
    }

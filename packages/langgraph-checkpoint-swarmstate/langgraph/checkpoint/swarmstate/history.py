"""A thread's history without its state."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .reading import parent_config
from .records import StoredCheckpoint, damaged, decode_body

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import CheckpointMetadata
    from langgraph.checkpoint.serde.base import SerializerProtocol

    from swarmstate.operations import Operation


@dataclass(frozen=True)
class HistoryEntry:
    """A checkpoint without its channel values and pending writes.

    Attributes:
        config: The config to pass to `get_tuple`, `get_state` or `invoke`.
        parent_config: The config of its parent, or None.
        metadata: The checkpoint's metadata.
        ts: When the checkpoint was created, in ISO 8601.
    """

    config: RunnableConfig
    parent_config: RunnableConfig | None
    metadata: CheckpointMetadata
    ts: str

    @property
    def checkpoint_id(self) -> str:
        """The checkpoint's id."""
        checkpoint_id: str = self.config["configurable"]["checkpoint_id"]
        return checkpoint_id

    @property
    def step(self) -> int | None:
        """The superstep that created it; -1 for the first input, None if not stated."""
        return self.metadata.get("step")

    @property
    def source(self) -> str | None:
        """What created it: "input", "loop", "update" or "fork"; None if not stated."""
        return self.metadata.get("source")


def entries_of(
    serde: SerializerProtocol, stored: Iterable[StoredCheckpoint]
) -> Operation[list[HistoryEntry]]:
    """Return the history entries of records: an operation without a round trip."""
    yield from ()
    entries = []
    for record in stored:
        body, metadata = decode_body(serde, record)
        config, parent = record.address.config(), parent_config(record)
        try:
            made = body["ts"]
        except KeyError as error:
            raise damaged(record.address, error) from error
        entries.append(HistoryEntry(config, parent, metadata, made))
    return entries

"""The lower bound: a checkpointer that costs nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_checkpoint_metadata,
)

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig


class ZeroCostSaver(BaseCheckpointSaver[int]):
    """Keeps references to what it is given and returns them.

    Not usable for anything else: changing a value in place changes every checkpoint that
    holds it. It shows the time that LangGraph itself spends on checkpointing, which no
    saver can avoid.
    """

    def __init__(self) -> None:
        super().__init__()
        self._checkpoints: dict[str, dict[str, CheckpointTuple]] = defaultdict(dict)
        self._writes: dict[str, dict[tuple[str, int], tuple[str, str, Any]]] = defaultdict(dict)

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        checkpoint_id = checkpoint["id"]
        thread_id = config["configurable"]["thread_id"]
        parent = config["configurable"].get("checkpoint_id")
        stored: RunnableConfig = _config(thread_id, checkpoint_id)
        self._checkpoints[thread_id][checkpoint_id] = CheckpointTuple(
            stored,
            {**checkpoint, "channel_values": dict(checkpoint["channel_values"])},
            get_checkpoint_metadata(config, metadata),
            _config(thread_id, parent) if parent else None,
        )
        return stored

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        target = self._writes[config["configurable"]["checkpoint_id"]]
        for position, (channel, value) in enumerate(writes):
            target[task_id, WRITES_IDX_MAP.get(channel, position)] = (task_id, channel, value)

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        checkpoints = self._checkpoints[config["configurable"]["thread_id"]]
        if not checkpoints:
            return None
        # Ids only increase in these runs, so the last one put is the greatest.
        latest = next(reversed(checkpoints))
        return self._complete(checkpoints[config["configurable"].get("checkpoint_id") or latest])

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        if config is None or filter or before:
            raise NotImplementedError("the benchmark lists one thread, newest first")
        checkpoints = list(self._checkpoints[config["configurable"]["thread_id"]].values())
        for found in checkpoints[::-1][:limit]:
            yield self._complete(found)

    # Nothing here blocks, so the async methods call the sync ones.

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return self.put(config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        self.put_writes(config, writes, task_id, task_path)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return self.get_tuple(config)

    def _complete(self, found: CheckpointTuple) -> CheckpointTuple:
        writes = self._writes[found.checkpoint["id"]]
        checkpoint: Checkpoint = {
            **found.checkpoint,
            "channel_values": dict(found.checkpoint["channel_values"]),
        }
        return found._replace(checkpoint=checkpoint, pending_writes=[*writes.values()])


def _config(thread_id: str, checkpoint_id: str) -> RunnableConfig:
    return {
        "configurable": {
            "thread_id": thread_id,
            "checkpoint_ns": "",
            "checkpoint_id": checkpoint_id,
        }
    }

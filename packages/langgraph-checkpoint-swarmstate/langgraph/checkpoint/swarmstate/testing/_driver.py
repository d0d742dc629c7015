"""One interface to the sync and the async methods of a saver and of a graph.

Each test is written once against `Driver` and runs twice: through the sync
methods and through their async twins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)

__all__ = ["Driver", "Mode"]

Mode: TypeAlias = Literal["sync", "async"]
T = TypeVar("T")


class Driver:
    """Calls a saver's methods, and those of graphs compiled with it, in one mode.

    Attributes:
        saver: The saver under test.
        mode: The kind of methods to call.
    """

    def __init__(self, saver: BaseCheckpointSaver[Any], mode: Mode) -> None:
        self.saver = saver
        self.mode: Mode = mode
        self._loop = asyncio.new_event_loop() if mode == "async" else None

    def close(self) -> None:
        """Close the event loop of async calls."""
        if self._loop is not None:
            self.run(self._loop.shutdown_asyncgens())
            self.run(self._loop.shutdown_default_executor())
            self._loop.close()

    def over(self, saver: BaseCheckpointSaver[Any]) -> Driver:
        """Return a driver of another saver, in the same mode and event loop."""
        other = Driver.__new__(Driver)
        other.saver, other.mode, other._loop = saver, self.mode, self._loop
        return other

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run `coroutine` to its end in this driver's event loop."""
        assert self._loop is not None
        return self._loop.run_until_complete(coroutine)

    def _call(self, owner: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        if self._loop is None:
            return getattr(owner, name)(*args, **kwargs)
        return self.run(getattr(owner, f"a{name}")(*args, **kwargs))

    def _collect(self, owner: Any, name: str, *args: Any, **kwargs: Any) -> list[Any]:
        if self._loop is None:
            return [*getattr(owner, name)(*args, **kwargs)]

        async def collect() -> list[Any]:
            return [item async for item in getattr(owner, f"a{name}")(*args, **kwargs)]

        return self.run(collect())

    # The saver.

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Call `get_tuple`."""
        found: CheckpointTuple | None = self._call(self.saver, "get_tuple", config)
        return found

    def load(self, config: RunnableConfig) -> CheckpointTuple:
        """Call `get_tuple` for a checkpoint that must exist."""
        found = self.get_tuple(config)
        assert found is not None, f"no checkpoint at {config['configurable']}"
        return found

    def list(self, config: RunnableConfig | None, **options: Any) -> list[CheckpointTuple]:
        """Call `list` and exhaust it."""
        return self._collect(self.saver, "list", config, **options)

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Call `put`."""
        stored: RunnableConfig = self._call(
            self.saver, "put", config, checkpoint, metadata, new_versions
        )
        return stored

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Call `put_writes`."""
        self._call(self.saver, "put_writes", config, writes, task_id, task_path)

    def delete_thread(self, thread_id: str) -> None:
        """Call `delete_thread`."""
        self._call(self.saver, "delete_thread", thread_id)

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Call `delete_for_runs`."""
        self._call(self.saver, "delete_for_runs", run_ids)

    def copy_thread(self, source: str, target: str) -> None:
        """Call `copy_thread`."""
        self._call(self.saver, "copy_thread", source, target)

    def prune(self, thread_ids: Sequence[str], **options: Any) -> None:
        """Call `prune`."""
        self._call(self.saver, "prune", thread_ids, **options)

    def delta_history(
        self, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Call `get_delta_channel_history`."""
        history: Mapping[str, DeltaChannelHistory] = self._call(
            self.saver, "get_delta_channel_history", config=config, channels=channels
        )
        return history

    # Graphs compiled with the saver.

    def invoke(self, graph: Any, value: Any, config: RunnableConfig, **options: Any) -> Any:
        """Call the graph's `invoke`."""
        return self._call(graph, "invoke", value, config, **options)

    def state(self, graph: Any, config: RunnableConfig, **options: Any) -> Any:
        """Call the graph's `get_state`."""
        if self._loop is None:
            return graph.get_state(config, **options)
        return self.run(graph.aget_state(config, **options))

    def history(self, graph: Any, config: RunnableConfig, **options: Any) -> Sequence[Any]:
        """Call the graph's `get_state_history` and exhaust it, newest first."""
        if self._loop is None:
            return [*graph.get_state_history(config, **options)]

        async def collect() -> list[Any]:
            return [item async for item in graph.aget_state_history(config, **options)]

        return self.run(collect())

    def update(
        self, graph: Any, config: RunnableConfig, values: Any, as_node: str | None = None
    ) -> RunnableConfig:
        """Call the graph's `update_state`."""
        stored: RunnableConfig = self._call(graph, "update_state", config, values, as_node)
        return stored

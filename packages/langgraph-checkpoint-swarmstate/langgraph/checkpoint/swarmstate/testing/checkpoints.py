"""Checkpoints for tests, put as LangGraph puts them."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.swarmstate.testing._driver import Driver

__all__ = ["Branch", "at", "ids", "make_checkpoint", "make_metadata", "thread_of"]


def at(thread: str | int = "t", ns: str | None = "", checkpoint_id: str | None = None) -> Any:
    """Return the config of a thread, of one of its namespaces, or of one checkpoint."""
    configurable: dict[str, Any] = {"thread_id": thread}
    if ns is not None:
        configurable["checkpoint_ns"] = ns
    if checkpoint_id is not None:
        configurable["checkpoint_id"] = checkpoint_id
    return {"configurable": configurable}


def thread_of(config: RunnableConfig) -> tuple[str, str, str]:
    """Return the thread, namespace and checkpoint id that a stored config names."""
    found = config["configurable"]
    return found["thread_id"], found["checkpoint_ns"], found["checkpoint_id"]


def ids(tuples: Iterable[Any]) -> list[str]:
    """Return the checkpoint ids of checkpoint tuples, in order."""
    return [item.checkpoint["id"] for item in tuples]


def make_metadata(step: int = 0, **extra: Any) -> Any:
    """Return checkpoint metadata as LangGraph's loop writes it."""
    metadata: CheckpointMetadata = {"source": "loop", "step": step, "parents": {}}
    return {**metadata, **extra}


def make_checkpoint(
    values: dict[str, Any] | None = None,
    versions: ChannelVersions | None = None,
    *,
    checkpoint_id: str | None = None,
    v: int = 4,
) -> Checkpoint:
    """Return a checkpoint with `values`, and by default with every channel at version 1."""
    values = {} if values is None else values
    return {
        "v": v,
        "id": checkpoint_id or str(uuid6()),
        "ts": datetime.now(timezone.utc).isoformat(),
        "channel_values": values,
        "channel_versions": dict.fromkeys(values, 1) if versions is None else versions,
        "versions_seen": {},
        "updated_channels": None,
    }


class Branch:
    """A line of checkpoints, put as LangGraph puts them.

    Each put holds the whole state; only changed channels get a new version. As in
    LangGraph, values are passed without copying.

    Attributes:
        config: The config of the last checkpoint put, or of the thread before that.
        values: The current state.
        versions: The current channel versions.
    """

    def __init__(self, driver: Driver, thread: str | int = "t", ns: str = "") -> None:
        """Start an empty line in a namespace of a thread."""
        self.driver = driver
        self.config: RunnableConfig = at(thread, ns)
        self.values: dict[str, Any] = {}
        self.versions: ChannelVersions = {}
        self.step = -1
        self._dropped: set[str] = set()

    def drop(self, channel: str) -> None:
        """Let the next checkpoint hold a new version of `channel` without a value."""
        del self.values[channel]
        self._dropped.add(channel)

    def put(self, /, _metadata: dict[str, Any] | None = None, **changed: Any) -> RunnableConfig:
        """Put a checkpoint with new values for the channels in `changed`."""
        self.values.update(changed)
        self.step += 1
        newest: Any = max(self.versions.values(), default=None)
        version: Any = self.driver.saver.get_next_version(newest, None)
        new_versions: ChannelVersions = dict.fromkeys({*changed, *self._dropped}, version)
        self._dropped.clear()
        self.versions = {**self.versions, **new_versions}
        checkpoint = make_checkpoint(dict(self.values), dict(self.versions))
        self.config = self.driver.put(
            self.config, checkpoint, make_metadata(self.step, **(_metadata or {})), new_versions
        )
        return self.config

    def fork(self) -> Branch:
        """Return a second branch that continues from the current checkpoint."""
        other = Branch(self.driver)
        other.config = self.config
        other.values = copy.deepcopy(self.values)
        other.versions = dict(self.versions)
        other.step = self.step
        other._dropped = set(self._dropped)
        return other

    @property
    def id(self) -> str:
        """The id of the last checkpoint put."""
        return thread_of(self.config)[2]

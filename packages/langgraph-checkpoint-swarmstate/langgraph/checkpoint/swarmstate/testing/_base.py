"""What every part of the contract shares: the hooks and the checkpoints it puts."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, ClassVar

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
)
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.swarmstate.testing._driver import Driver, Mode

__all__ = ["Branch", "ContractBase", "at", "ids", "make_checkpoint", "make_metadata", "thread_of"]


def at(thread: str | int = "t", ns: str | None = "", checkpoint_id: str | None = None) -> Any:
    """Return the config of a thread, of a namespace of it, or of one checkpoint."""
    configurable: dict[str, Any] = {"thread_id": thread}
    if ns is not None:
        configurable["checkpoint_ns"] = ns
    if checkpoint_id is not None:
        configurable["checkpoint_id"] = checkpoint_id
    return {"configurable": configurable}


def thread_of(config: RunnableConfig) -> tuple[str, str, str]:
    """Return the thread, namespace and checkpoint id a stored config names."""
    found = config["configurable"]
    return found["thread_id"], found["checkpoint_ns"], found["checkpoint_id"]


def ids(tuples: Iterable[Any]) -> list[str]:
    """Return the checkpoint ids of checkpoint tuples, in their order."""
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
    """Return a checkpoint that holds `values`; every channel at version 1 by default."""
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

    Each put holds the whole state; only the channels that changed get a new
    version. The values are handed over as they are, not copied, as LangGraph does.

    Attributes:
        config: Of the last checkpoint put; of the thread before the first.
        values: The current state.
        versions: The current channel versions.
    """

    def __init__(self, driver: Driver, thread: str | int = "t", ns: str = "") -> None:
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
        """Put a checkpoint in which the channels `changed` have new values."""
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
        """Return a second branch that goes on from the current checkpoint."""
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


class ContractBase:
    """The hooks and the declared differences of a saver that joins the contract.

    Attributes:
        modes: The kinds of methods the saver has.
        lacks: Names of optional methods it does not have, of `prune`,
            `copy_thread` and `delete_for_runs`. Their tests are skipped.
        reopens: Whether `reopen` is given.
        extended_values: Whether values that LangGraph's own serializer loses or
            refuses are kept (sets of tuples, integers beyond 64 bits, ...).
        encode_error: What is raised for a value that cannot be stored.
    """

    modes: ClassVar[tuple[Mode, ...]] = ("sync", "async")
    lacks: ClassVar[frozenset[str]] = frozenset()
    reopens: ClassVar[bool] = True
    extended_values: ClassVar[bool] = True
    encode_error: ClassVar[type[Exception]] = TypeError

    def make_saver(self, tmp_path: Path) -> BaseCheckpointSaver[Any]:
        """Return an empty saver, which may keep its files in `tmp_path`."""
        raise NotImplementedError(f"{type(self).__name__} must define make_saver(tmp_path)")

    def reopen(self, saver: BaseCheckpointSaver[Any], tmp_path: Path) -> BaseCheckpointSaver[Any]:
        """Return a second saver over what `saver`, still open, has stored."""
        raise NotImplementedError(f"{type(self).__name__} must define reopen(saver, tmp_path)")

    def close_saver(self, saver: BaseCheckpointSaver[Any]) -> None:
        """Release what `saver` holds; by default nothing."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each test in every mode that the saver has."""
        if "mode" in metafunc.fixturenames:
            metafunc.parametrize("mode", self.modes)

    @pytest.fixture
    def driver(self, mode: Mode, tmp_path: Path) -> Iterator[Driver]:
        """A driver of an empty saver."""
        saver = self.make_saver(tmp_path)
        driver = Driver(saver, mode)
        yield driver
        driver.close()
        self.close_saver(saver)

    @pytest.fixture
    def second(self, driver: Driver, tmp_path: Path) -> Iterator[Driver]:
        """A driver of a second saver over the same storage."""
        if not self.reopens:
            pytest.skip("declared: cannot be opened a second time")
        saver = self.reopen(driver.saver, tmp_path)
        yield driver.over(saver)
        self.close_saver(saver)

    def require(self, method: str) -> None:
        """Skip the test if the saver is declared to lack `method`."""
        if method in self.lacks:
            pytest.skip(f"declared: has no {method}")

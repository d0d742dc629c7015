"""The LangGraph checkpointer."""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.base import CheckpointTuple

from swarmstate.operations import Operation

from .base import SaverBase
from .collecting import delete_for_runs
from .delta import delta_history
from .history import HistoryEntry, entries_of
from .layout import Address, address_of
from .listing import Listing, Selection, newest_threads
from .retention import PruneReport, prune, retention_of
from .statistics import Stats, collect_stats
from .threads import copy_thread, delete_thread
from .writing import put, put_writes

if TYPE_CHECKING:
    from datetime import timedelta

    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import (
        ChannelVersions,
        Checkpoint,
        CheckpointMetadata,
        DeltaChannelHistory,
    )

# Of a version's random part: two forks of one checkpoint draw the same one time in 10^8.
_RANDOM_DIGITS = 8


class SwarmStateSaver(SaverBase):
    """Stores the checkpoints of LangGraph graphs in a swarmstate store.

        SwarmStateSaver()                         in memory
        SwarmStateSaver("agents.db")              in one file
        SwarmStateSaver("redis://localhost")      in the store that a URL names
        SwarmStateSaver(store)                    in a store that you opened

    Every method exists sync and async, and you can use one saver from any
    number of threads and event loops. Savers and processes that share a store
    see each other's newest checkpoints immediately.

    Args:
        store: A store, a file's path, a URL (see `swarmstate.open`), or None
            (or ":memory:") for a new store in memory.
        serde: Converts values to bytes; `SwarmStateSerializer()` by default.
        ttl: Seconds after its last write until a whole thread expires; None (default)
            keeps threads forever.
        refresh_on_read: Whether reading a checkpoint also restarts `ttl`.
        metrics: The sink that receives each operation, such as "checkpoint.put", and each
            round trip that it makes. The saver then wraps the store in a `MeteredStore`,
            unless it is one. Without a sink nothing is measured.
        memory_budget: About how many bytes of the state of stored or loaded threads to keep
            in memory, 64 MiB by default, so that unchanged data need not be encoded,
            stored or read again. 0 keeps nothing.

    `close()` closes a store that the saver opened itself, but not one that you
    passed in. The saver is a context manager, sync and async.

    Raises:
        TypeError: `store`, `serde`, `metrics` or a number has the wrong type.
        ValueError: A number or the URL is invalid.
        UnknownSchemeError: (a ValueError) No installed store handles such URLs.
        StoreUnavailableError: A file cannot be opened. Stores on servers connect on first
            use.
        StoreFormatError: A file is not a swarmstate database, or is from a newer release.
    """

    def get_next_version(self, current: Any, channel: None = None) -> Any:
        """Return a channel version greater than `current`, unique across forks.

        A new thread gets strings in the format of LangGraph's own savers: a
        counter and a random part. A thread whose versions are ints or floats
        keeps that type, because LangGraph compares the versions of a
        checkpoint with each other. Ints have no room for a random part, and
        need none, since nothing is stored under a version.
        """
        if isinstance(current, float):
            return math.floor(current) + 1 + random.random()
        if isinstance(current, int):
            return current + 1
        count = 0 if current is None else int(current.partition(".")[0])
        return f"{count + 1:032}.{random.randrange(10**_RANDOM_DIGITS):0{_RANDOM_DIGITS}}"

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint that `config` names (without an id, the latest), or None.

        Raises:
            InvalidConfigError: The config names no thread.
            CheckpointError: The checkpoint is damaged.
        """
        return self._run(self._reader().get(address_of(config)))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return a checkpoint as `get_tuple` does."""
        return await self._arun(self._reader().get(address_of(config)))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Yield checkpoints, newest first across all selected threads and namespaces.

        Args:
            config: The thread. With `checkpoint_ns`, only that namespace; without it,
                all of them. None selects all threads.
            filter: Metadata keys and the values they must have.
            before: Only checkpoints whose id is less than this config's.
            limit: The maximum number of checkpoints.

        Raises:
            InvalidConfigError: `config` names no thread, or `before` is not a config.
            CheckpointError: The next checkpoint is damaged; those before it
                were yielded. To continue, pass its config as `before`.
        """
        listing = self._listing(config, filter, before, limit)
        while page := self._run(listing.page()):
            yield from page

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Yield checkpoints as `list` does."""
        listing = self._listing(config, filter, before, limit)
        while page := await self._arun(listing.page()):
            for found in page:
                yield found

    def history(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[HistoryEntry]:
        """Yield what `list` yields, without channel values and pending writes.

        Reads only the checkpoints' own records and decodes no channel values,
        so the cost does not depend on the size of the state.
        A checkpoint whose values are damaged is yielded like any other.

        Args:
            config: As for `list`.
            filter: As for `list`.
            before: As for `list`.
            limit: As for `list`.

        Raises:
            CheckpointError: The next checkpoint's record is damaged.
        """
        listing = self._history(config, filter, before, limit)
        while page := self._run(listing.page()):
            yield from page

    async def ahistory(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[HistoryEntry]:
        """Yield entries as `history` does."""
        listing = self._history(config, filter, before, limit)
        while page := await self._arun(listing.page()):
            for entry in page:
                yield entry

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint atomically and return its config.

        `channel_values` are stored as they are now; parts equal to data stored
        before are shared. A field that has a version but no value, and is not in
        `new_versions`, does not belong to the graph: it keeps its value.

        Raises:
            InvalidConfigError: The config names no thread.
            EncodeError: A value cannot be serialized; the thread is unchanged.
        """
        return self._run(self._put(config, checkpoint, metadata, new_versions)).config()

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint as `put` does."""
        address = await self._arun(self._put(config, checkpoint, metadata, new_versions))
        return address.config()

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Store what a task wrote, in case its superstep does not complete.

        Raises:
            InvalidConfigError: The config names no thread or no checkpoint.
            TypeError: The task's id or path is not a string.
            EncodeError: A value cannot be serialized; nothing was stored.
        """
        self._run(put_writes(self._values(), config, writes, task_id, task_path, self.ttl))

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Store what a task wrote as `put_writes` does."""
        await self._arun(put_writes(self._values(), config, writes, task_id, task_path, self.ttl))

    def delete_thread(self, thread_id: str) -> None:
        """Delete everything that belongs to a thread; an unknown thread is not an error.

        Raises:
            TypeError: It is not a thread id, but a config, None or a list of ids.
            InvalidNameError: (a ValueError) The id is empty.
        """
        self._run(delete_thread(thread_id))

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete a thread as `delete_thread` does."""
        await self._arun(delete_thread(thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints of runs, in all threads, with their writes.

        Checkpoints that kept checkpoints need to rebuild their DeltaChannels stay.

        Raises:
            TypeError: `run_ids` is not a list of ids; nothing was deleted.
            ConflictError: A thread was too busy; see `prune`.
        """
        self._run(delete_for_runs(self.serde, run_ids))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints of runs as `delete_for_runs` does."""
        await self._arun(delete_for_runs(self.serde, run_ids))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Make the target thread hold exactly what the source thread holds.

        The target's previous contents are replaced. An unknown source changes nothing.

        Raises:
            TypeError: One of them is not a thread id; see `delete_thread`.
            InvalidNameError: (a ValueError) One of them is empty.
        """
        self._run(copy_thread(source_thread_id, target_thread_id))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread as `copy_thread` does."""
        await self._arun(copy_thread(source_thread_id, target_thread_id))

    def prune(  # type: ignore[override]  # a report where LangGraph has None
        self,
        thread_ids: Sequence[str],
        *,
        strategy: str = "keep_latest",
        keep_last: int | None = None,
        older_than: timedelta | float | None = None,
        dry_run: bool = False,
    ) -> PruneReport:
        """Delete checkpoints of threads and the space that only they used.

        Each checkpoint namespace keeps its newest checkpoint, or the newest
        `keep_last`. Of the others, those older than `older_than` are deleted, or
        all of them if no age is given. Kept checkpoints stay complete, with their
        values, their pending writes, and the ancestors needed to rebuild their
        DeltaChannels. Each run of a subgraph has its own namespace, which is deleted
        along with the graph's checkpoint that the subgraph was started from.

        Args:
            thread_ids: The threads, such as `threads()`; unknown ones are not an error.
            strategy: "keep_latest" prunes as described above. "delete" deletes whole
                threads, as does "delete_all", the name that LangGraph's server uses.
            keep_last: How many checkpoints to keep in each checkpoint namespace
                regardless of age; at least 1, the default.
            older_than: A timedelta or seconds. Checkpoints whose `ts` is no older
                than this stay, and so do those whose `ts` is not an ISO 8601 time.
            dry_run: Delete nothing, and return what would be deleted. Reads the
                records to be deleted, a few at a time, to add up their sizes.

        Raises:
            TypeError: `thread_ids` is not a list of ids; nothing was deleted.
            ValueError: The arguments are invalid; nothing was deleted.
            CheckpointError: A checkpoint is damaged; nothing was deleted from its
                thread or from the threads after it.
            ConflictError: A thread was written to constantly; as above.
        """
        retention = retention_of(strategy, keep_last, older_than)
        return self._run(prune(self.serde, thread_ids, retention, dry_run=dry_run))

    async def aprune(  # type: ignore[override]  # a report where LangGraph has None
        self,
        thread_ids: Sequence[str],
        *,
        strategy: str = "keep_latest",
        keep_last: int | None = None,
        older_than: timedelta | float | None = None,
        dry_run: bool = False,
    ) -> PruneReport:
        """Delete checkpoints as `prune` does."""
        retention = retention_of(strategy, keep_last, older_than)
        return await self._arun(prune(self.serde, thread_ids, retention, dry_run=dry_run))

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return what DeltaChannels are rebuilt from, as LangGraph's base class defines it.

        Raises:
            TypeError: `channels` is a single name.
            CheckpointError: A required record is damaged or missing.
        """
        return self._run(self._delta_history(config, channels))

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return what DeltaChannels are rebuilt from."""
        return await self._arun(self._delta_history(config, channels))

    def stats(self, thread_id: str | None = None) -> Stats:
        """Return how much space a thread, or all threads, take up in the store.

        Reads all records, a few at a time, and decodes no values. If threads
        are written or pruned meanwhile, the figures do not reflect a single moment.

        Args:
            thread_id: The thread; an unknown one counts as empty. None means all.

        Raises:
            TypeError: It is not a thread id; see `delete_thread`.
            CheckpointError: A checkpoint's record is damaged.
        """
        return self._run(collect_stats(thread_id))

    async def astats(self, thread_id: str | None = None) -> Stats:
        """Return figures as `stats` does."""
        return await self._arun(collect_stats(thread_id))

    def threads(self, *, limit: int | None = None) -> Sequence[str]:
        """Return the ids of the threads, most recent checkpoint first.

        Without a limit, this also removes the index entries of threads that no longer exist,
        such as expired ones, unless the store cannot be written to.

        Among more than a thousand threads, one that was deleted while a run in it went on may come
        last for up to half a minute after that, as long as it lacks its index entry.

        Args:
            limit: The maximum number of ids; all if None.

        Raises:
            TypeError: The limit is not an integer.
            ValueError: It is negative.
        """
        return self._run(newest_threads(limit))

    async def athreads(self, *, limit: int | None = None) -> Sequence[str]:
        """Return the ids of the threads as `threads` does."""
        return await self._arun(newest_threads(limit))

    def _put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> Operation[Address]:
        values, known = self._values(), self._empty_fields
        return put(values, known, self.serde, config, checkpoint, metadata, new_versions, self.ttl)

    def _delta_history(
        self, config: RunnableConfig, channels: Sequence[str]
    ) -> Operation[Mapping[str, DeltaChannelHistory]]:
        return delta_history(self._values(), self.serde, address_of(config), channels)

    def _listing(
        self,
        config: RunnableConfig | None,
        filter: dict[str, Any] | None,
        before: RunnableConfig | None,
        limit: int | None,
    ) -> Listing[CheckpointTuple]:
        reader = self._reader()
        selection = Selection.of(config, filter, before, limit)
        return Listing(reader, self.serde, selection, reader.load)

    def _history(
        self,
        config: RunnableConfig | None,
        filter: dict[str, Any] | None,
        before: RunnableConfig | None,
        limit: int | None,
    ) -> Listing[HistoryEntry]:
        selection = Selection.of(config, filter, before, limit)
        load = partial(entries_of, self.serde)
        return Listing(self._reader(), self.serde, selection, load)

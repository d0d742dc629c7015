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
        SwarmStateSaver("redis://localhost")      wherever a URL leads
        SwarmStateSaver(store)                    in a store that you opened

    Every method exists sync and async, and one saver may be used from any
    number of threads and event loops. Savers and processes that share a store
    see each other's newest checkpoints at once.

    Args:
        store: A store, a file's path, a URL (see `swarmstate.open`), or None
            (or ":memory:") for a new store in memory.
        serde: How values become bytes; `SwarmStateSerializer()` by default.
        ttl: Seconds after which a thread that is no longer written to expires
            as a whole; None (default) keeps threads for ever.
        refresh_on_read: Whether reading a checkpoint also renews `ttl`.
        metrics: Where each operation is measured, such as "checkpoint.put", and each
            round trip that it makes. The store is then under a `MeteredStore`, unless it
            is one. Without a sink nothing is measured and nothing looked at.
        memory_budget: About how many bytes this may hold of the state of threads that were
            stored or loaded, 64 MiB by default, so that what did not change need not be
            encoded, stored or read again. 0 remembers nothing.

    A store that the saver opened itself is closed by `close()`; one that was
    handed in is not. The saver is a context manager, sync and async.

    Raises:
        TypeError: `store` is nothing of that, `serde` no serializer, `metrics` no sink, or a
            number none.
        ValueError: A number makes no sense, or the URL does not.
        UnknownSchemeError: (a ValueError) No installed store opens such URLs.
        StoreUnavailableError: A file cannot be opened. Stores on servers connect when they
            are first used.
        StoreFormatError: A file is no database of swarmstate's, or of a newer release.
    """

    def get_next_version(self, current: Any, channel: None = None) -> Any:
        """Return a channel version greater than `current`, unique across forks.

        A new thread gets strings in the form of LangGraph's own savers: a
        counter and a random part. A thread whose versions are ints or floats
        goes on with its type, because LangGraph compares the versions of a
        checkpoint with each other; ints have no room for a random part, and
        need none, since nothing is stored under a version.
        """
        if isinstance(current, float):
            return math.floor(current) + 1 + random.random()
        if isinstance(current, int):
            return current + 1
        count = 0 if current is None else int(current.partition(".")[0])
        return f"{count + 1:032}.{random.randrange(10**_RANDOM_DIGITS):0{_RANDOM_DIGITS}}"

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint that `config` names, the latest without an id, or None.

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
        """Yield checkpoints, newest first over everything that is spanned.

        Args:
            config: The thread; with `checkpoint_ns` that namespace alone, without
                it all of them. None spans all threads.
            filter: Metadata keys and the values they must have.
            before: Only checkpoints whose id is less than this config's.
            limit: At most this many.

        Raises:
            InvalidConfigError: `config` names no thread, or `before` is no config.
            CheckpointError: The next checkpoint is damaged; those before it
                were yielded. `before` its config, the listing can go on.
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
        """Yield what `list` yields without channel values and pending writes.

        Only the checkpoints' own records are read, and of these no channel
        value is decoded: the cost does not depend on how large the state is.
        A checkpoint whose values are damaged is passed like any other.

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
        """Store a checkpoint, whole or not at all, and return its config.

        What is in `channel_values` is stored as it is now, and what is equal to
        something stored before is shared. A field that has a version but no value,
        and is not in `new_versions`, is none of the graph's: it stays what it was.

        Raises:
            InvalidConfigError: The config names no thread.
            EncodeError: A value cannot be serialized; the thread is as it was.
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
        """Store what a task wrote, for the case that its superstep does not complete.

        Raises:
            InvalidConfigError: The config names no thread or no checkpoint.
            TypeError: The task's id or path is no text.
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
        """Delete everything of a thread; an unknown one is no error.

        Raises:
            TypeError: It is no thread's id, but a config, None or several in a list.
            InvalidNameError: (a ValueError) The id is empty.
        """
        self._run(delete_thread(thread_id))

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete a thread as `delete_thread` does."""
        await self._arun(delete_thread(thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints of runs, in all threads, with their writes.

        Checkpoints that a kept checkpoint's DeltaChannels are rebuilt from stay.

        Raises:
            TypeError: `run_ids` is no list of ids; nothing was deleted.
            ConflictError: A thread was too busy; see `prune`.
        """
        self._run(delete_for_runs(self.serde, run_ids))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints of runs as `delete_for_runs` does."""
        await self._arun(delete_for_runs(self.serde, run_ids))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Make the target thread hold exactly what the source thread holds.

        What the target held before is replaced. An unknown source changes nothing.

        Raises:
            TypeError: One of them is no thread's id; see `delete_thread`.
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

        In each checkpoint namespace the newest checkpoint stays, or the newest
        `keep_last`. Of the others those that are older than `older_than` go;
        all of them if no age is given. What stays stays complete: its values,
        its pending writes, and the ancestors that its DeltaChannels are rebuilt
        from.

        Args:
            thread_ids: The threads, such as `threads()`; unknown ones are no error.
            strategy: "keep_latest" does what is said above, "delete" deletes
                the threads as wholes, and so does the "delete_all" of LangGraph's server.
            keep_last: How many checkpoints stay in each checkpoint namespace
                whatever their age; at least 1, the default.
            older_than: A timedelta or seconds. Checkpoints whose `ts` is not
                longer ago stay, and so do those whose `ts` is no ISO 8601 time.
            dry_run: Delete nothing, and return what would be deleted. Reads the
                doomed records, a few at a time, to add up their sizes.

        Raises:
            TypeError: `thread_ids` is no list of ids; nothing was deleted.
            ValueError: The arguments make no sense; nothing was deleted.
            CheckpointError: A checkpoint is damaged; nothing of its thread, and
                of those after it, was deleted.
            ConflictError: A thread was written to all the time; as above.
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
            CheckpointError: A record that is needed is damaged or missing.
        """
        return self._run(self._delta_history(config, channels))

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return what DeltaChannels are rebuilt from."""
        return await self._arun(self._delta_history(config, channels))

    def stats(self, thread_id: str | None = None) -> Stats:
        """Return what a thread, or all of them, take up in the store.

        Reads all records, a few at a time, and decodes no value. While threads
        are written to or pruned, the figures are of no single moment.

        Args:
            thread_id: The thread; an unknown one counts as empty. None is all.

        Raises:
            TypeError: It is no thread's id; see `delete_thread`.
            CheckpointError: A checkpoint's record is damaged.
        """
        return self._run(collect_stats(thread_id))

    async def astats(self, thread_id: str | None = None) -> Stats:
        """Return figures as `stats` does."""
        return await self._arun(collect_stats(thread_id))

    def threads(self, *, limit: int | None = None) -> Sequence[str]:
        """Return the ids of the threads, that with the newest checkpoint first.

        Without a limit this also removes what the index over threads says of those that are
        gone, such as the expired ones; where nothing can be written it stays.

        Args:
            limit: At most this many; all if None.

        Raises:
            TypeError: The limit is no whole number.
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

"""Importing threads, and comparing what was imported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from langgraph.checkpoint.base import get_checkpoint_metadata, writes_sort_key
from langgraph.checkpoint.serde.types import TASKS

from swarmstate import BaseStore, Batch, Query, Range
from swarmstate.base import check_store, several
from swarmstate.errors import StoreUnavailableError, SwarmStateError
from swarmstate.moving import Progress, counted

from ..indexing import write_indexed
from ..layout import INDEX, WRITES, Address, escape, thread_namespace, time_key, writes_prefix
from ..records import SENDS_ARE_CHANNEL, encode_write
from ..saver import SwarmStateSaver
from ..serde import SwarmStateSerializer
from ..values import dump
from .comparing import is_same, more_of
from .postgres import PostgresSource
from .source import Id, Source, SourceCheckpoint, StoredWrite, damaged, exact
from .sqlite import SqliteSource

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import CheckpointTuple
    from langgraph.checkpoint.serde.base import SerializerProtocol

# Bytes of pending writes to store at once. Storing those of each checkpoint separately would take
# a disk sync, or a round trip, for each.
_AT_ONCE = 1 << 20


class ImportReport(NamedTuple):
    """What was imported.

    Attributes:
        threads: How many threads the source has, or how many you named.
        checkpoints: How many checkpoints they have.
        writes: How many pending writes they have.
        added: How many of the checkpoints were imported.
        present: How many of them already existed.
        failures: Why threads were not imported, or differ afterwards.
    """

    threads: int
    checkpoints: int
    writes: int
    added: int
    present: int = 0
    failures: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return a one-line summary."""
        failed = f"; {counted(len(self.failures), 'thread')} failed" if self.failures else ""
        return (
            f"{counted(self.threads, 'thread')}, {counted(self.checkpoints, 'checkpoint')}, "
            f"{counted(self.writes, 'pending write')}; {counted(self.added, 'checkpoint')} "
            f"imported, {self.present:,} already present{failed}"
        )


def import_sqlite(
    source: str,
    store: BaseStore,
    *,
    only: Sequence[str] = (),
    progress: Callable[[Progress], None] | None = None,
    serde: SerializerProtocol | None = None,
) -> ImportReport:
    """Import the threads of LangGraph's SqliteSaver or AsyncSqliteSaver.

    Args:
        source: The file's path.
        store: Where to store them, for `SwarmStateSaver(store)` to find.
        only: The ids of the threads; all if empty.
        progress: Called after each thread.
        serde: Decodes the values, such as LangGraph's `EncryptedSerializer`. If one of
            LangGraph's returns plain data for an object, the thread fails instead.

    Returns:
        What was imported. Threads fail individually: `failures` says which and why.

    Raises:
        StoreUnavailableError: The file cannot be read.
        StoreFormatError: The file is not a database of these savers.
    """
    decoder = exact(serde)
    return _import(SqliteSource(source, decoder), store, only, progress, decoder)


def import_postgres(
    source: str,
    store: BaseStore,
    *,
    only: Sequence[str] = (),
    progress: Callable[[Progress], None] | None = None,
    serde: SerializerProtocol | None = None,
) -> ImportReport:
    """Import the threads of LangGraph's PostgresSaver or AsyncPostgresSaver.

    Args:
        source: The connection string; needs psycopg.
        store: As for `import_sqlite`.
        only: As for `import_sqlite`.
        progress: As for `import_sqlite`.
        serde: As for `import_sqlite`.

    Returns:
        As `import_sqlite`.

    Raises:
        StoreUnavailableError: The server cannot be reached or read.
        StoreFormatError: The database has no tables of these savers.
    """
    decoder = exact(serde)
    return _import(PostgresSource(source, decoder), store, only, progress, decoder)


def _import(
    source: Source,
    store: BaseStore,
    only: Sequence[str],
    progress: Callable[[Progress], None] | None,
    decoder: SerializerProtocol,
) -> ImportReport:
    try:
        check_store(store)
        threads = several(only, "only") or source.threads()
        report = ImportReport(len(threads), 0, 0, 0)
        for done, thread_id in enumerate(threads, start=1):
            work = _Thread(source, store, decoder, thread_id)
            try:
                work.move()
                work.compare()
            except StoreUnavailableError:
                raise
            except (SwarmStateError, _Different) as error:
                failure = f"thread {thread_id!r}: {error}"
                report = report._replace(failures=(*report.failures, failure))
            report = report._replace(
                checkpoints=report.checkpoints + work.checkpoints,
                writes=report.writes + work.writes,
                added=report.added + work.added,
                present=report.present + work.present,
            )
            if progress is not None:
                progress(Progress("importing", done, len(threads), "threads"))
        return report
    finally:
        source.close()


class _Different(Exception):
    """What was imported is not what the source has, or cannot be added to what is there."""


class _Thread:
    """The import of one thread."""

    def __init__(
        self, source: Source, store: BaseStore, serde: SerializerProtocol, thread_id: str
    ) -> None:
        self._source = source
        self._store = store
        self._serde = serde
        # Store exactly what `SwarmStateSaver(store)` would have stored.
        self._plain = SwarmStateSerializer()
        self._thread_id = thread_id
        # Whether it was imported before and has been written to in the target since.
        self._went_on = False
        self.checkpoints = self.writes = self.added = self.present = 0

    def move(self) -> None:
        """Store what is not stored yet: all pending writes, and then the checkpoints.

        A thread that cannot be imported completely is not imported at all: an older state
        must not be mistaken for the newest one.
        """
        # A saver per thread: what it remembers of one is of no use for the next.
        saver = SwarmStateSaver(self._store)
        ids = set(self._source.ids(self._thread_id))
        written = self._source.written(self._thread_id)
        if not ids and not written:
            raise _Different("the source has no such thread")
        there = self._there(saver)
        self.checkpoints, self.present = len(ids), len(ids & there.keys())
        self._went_on = bool(there) and self._has_gone_on(saver, ids, there, written)
        if self._went_on:
            return
        try:
            self._add(saver, ids, there, written)
        except StoreUnavailableError:
            raise
        except SwarmStateError:
            if not there:
                saver.delete_thread(self._thread_id)
                self.added = 0
            raise

    def _has_gone_on(
        self,
        saver: SwarmStateSaver,
        ids: set[Id],
        there: dict[Id, Id | None],
        written: Sequence[Id],
    ) -> bool:
        """Return whether the target has checkpoints or pending writes of its own.

        An answer to one of two questions is such a write, and creates no checkpoint yet.

        Raises:
            _Different: The source has gone on, too.
        """
        every = Range.of_prefix(WRITES, keys_only=True)
        [answer] = self._store.read([Query(thread_namespace(self._thread_id), (), [every])])
        ours = {key for key, _ in answer.ranges[0]}
        theirs = {
            _write_key(identity, write)
            for identity in written
            for write in self._source.writes(self._thread_id, identity)
        }
        only_here, only_there = ours - theirs, theirs - ours
        # Wherever both have a next checkpoint, nothing is pending.
        common = there.keys() & ids
        for identity in common - {there[each] for each in common}:
            prefix = writes_prefix(*identity)
            more_here, more_there = self._compare_writes(
                saver, identity, any(key.startswith(prefix) for key in only_here | only_there)
            )
            only_here.update(f"{prefix}{escape(task)}" for task in more_here)
            only_there.update(f"{prefix}{escape(task)}" for task in more_there)
        own = there.keys() - ids
        if (own or only_here) and (ids - there.keys() or only_there):
            what, example = (
                ("checkpoints", min(own).checkpoint_id)
                if own
                else ("pending writes", min(ours - theirs or only_here))
            )
            raise _Different(
                f"the target has a thread with this id but different {what}, such as "
                f"{example!r}; left unchanged: delete it first, or leave this thread out"
            )
        return bool(own or only_here)

    def _compare_writes(
        self, saver: SwarmStateSaver, identity: Id, is_known: bool
    ) -> tuple[set[str], set[str]]:
        stored = saver.get_tuple(Address(self._thread_id, *identity).config())
        ours = (stored and stored.pending_writes) or []
        return more_of(ours, self._ordered_writes(identity), is_known)

    def _add(
        self,
        saver: SwarmStateSaver,
        ids: set[Id],
        there: dict[Id, Id | None],
        written: Sequence[Id],
    ) -> None:
        self._put_writes(written)
        if ids <= there.keys():
            return
        is_cut = False
        for found in self._source.checkpoints(self._thread_id):
            if found.id not in there:
                address = Address(self._thread_id, found.id.checkpoint_ns, found.parent)
                checkpoint = {**found.checkpoint, "id": found.id.checkpoint_id}
                # All versions count as new: a channel without a value here must have none.
                new = found.checkpoint["channel_versions"]
                saver.put(address.config(), checkpoint, found.metadata, new)  # type: ignore[arg-type]  # the TypedDict's keys
                self.added += 1
                is_cut |= bool(
                    found.parent and found.id._replace(checkpoint_id=found.parent) not in ids
                )
        if is_cut:
            # If the oldest checkpoints were deleted, the index has no entry for a parent, which the
            # saver relies on.
            newest = max(identity.checkpoint_id for identity in ids)
            entry = {time_key(newest, self._thread_id): b""}
            saver._run(write_indexed([], Batch(INDEX, put_if_absent=entry)))

    def _there(self, saver: SwarmStateSaver) -> dict[Id, Id | None]:
        """Return the checkpoints in the target, each with its parent."""
        found: dict[Id, Id | None] = {}
        for entry in saver.history({"configurable": {"thread_id": self._thread_id}}):
            parent = entry.parent_config
            found[_id_of(entry.config)] = None if parent is None else _id_of(parent)
        return found

    def _put_writes(self, written: Sequence[Id]) -> None:
        """Store pending writes, those of many checkpoints per batch."""
        namespace = thread_namespace(self._thread_id)
        once: dict[str, bytes] = {}
        # Errors and the like, which a retried task replaces, both in the source and here.
        replaced: dict[str, bytes] = {}
        size = 0
        for number, identity in enumerate(written, start=1):
            for write in self._source.writes(self._thread_id, identity):
                key = _write_key(identity, write)
                entry = self._encoded(identity, write)
                target = once if write.idx >= 0 else replaced
                target[key] = encode_write(key, write.channel, write.task_path, entry)
                size += len(target[key])
            if size >= _AT_ONCE or number == len(written):
                self._store.write([Batch(namespace, put=replaced, put_if_absent=once)])
                once, replaced, size = {}, {}, 0

    def _encoded(self, identity: Id, write: StoredWrite) -> tuple[str, bytes]:
        return dump(
            self._plain, self._decoded(identity, write), f"a write to channel {write.channel!r}"
        )

    def _decoded(self, identity: Id, write: StoredWrite) -> Any:
        try:
            return self._serde.loads_typed(write.value)
        except Exception as error:
            raise damaged(identity, error) from error

    def compare(self) -> None:
        """Read the thread from both and raise unless they are the same."""
        saver = SwarmStateSaver(self._store)
        for found in self._source.checkpoints(self._thread_id):
            stored = saver.get_tuple(Address(self._thread_id, *found.id).config())
            if stored is None:
                raise _Different(f"{_name(found.id)} is missing after the import")
            expected = self._expected(saver, found)
            parent = stored.parent_config
            for what, ours, theirs in [
                ("parent", parent and parent["configurable"]["checkpoint_id"], found.parent),
                ("metadata", stored.metadata, get_checkpoint_metadata({}, found.metadata)),
                ("list of pending writes", *self._both_writes(stored, found.id)),
                ("state", stored.checkpoint, expected),
            ]:
                if not is_same(ours, theirs):
                    raise _Different(f"{_name(found.id)} has a different {what} after the import")
        self.writes = sum(
            len(self._source.writes(self._thread_id, each))
            for each in self._source.written(self._thread_id)
        )

    def _expected(self, saver: SwarmStateSaver, found: SourceCheckpoint) -> dict[str, Any]:
        """Return the checkpoint as a saver gives it out: with sends of an old format moved."""
        expected: dict[str, Any] = {**found.checkpoint, "id": found.id.checkpoint_id}
        if found.parent is None or expected.get("v", SENDS_ARE_CHANNEL) >= SENDS_ARE_CHANNEL:
            return expected
        parent = Id(found.id.checkpoint_ns, found.parent)
        sends = [value for _, channel, value in self._ordered_writes(parent) if channel == TASKS]
        if sends:
            versions = expected["channel_versions"]
            newest = max(versions.values()) if versions else saver.get_next_version(None, None)
            expected["channel_versions"] = {**versions, TASKS: newest}
            expected["channel_values"] = {**expected["channel_values"], TASKS: sends}
        return expected

    def _both_writes(self, stored: CheckpointTuple, identity: Id) -> tuple[Any, Any]:
        # Going on from a checkpoint adds to its writes, and replaces answered interrupts.
        if self._went_on:
            return [], []
        return stored.pending_writes or [], self._ordered_writes(identity)

    def _ordered_writes(self, identity: Id) -> list[tuple[str, str, Any]]:
        writes = self._source.writes(self._thread_id, identity)
        writes.sort(key=lambda each: writes_sort_key(each.task_path, each.task_id, each.idx))
        return [(each.task_id, each.channel, self._decoded(identity, each)) for each in writes]


def _id_of(config: RunnableConfig) -> Id:
    found = config["configurable"]
    return Id(found["checkpoint_ns"], found["checkpoint_id"])


def _write_key(identity: Id, write: StoredWrite) -> str:
    prefix = writes_prefix(identity.checkpoint_ns, identity.checkpoint_id)
    return f"{prefix}{escape(write.task_id)}/{write.idx}"


def _name(identity: Id) -> str:
    return f"checkpoint {identity.checkpoint_id!r} (checkpoint_ns {identity.checkpoint_ns!r})"

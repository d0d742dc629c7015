"""Listing checkpoints, newest first, of one thread or of all threads.

The keys are read when the listing starts, the checkpoints page by page. A listing
that pauses holds nothing open, and checkpoints added in the meantime neither block
nor disturb it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from swarmstate import Query, Range
from swarmstate.base import check_count, prefix_end
from swarmstate.errors import CheckpointError, InvalidConfigError, StoreIncompleteError
from swarmstate.operations import Namespaces, Operation, read_apart

from .indexing import forget_gone, read_index
from .layout import (
    CHECKPOINTS,
    LOST,
    THREADS,
    TIMES,
    Address,
    address_of,
    bucket_of,
    checkpoints_prefix,
    no_config,
    parse_checkpoint_key,
    parse_time_key,
    thread_namespace,
    time_key,
)
from .reading import retry
from .records import StoredCheckpoint, decode_body

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.serde.base import SerializerProtocol

    from .reading import Reader

T = TypeVar("T")

_PAGE = 32
_THREADS_AT_ONCE = 64
_INDEX_PAGE = 1_000

_TIMES = Range.of_prefix(TIMES, reverse=True, keys_only=True)

# The checkpoints of all namespaces except the root.
_ROOT = checkpoints_prefix("")
_NESTED = (
    Range(CHECKPOINTS, _ROOT, keys_only=True),
    Range(str(prefix_end(_ROOT)), prefix_end(CHECKPOINTS), keys_only=True),
)


class Selection(NamedTuple):
    """Which checkpoints to list.

    Attributes:
        thread_id: Only this thread; None is all threads.
        checkpoint_ns: Only this checkpoint namespace; None is all of them.
        checkpoint_id: Only this id.
        before: Only ids less than this one.
        filter: Metadata keys and their required values.
        limit: At most this many, the newest.
    """

    thread_id: str | None = None
    checkpoint_ns: str | None = None
    checkpoint_id: str | None = None
    before: str | None = None
    filter: Mapping[str, Any] | None = None
    limit: int | None = None

    @classmethod
    def of(
        cls,
        config: RunnableConfig | None,
        filter: Mapping[str, Any] | None,
        before: RunnableConfig | None,
        limit: int | None,
    ) -> Selection:
        """Return the selection for the arguments of a saver's `list`.

        Raises:
            InvalidConfigError: `config` names no thread, or `before` no checkpoint.
            TypeError: An argument has the wrong type.
            ValueError: The limit is negative.
        """
        if filter and not isinstance(filter, Mapping):
            raise TypeError(
                "expected filter to be a dict of metadata keys and their values, found "
                f"{filter!r:.80}"
            )
        if limit is not None:
            check_count("limit", limit)
        selection = cls(filter=filter, limit=limit)
        if config is not None:
            thread_id, _, checkpoint_id = address_of(config)
            checkpoint_ns = config["configurable"].get("checkpoint_ns")
            selection = selection._replace(
                thread_id=thread_id, checkpoint_ns=checkpoint_ns, checkpoint_id=checkpoint_id
            )
        if before is not None:
            if not isinstance(before, Mapping):
                raise no_config(before)
            if "configurable" not in before:
                # Ignoring it would return the same page again to a caller that pages.
                raise InvalidConfigError(
                    "expected before['configurable']['checkpoint_id'] to name a checkpoint, found "
                    f"only {sorted(map(str, before))}; pass the config of a checkpoint"
                )
            found: object = before["configurable"] or {}
            if not isinstance(found, Mapping):
                raise no_config(before)
            checkpoint_id = found.get("checkpoint_id")
            if checkpoint_id is not None:
                selection = selection._replace(before=str(checkpoint_id))
        return selection

    def accepts(self, checkpoint_id: str) -> bool:
        """Whether an id is selected. Keys of other threads and namespaces are not read."""
        return (self.checkpoint_id is None or checkpoint_id == self.checkpoint_id) and (
            self.before is None or checkpoint_id < self.before
        )

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Whether a checkpoint's metadata is selected."""
        return not self.filter or all(
            metadata.get(key) == value for key, value in self.filter.items()
        )


class Listing(Generic[T]):
    """A listing in progress; `page()` is an operation without I/O.

    Args:
        reader: Reads the checkpoints.
        serde: The saver's serializer.
        selection: What to list.
        load: Converts checkpoint records to the items of the listing.
    """

    def __init__(
        self,
        reader: Reader,
        serde: SerializerProtocol,
        selection: Selection,
        load: Callable[[list[StoredCheckpoint]], Operation[list[T]]],
    ) -> None:
        self._reader = reader
        self._serde = serde
        self._selection = selection
        self._load = load
        self._left = selection.limit
        self._addresses: _Newest | None = None
        # The rest of a page that could not be read as a whole, to be read one by one.
        self._singly: list[Address] = []

    def page(self) -> Operation[list[T]]:
        """Return the next items; an empty list means the end.

        Raises:
            CheckpointError: The next checkpoint is damaged. Those before it have
                been returned.
        """
        if self._addresses is None:
            self._addresses = _Newest(self._selection)
            yield from self._addresses.start()
        while self._left is None or self._left > 0:
            if self._singly:
                address = self._singly.pop(0)
                found = yield from retry(partial(self._read, [address]))
            else:
                addresses = yield from self._addresses.take(self._page_size())
                if not addresses:
                    break
                try:
                    found = yield from self._read(addresses)
                except CheckpointError:
                    self._singly = addresses
                    continue
            if found:
                if self._left is not None:
                    self._left -= len(found)
                return found
        return []

    def _page_size(self) -> int:
        if self._left is None or self._selection.filter:
            return _PAGE
        return min(_PAGE, self._left)

    def _read(self, addresses: list[Address]) -> Operation[list[T]]:
        stored = yield from self._reader.fetch(addresses)
        if self._selection.filter:
            stored = [
                record
                for record in stored
                if self._selection.matches(decode_body(self._serde, record)[1])
            ]
        stored = stored[: self._left]
        return (yield from self._load(stored)) if stored else []


class _Newest:
    """The addresses of a selection, newest first.

    A thread is opened only when its newest checkpoint may be next. The index gives an upper
    bound for it and is read page by page from its end, each time together with new entries at
    that end. A thread missing from the index, as can happen after a race, is found once the
    whole index has been read; if part of the index was lost, it is read whole at once.
    """

    def __init__(self, selection: Selection, *, skip_lost: bool = False) -> None:
        self._selection = selection
        self._skip_lost = skip_lost
        # Threads that the store has lost part of, so their checkpoints are unknown.
        self.lost: list[str] = []
        # Ascending: the newest is popped from the end.
        self._open: list[tuple[str, str, str]] = []
        # Indexed threads that are not open yet, as (bound, thread), ascending.
        self._closed: list[tuple[str, str]] = []
        self._named: set[str] = set()
        # The part of the index before this key is still unread; None if all of it was read.
        self._index_end = _TIMES.stop
        # A thread that is written to in the meantime gets an entry after this key.
        self._index_top = _TIMES.stop or ""

    def start(self) -> Operation[None]:
        """Read the keys of the thread, if the listing is of only one."""
        if self._selection.thread_id is not None:
            self._index_end = None
            yield from self._open_threads([self._selection.thread_id])

    def take(self, count: int) -> Operation[list[Address]]:
        """Return up to `count` more addresses; an empty list means the end."""
        taken: list[Address] = []
        while len(taken) < count:
            yield from self._open_next()
            if not self._open:
                break
            checkpoint_id, thread_id, checkpoint_ns = self._open.pop()
            taken.append(Address(thread_id, checkpoint_ns, checkpoint_id))
        return taken

    def _open_next(self) -> Operation[None]:
        """Open every thread that may hold the next checkpoint."""
        while self._closed or self._index_end is not None:
            if not self._closed:
                yield from self._read_index()
                continue
            bound = self._closed[-1][0]
            if self._open and bucket_of(self._open[-1][0]) > bound:
                return
            # Open a whole bucket: any of its threads may be next, and each opening sorts.
            start = bisect_left(self._closed, (bound, ""))
            start = max(0, min(start, len(self._closed) - _THREADS_AT_ONCE))
            opened = self._closed[start:]
            del self._closed[start:]
            yield from self._open_threads([thread for _, thread in opened])

    def _read_index(self) -> Operation[None]:
        """Read the next page of the index; after the last one, open the threads it lacks."""
        page = _TIMES._replace(stop=self._index_end, limit=_INDEX_PAGE)
        moved = _TIMES._replace(start=self._index_top)
        found = yield from read_index((page, Range.of_prefix(LOST, keys_only=True), moved))
        keys, lost, added = found or ([], [], [])
        if newest := added or (keys if self._index_end == _TIMES.stop else []):
            self._index_top = time_key(parse_time_key(newest[0])[0], "")
        self._index_end = keys[-1] if len(keys) == _INDEX_PAGE else None
        if lost and self._index_end is not None:
            found = yield from read_index((_TIMES._replace(stop=self._index_end),))
            keys += found[0] if found is not None else []
            self._index_end = None
        for bound, thread in map(parse_time_key, added + keys):
            # Skip a damaged entry that names no thread: the index is only derived.
            if thread and thread not in self._named:
                self._named.add(thread)
                self._closed.append((bound, thread))
        self._closed.sort()
        if self._index_end is None:
            threads = yield from all_threads()
            yield from self._open_threads([each for each in threads if each not in self._named])

    def _open_threads(self, threads: list[str]) -> Operation[None]:
        if not threads:
            return
        ranges = self._ranges()
        # In chunks: the index may lack every thread, and a server limits a request's size.
        for start in range(0, len(threads), _THREADS_AT_ONCE):
            opened = threads[start : start + _THREADS_AT_ONCE]
            queries = [Query(thread_namespace(thread), (), ranges) for thread in opened]
            answers = yield from read_apart(queries)
            for thread, answer in zip(opened, answers, strict=True):
                if isinstance(answer, StoreIncompleteError) and self._skip_lost:
                    self.lost.append(thread)
                    continue
                if isinstance(answer, Exception):
                    raise answer
                for key, _ in chain.from_iterable(answer.ranges):
                    checkpoint_id, checkpoint_ns = parse_checkpoint_key(thread, key)
                    if self._selection.accepts(checkpoint_id):
                        self._open.append((checkpoint_id, thread, checkpoint_ns))
        self._open.sort()

    def _ranges(self) -> tuple[Range, ...]:
        selection = self._selection
        # A filter or an id may skip any number of keys, so the limit cannot apply to keys.
        limit = None if selection.filter or selection.checkpoint_id else selection.limit
        if selection.checkpoint_ns is None and limit is None:
            return (Range.of_prefix(CHECKPOINTS, keys_only=True),)
        prefix = checkpoints_prefix(selection.checkpoint_ns or "")
        newest = Range.of_prefix(prefix, reverse=True, limit=limit, keys_only=True)
        if selection.before is not None:
            newest = newest._replace(stop=prefix + selection.before)
        # The names of a thread's other namespaces are unknown, so read all of them.
        return (newest, *_NESTED) if selection.checkpoint_ns is None else (newest,)


def all_threads() -> Operation[list[str]]:
    """Return every thread."""
    namespaces = yield Namespaces(THREADS)
    return [name[len(THREADS) :] for name in namespaces if name != THREADS]


def newest_threads(limit: int | None) -> Operation[list[str]]:
    """Return the threads, the one with the newest checkpoint first.

    Threads that the store has lost part of come last: they exist, and can be deleted.
    Without a limit, index entries of threads that are gone are removed.

    Raises:
        TypeError: The limit is not a number.
        ValueError: The limit is negative.
    """
    if limit is not None:
        check_count("limit", limit)
    # One checkpoint per thread is enough.
    addresses = _Newest(Selection(limit=1), skip_lost=True)
    yield from addresses.start()
    seen: dict[str, None] = {}
    while limit is None or len(seen) < limit:
        taken = yield from addresses.take(_PAGE)
        if not taken:
            break
        seen.update(dict.fromkeys(address.thread_id for address in taken))
    seen.update(dict.fromkeys(addresses.lost))
    if limit is None:
        yield from forget_gone(seen)
    return list(seen)[:limit]

"""Statistics about the space that one thread or all threads take up in the store."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from swarmstate import Query, Range
from swarmstate.operations import Operation, Read
from swarmstate.sharing import blob_names

from .layout import (
    BLOBS,
    CHECKPOINTS,
    WRITES,
    Address,
    address_of_write,
    parse_checkpoint_key,
    thread_id_of,
    thread_namespace,
)
from .listing import all_threads
from .records import StoredCheckpoint, decode_checkpoint, decode_writes
from .values import Entry

# Records read at once. Blobs may be large; other records are about 1 kB.
_PAGE = 256
_BLOBS_PAGE = 32


@dataclass(frozen=True)
class ChannelStats:
    """Serialized size of a channel's values, in bytes.

    Attributes:
        newest_bytes: Size of the value in the newest checkpoint of each checkpoint namespace.
        stored_bytes: Size of the values of all checkpoints; shared bytes count once.
            Equal bytes in two channels count for both.
        unshared_bytes: Size of the values if each were stored whole.
    """

    newest_bytes: int = 0
    stored_bytes: int = 0
    unshared_bytes: int = 0

    def plus(self, other: ChannelStats) -> ChannelStats:
        """Return the sum of both."""
        return ChannelStats(
            self.newest_bytes + other.newest_bytes,
            self.stored_bytes + other.stored_bytes,
            self.unshared_bytes + other.unshared_bytes,
        )


@dataclass(frozen=True)
class Stats:
    """Statistics about threads; `str()` formats them as a table.

    Sizes are those of the records' values: keys and the store's own overhead,
    such as a file's pages, are not included.

    Attributes:
        threads: Number of threads that hold a checkpoint.
        checkpoints: Number of checkpoints, including those of subgraphs.
        writes: Number of pending writes.
        blobs: Number of blobs, the pieces of values that checkpoints and pending writes share.
        checkpoint_bytes: Bytes of the checkpoints' own records.
        write_bytes: Bytes of the pending writes.
        blob_bytes: Bytes of the blobs.
        unshared_bytes: What `stored_bytes` would be if each checkpoint and each
            pending write held all of its values itself.
        channels: The channels by name, most stored bytes first.
    """

    threads: int = 0
    checkpoints: int = 0
    writes: int = 0
    blobs: int = 0
    checkpoint_bytes: int = 0
    write_bytes: int = 0
    blob_bytes: int = 0
    unshared_bytes: int = 0
    channels: Mapping[str, ChannelStats] = field(default_factory=dict)

    @property
    def stored_bytes(self) -> int:
        """Bytes of all records."""
        return self.checkpoint_bytes + self.write_bytes + self.blob_bytes

    @property
    def saved_bytes(self) -> int:
        """Bytes saved by sharing."""
        return self.unshared_bytes - self.stored_bytes

    def plus(self, other: Stats) -> Stats:
        """Return the sum of both."""
        none = ChannelStats()
        return Stats(
            threads=self.threads + other.threads,
            checkpoints=self.checkpoints + other.checkpoints,
            writes=self.writes + other.writes,
            blobs=self.blobs + other.blobs,
            checkpoint_bytes=self.checkpoint_bytes + other.checkpoint_bytes,
            write_bytes=self.write_bytes + other.write_bytes,
            blob_bytes=self.blob_bytes + other.blob_bytes,
            unshared_bytes=self.unshared_bytes + other.unshared_bytes,
            channels={
                name: self.channels.get(name, none).plus(other.channels.get(name, none))
                for name in {**self.channels, **other.channels}
            },
        )

    def __str__(self) -> str:
        """Return the statistics as a readable table."""
        lines = [
            f"threads {self.threads:,}, checkpoints {self.checkpoints:,}, "
            f"pending writes {self.writes:,}, blobs {self.blobs:,}",
            f"stored {_size(self.stored_bytes)}: checkpoints {_size(self.checkpoint_bytes)}, "
            f"pending writes {_size(self.write_bytes)}, blobs {_size(self.blob_bytes)}",
            f"without sharing {_size(self.unshared_bytes)}, saved {_size(self.saved_bytes)}",
        ]
        if self.channels:
            width = max(len("channel"), *map(len, self.channels))
            row = f"{{:<{width}}}  {{:>9}}  {{:>9}}  {{:>9}}"
            lines.append(row.format("channel", "newest", "stored", "unshared"))
            lines += [
                row.format(
                    name,
                    _size(channel.newest_bytes),
                    _size(channel.stored_bytes),
                    _size(channel.unshared_bytes),
                )
                for name, channel in self.channels.items()
            ]
        return "\n".join(lines)


def collect_stats(thread_id: str | None) -> Operation[Stats]:
    """Return the statistics of a thread, or of all threads; see `SwarmStateSaver.stats`."""
    thread_ids = (yield from all_threads()) if thread_id is None else [thread_id_of(thread_id)]
    total = Stats()
    for each in thread_ids:
        total = total.plus((yield from _thread_stats(each)))
    by_size = sorted(total.channels.items(), key=lambda item: (-item[1].stored_bytes, item[0]))
    return replace(total, channels=dict(by_size))


def _thread_stats(thread_id: str) -> Operation[Stats]:
    """Read a thread, one page of records at a time, and return its statistics."""
    checkpoints = checkpoint_bytes = 0
    channels: defaultdict[str, _Usage] = defaultdict(_Usage)
    newest: dict[str, StoredCheckpoint] = {}
    records = yield from _page(thread_id, CHECKPOINTS, None)
    while records:
        for key, record in records:
            checkpoint_id, checkpoint_ns = parse_checkpoint_key(thread_id, key)
            stored = decode_checkpoint(Address(thread_id, checkpoint_ns, checkpoint_id), record)
            for name, entry in stored.channels.items():
                channels[name].add(entry)
            # Within a checkpoint namespace, keys are in the order of ids.
            newest[checkpoint_ns] = stored
            checkpoint_bytes += len(record)
        checkpoints += len(records)
        records = yield from _page(thread_id, CHECKPOINTS, records[-1][0])
    writes = write_bytes = 0
    written = _Entries()
    records = yield from _page(thread_id, WRITES, None)
    while records:
        for key, record in records:
            for write in decode_writes(address_of_write(thread_id, key), [(key, record)]):
                written.add(write.entry)
            write_bytes += len(record)
        writes += len(records)
        records = yield from _page(thread_id, WRITES, records[-1][0])
    blobs = yield from _blob_sizes(thread_id)
    for stored in newest.values():
        for name, entry in stored.channels.items():
            channels[name].newest.add(entry)
    references = sum(usage.referred(blobs) for usage in (written, *channels.values()))
    return Stats(
        threads=min(checkpoints, 1),
        checkpoints=checkpoints,
        writes=writes,
        blobs=len(blobs),
        checkpoint_bytes=checkpoint_bytes,
        write_bytes=write_bytes,
        blob_bytes=sum(blobs.values()),
        unshared_bytes=checkpoint_bytes + write_bytes + references,
        channels={name: usage.stats(blobs) for name, usage in channels.items()},
    )


class _Entries:
    """Adds up channel entries: their own bytes, and the blobs that they refer to."""

    def __init__(self) -> None:
        self.own_bytes = 0
        self.references: Counter[str] = Counter()

    def add(self, entry: Entry) -> None:
        self.own_bytes += sum(len(piece) for piece in entry[1:] if isinstance(piece, bytes))
        self.references.update(BLOBS + name for name in blob_names(entry))

    def stored(self, blobs: Mapping[str, int]) -> int:
        """Return the size of the entries if each blob is stored once."""
        return self.own_bytes + sum(blobs.get(key, 0) for key in self.references)

    def referred(self, blobs: Mapping[str, int]) -> int:
        """Return the size of all blobs, counting each as often as it is referred to."""
        return sum(blobs.get(key, 0) * count for key, count in self.references.items())


class _Usage(_Entries):
    """Adds up the entries of one channel in all checkpoints of a thread."""

    def __init__(self) -> None:
        super().__init__()
        self.newest = _Entries()

    def stats(self, blobs: Mapping[str, int]) -> ChannelStats:
        newest, unshared = (each.own_bytes + each.referred(blobs) for each in (self.newest, self))
        return ChannelStats(newest, self.stored(blobs), unshared)


def _page(thread_id: str, kind: str, after: str | None) -> Operation[list[tuple[str, bytes]]]:
    """Return the next records of a kind."""
    limit = _BLOBS_PAGE if kind == BLOBS else _PAGE
    found = Range.of_prefix(kind, limit=limit)
    if after is not None:
        # The smallest key after it.
        found = found._replace(start=f"{after}\x01")
    [answer] = yield Read([Query(thread_namespace(thread_id), (), (found,))])
    records: list[tuple[str, bytes]] = answer.ranges[0]
    return records


def _blob_sizes(thread_id: str) -> Operation[dict[str, int]]:
    """Return the sizes of the blobs by key."""
    sizes: dict[str, int] = {}
    records = yield from _page(thread_id, BLOBS, None)
    while records:
        sizes.update((key, len(record)) for key, record in records)
        records = yield from _page(thread_id, BLOBS, records[-1][0])
    return sizes


def _size(count: int) -> str:
    """Format a number of bytes for people."""
    if count < 1000:
        return f"{count} B"
    value = count / 1000
    for unit in ("kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"

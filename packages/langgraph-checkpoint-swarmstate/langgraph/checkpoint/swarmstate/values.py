"""How channel values become entries of a record and blobs, and back.

`SharedValues` stores what changed: lists and dicts in segments, found unchanged
by looking at the objects (see docs/design.md). It takes a serializer whose bytes
can be cut, which is ours. `WholeValues` works with any serializer, such as one
that encrypts, and shares values that did not change at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from swarmstate import Codec
from swarmstate.errors import CheckpointError, CodecError, DecodeError, EncodeError
from swarmstate.sharing import Sharing, blob_hash, blob_names

from .layout import HOME_LENGTH
from .recent import RecentBlobs
from .serde import SwarmStateSerializer

if TYPE_CHECKING:
    from langgraph.checkpoint.serde.base import SerializerProtocol

# Bytes up to which a value is kept in its checkpoint's own record. A blob costs
# a row and a look-up; a small value copied into each record costs less.
_INLINE_LIMIT = 2048

# Bytes of blobs that are kept from when they are stored until they are read, which the next turn
# of a conversation does: a thousand threads in use have about so many.
_RECENT_BYTES = 4 * 1024 * 1024

# The channel of a run's input, which its first task writes to the others.
START = "__start__"

Entry = Sequence[Any]
"""`(type, piece, ...)`: a serialized value.

A piece is bytes, or a list whose only item is the names of blobs in bytes, one after another.
"""


class Split(Protocol):
    """Values that were split."""

    @property
    def entries(self) -> dict[str, Entry]:
        """The entries of the values, by channel."""

    @property
    def blobs(self) -> dict[str, bytes]:
        """Blobs that must be stored with them, by name."""

    @property
    def relies_on(self) -> Sequence[str]:
        """The ids of checkpoints that must exist, the youngest first.

        The first is the base, if the entries also refer to its blobs. If it is not
        known to be stored, what it relies on follows.
        """

    def confirm(self) -> None:
        """Take note that the values are stored."""

    def doubt(self) -> None:
        """Take note that nobody knows whether they are: nothing relies on them from now on."""


class Recalled(Protocol):
    """What is remembered of the values of a checkpoint that is about to be read."""

    @property
    def blobs(self) -> list[str]:
        """The names of the blobs that have to be read for it."""

    @property
    def refers(self) -> bool:
        """Whether its entries refer to any blobs."""


class SplitWrites(NamedTuple):
    """Pending writes as they are to be stored.

    Attributes:
        entries: The entry of each.
        blobs: Blobs that they refer to, by name.
        relies_on: As for `Split`.
    """

    entries: Sequence[Entry]
    blobs: dict[str, bytes]
    relies_on: Sequence[str]


class Values(Protocol):
    """Splits and joins the channel values of checkpoints."""

    def split(self, key: str, base: str | None, values: dict[str, Any], target: str) -> Any:
        """Return the `Split` of values that follow the checkpoint `base`, for that of id `target`.

        Raises:
            EncodeError: A value cannot be serialized; the message names its channel.
        """

    def split_writes(
        self, key: str, base: str, writes: Sequence[tuple[str, Any]], *, relying: bool
    ) -> SplitWrites:
        """Return what to store for writes to channels after the checkpoint `base`.

        The names of the blobs begin with `blob_home(base)`. There are none if
        no value of the checkpoint lies in blobs, unless that has just changed.
        With `relying` the entries may also refer to blobs of the checkpoint.

        Raises:
            EncodeError: A value cannot be serialized; the message names its channel.
        """

    def keep(self, key: str, base: str, split: Any) -> None:
        """Take note that split values are being stored as the checkpoint `base`.

        What is split afterwards may rely on it, and on what it relies on until it is confirmed.
        """

    def recall(self, key: str, entries: dict[str, Entry]) -> Any:
        """Return the `Recalled` of a checkpoint's entries; `key` is that of `split`.

        Raises:
            CheckpointError: An entry is damaged.
        """

    def apart(self) -> Values:
        """Return what joins checkpoints that share values, with a memory of its own."""

    def take_recent(self, names: Sequence[str]) -> dict[str, bytes]:
        """Return those blobs that need not be read, since they were stored just now."""

    def join(
        self,
        key: str | None,
        base: str,
        entries: dict[str, Entry],
        blobs: dict[str, bytes | None],
        recalled: Any = None,
    ) -> dict[str, Any]:
        """Return the values of the checkpoint `base`.

        Args:
            key: What `split` will be told if values follow; None if none will.
            base: The checkpoint's id.
            entries: Its entries.
            blobs: The blobs that they refer to; None where the store has none.
            recalled: What `recall` returned for the entries; None if nothing was asked.

        Raises:
            CheckpointError: A blob is missing or damaged; the message names the channel.
                Or what was recalled is no longer right: reading everything again helps.
        """


class SharedValues:
    """Values that are split by swarmstate's codec.

    Args:
        codec: The codec of the serializer.
        sharing: What is remembered of values stored before.
        memory_budget: How many bytes of blobs that were stored just now may be kept at most.
    """

    def __init__(self, codec: Codec, sharing: Sharing, memory_budget: int) -> None:
        self._codec = codec
        self._sharing = sharing
        self._memory_budget = memory_budget
        self._recent = RecentBlobs(min(_RECENT_BYTES, memory_budget))

    def split(self, key: str, base: str | None, values: dict[str, Any], target: str) -> Any:
        """Return the split of values, encoding only what changed since `base`."""
        try:
            return self._sharing.split(self._codec, key, base, values, (START, target))
        except UnicodeEncodeError as error:
            raise EncodeError(f"the name of a channel cannot be stored: {error}") from error

    def split_writes(
        self, key: str, base: str, writes: Sequence[tuple[str, Any]], *, relying: bool
    ) -> SplitWrites:
        """Return the split of writes, which share what the checkpoint and the next one hold."""
        try:
            # LangGraph hands on what a node's cache returns, which may be lists instead of tuples.
            pairs = [(channel, value) for channel, value in writes]
            split = self._sharing.split_writes(self._codec, key, base, pairs, relying=relying)
        except EncodeError as error:
            raise EncodeError(f"a write to channel {error}") from error
        return SplitWrites(*split)

    def keep(self, key: str, base: str, split: Any) -> None:
        """Remember the values, to recognize them next time."""
        self._sharing.keep(key, base, split)
        self._recent.add(split.blobs)

    def recall(self, key: str, entries: dict[str, Entry]) -> Any:
        """Return which blobs must be read: of the others all values are at hand."""
        return self._sharing.recall(self._codec, key, entries)

    def apart(self) -> SharedValues:
        """Return values that copy what they have joined before."""
        sharing = Sharing(budget=self._memory_budget, copies=True)
        return SharedValues(self._codec, sharing, 0)

    def take_recent(self, names: Sequence[str]) -> dict[str, bytes]:
        """Return those blobs that are kept, once."""
        return self._recent.take(names)

    def join(
        self,
        key: str | None,
        base: str,
        entries: dict[str, Entry],
        blobs: dict[str, bytes | None],
        recalled: Any = None,
    ) -> dict[str, Any]:
        """Return values, and remember them if more are to follow."""
        return self._sharing.join(self._codec, key, base, entries, blobs, recalled)


class _WholeSplit(NamedTuple):
    entries: dict[str, Entry]
    blobs: dict[str, bytes]
    relies_on: Sequence[str] = ()

    def confirm(self) -> None:
        """Do nothing: nobody relies on it."""

    def doubt(self) -> None:
        """Do nothing."""


class _AllBlobs(NamedTuple):
    blobs: list[str]

    @property
    def refers(self) -> bool:
        return bool(self.blobs)


class WholeValues:
    """Values that are each what a serializer makes of them.

    Args:
        serde: The serializer.
    """

    def __init__(self, serde: SerializerProtocol) -> None:
        self._serde = serde

    def split(self, key: str, base: str | None, values: dict[str, Any], target: str) -> _WholeSplit:
        """Return the serialized values, the large ones as blobs."""
        entries: dict[str, Entry] = {}
        blobs: dict[str, bytes] = {}
        for channel, value in values.items():
            type_, data = dump(self._serde, value, f"channel {channel!r}")
            if len(data) > _INLINE_LIMIT:
                entries[channel] = entry = (type_, (blob_hash(data),))
                blobs[blob_names(entry)[0]] = data
            else:
                entries[channel] = (type_, data)
        return _WholeSplit(entries, blobs)

    def split_writes(
        self, key: str, base: str, writes: Sequence[tuple[str, Any]], *, relying: bool
    ) -> SplitWrites:
        """Return the serialized writes."""
        entries = [
            dump(self._serde, value, f"a write to channel {channel!r}") for channel, value in writes
        ]
        return SplitWrites(entries, {}, ())

    def keep(self, key: str, base: str, split: Any) -> None:
        """Do nothing: serialized values are compared by their bytes."""

    def recall(self, key: str, entries: dict[str, Entry]) -> _AllBlobs:
        """Return all blobs."""
        return _AllBlobs([name for entry in entries.values() for name in blob_names(entry)])

    def apart(self) -> WholeValues:
        """Return this, which remembers nothing."""
        return self

    def take_recent(self, names: Sequence[str]) -> dict[str, bytes]:
        """Return nothing."""
        return {}

    def join(
        self,
        key: str | None,
        base: str,
        entries: dict[str, Entry],
        blobs: dict[str, bytes | None],
        recalled: Any = None,
    ) -> dict[str, Any]:
        """Return the values."""
        return {
            channel: load(
                self._serde, entry[0], _join(channel, entry, blobs), f"channel {channel!r}"
            )
            for channel, entry in entries.items()
        }


def values_of(serde: SerializerProtocol, sharing: Sharing, memory_budget: int) -> Values:
    """Return how values are split and joined under a serializer."""
    codec = serde.plain_codec if type(serde) is SwarmStateSerializer else None
    return WholeValues(serde) if codec is None else SharedValues(codec, sharing, memory_budget)


def dump(serde: SerializerProtocol, value: Any, what: str) -> tuple[str, bytes]:
    """Return the type and bytes that a serializer makes of a value.

    Raises:
        EncodeError: It makes none; the message says what it was about.
    """
    try:
        type_, data = serde.dumps_typed(value)
    except Exception as error:
        raise EncodeError(f"{what} cannot be stored: {error}") from error
    return type_, bytes(data)


def load(serde: SerializerProtocol, type_: str, data: bytes, what: str) -> Any:
    """Return the value that a serializer makes of a type and bytes.

    Raises:
        DecodeError: It reads nothing of this type, or not these bytes; the message says what
            it was about.
        TypeNotAllowedError: They name a class that it does not allow.
    """
    try:
        return serde.loads_typed((type_, data))
    except CodecError:
        raise
    except NotImplementedError as error:
        raise DecodeError(
            f"{what} was written as {type_!r}, which this serializer does not read; open the "
            "thread with the serializer that wrote it"
        ) from error
    except (ValueError, TypeError, LookupError, AttributeError, EOFError) as error:
        raise DecodeError(f"{what} cannot be decoded: {error}") from error


def _hash_in(name: str) -> str:
    """Return the name of a blob without its home."""
    return name[HOME_LENGTH:]


def _join(channel: str, entry: Entry, blobs: Mapping[str, bytes | None]) -> bytes:
    """Return the bytes of a serialized value, every blob checked against its hash.

    There may be many: `SharedValues` may have stored the value.
    """
    parts = []
    for piece in entry[1:]:
        if isinstance(piece, bytes):
            parts.append(piece)
            continue
        for name in blob_names((entry[0], piece)):
            data = blobs.get(name)
            if data is None:
                raise CheckpointError(
                    f"channel {channel!r} refers to blob {name!r}, which is missing"
                )
            if _hash_in(blob_names((entry[0], (blob_hash(data),)))[0]) != _hash_in(name):
                raise CheckpointError(
                    f"channel {channel!r} refers to blob {name!r}, whose bytes are damaged"
                )
            parts.append(data)
    return b"".join(parts)

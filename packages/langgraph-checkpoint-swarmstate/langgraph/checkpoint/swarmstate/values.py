"""Converting channel values to record entries and blobs, and back.

`SharedValues` stores only what changed: it cuts lists and dicts into segments and
recognizes unchanged parts by comparing objects (see docs/design.md). It needs our
own serializer, whose output can be cut. `WholeValues` works with any serializer,
for example one that encrypts, and shares only values that did not change at all.
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

# Values up to this many bytes are stored in the checkpoint's own record. A blob costs
# a row and a lookup; copying a small value into each record costs less.
_INLINE_LIMIT = 2048

# Bytes of blobs to keep between storing and reading them, which the next turn of a conversation
# does. A thousand active threads have about this many.
_RECENT_BYTES = 4 * 1024 * 1024

# The channel of a run's input, which its first task writes to the others.
START = "__start__"

Entry = Sequence[Any]
"""`(type, piece, ...)`: a serialized value.

A piece is either bytes, or a list with one item: the concatenated hashes of blobs, as bytes.
"""


class Split(Protocol):
    """The result of splitting values."""

    @property
    def entries(self) -> dict[str, Entry]:
        """The entries of the values, by channel."""

    @property
    def blobs(self) -> dict[str, bytes]:
        """The blobs that must be stored along with them, by name."""

    @property
    def relies_on(self) -> Sequence[str]:
        """The ids of the checkpoints that must exist, youngest first.

        The first is the base, if the entries refer to its blobs. If the base is not
        known to be stored yet, the checkpoints that it relies on follow.
        """

    def confirm(self) -> None:
        """Record that the values were stored."""

    def doubt(self) -> None:
        """Record that they may not have been stored: from now on nothing relies on them."""


class Recalled(Protocol):
    """What is remembered about the values of a checkpoint that is about to be read."""

    @property
    def blobs(self) -> list[str]:
        """The names of the blobs that still have to be read."""

    @property
    def refers(self) -> bool:
        """Whether the checkpoint's entries refer to any blobs."""


class SplitWrites(NamedTuple):
    """The result of splitting pending writes.

    Attributes:
        entries: One entry per write.
        blobs: The blobs to store along with them, by name.
        relies_on: As in `Split`.
    """

    entries: Sequence[Entry]
    blobs: dict[str, bytes]
    relies_on: Sequence[str]


class Values(Protocol):
    """Splits and joins the channel values of checkpoints."""

    def split(self, key: str, base: str | None, values: dict[str, Any], target: str) -> Any:
        """Return the `Split` of the values of checkpoint `target`, which follows `base`.

        Raises:
            EncodeError: A value cannot be serialized; the message names its channel.
        """

    def split_writes(
        self, key: str, base: str, writes: Sequence[tuple[str, Any]], *, relying: bool
    ) -> SplitWrites:
        """Split pending writes that follow the checkpoint `base`.

        The names of new blobs begin with `blob_home(base)`. There are no blobs if
        no value of the checkpoint is stored in blobs, unless that has just changed.
        With `relying`, entries may also refer to blobs of the checkpoint.

        Raises:
            EncodeError: A value cannot be serialized; the message names its channel.
        """

    def keep(self, key: str, base: str, split: Any) -> None:
        """Record that split values are being stored as the checkpoint `base`.

        Later splits may rely on it and, until it is confirmed, on whatever it relies on.
        """

    def recall(self, key: str, entries: dict[str, Entry]) -> Any:
        """Return the `Recalled` for a checkpoint's entries; `key` is the one passed to `split`.

        Raises:
            CheckpointError: An entry is damaged.
        """

    def apart(self) -> Values:
        """Return an instance with its own memory, for joining checkpoints that share values."""

    def take_recent(self, names: Sequence[str]) -> dict[str, bytes]:
        """Return and forget the blobs that need not be read because they were just stored."""

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
            key: The key that a later `split` will use; None if none will follow.
            base: The checkpoint's id.
            entries: Its entries.
            blobs: The blobs that they refer to; None for those missing from the store.
            recalled: What `recall` returned for the entries; None if it was not called.

        Raises:
            CheckpointError: A blob is missing or damaged; the message names the channel.
                Or what was recalled is out of date: read everything again.
        """


class SharedValues:
    """Splits values with swarmstate's codec, sharing the parts that did not change.

    Args:
        codec: The serializer's codec.
        sharing: The memory of values stored before.
        memory_budget: Upper limit on the bytes of just-stored blobs to keep.
    """

    def __init__(self, codec: Codec, sharing: Sharing, memory_budget: int) -> None:
        self._codec = codec
        self._sharing = sharing
        self._memory_budget = memory_budget
        self._recent = RecentBlobs(min(_RECENT_BYTES, memory_budget))

    def split(self, key: str, base: str | None, values: dict[str, Any], target: str) -> Any:
        """Split values, encoding only what changed since `base`."""
        try:
            return self._sharing.split(self._codec, key, base, values, (START, target))
        except UnicodeEncodeError as error:
            raise EncodeError(f"a channel name cannot be stored: {error}") from error

    def split_writes(
        self, key: str, base: str, writes: Sequence[tuple[str, Any]], *, relying: bool
    ) -> SplitWrites:
        """Split writes, sharing blobs with their checkpoint and with the next one."""
        try:
            # LangGraph passes on what a node cache returns, which may be lists instead of tuples.
            pairs = [(channel, value) for channel, value in writes]
            split = self._sharing.split_writes(self._codec, key, base, pairs, relying=relying)
        except EncodeError as error:
            raise EncodeError(f"a write to channel {error}") from error
        return SplitWrites(*split)

    def keep(self, key: str, base: str, split: Any) -> None:
        """Remember the values, so that the next split recognizes them."""
        self._sharing.keep(key, base, split)
        self._recent.add(split.blobs)

    def recall(self, key: str, entries: dict[str, Entry]) -> Any:
        """Return which blobs must be read; the values in all others are at hand."""
        return self._sharing.recall(self._codec, key, entries)

    def apart(self) -> SharedValues:
        """Return an instance that copies what it has joined before."""
        sharing = Sharing(budget=self._memory_budget, copies=True)
        return SharedValues(self._codec, sharing, 0)

    def take_recent(self, names: Sequence[str]) -> dict[str, bytes]:
        """Return the recently stored blobs, each of them once."""
        return self._recent.take(names)

    def join(
        self,
        key: str | None,
        base: str,
        entries: dict[str, Entry],
        blobs: dict[str, bytes | None],
        recalled: Any = None,
    ) -> dict[str, Any]:
        """Join values, and remember them if others will follow."""
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
    """Serializes each value as a whole.

    Args:
        serde: The serializer.
    """

    def __init__(self, serde: SerializerProtocol) -> None:
        self._serde = serde

    def split(self, key: str, base: str | None, values: dict[str, Any], target: str) -> _WholeSplit:
        """Serialize the values; large ones become blobs."""
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
        """Serialize the writes."""
        entries = [
            dump(self._serde, value, f"a write to channel {channel!r}") for channel, value in writes
        ]
        return SplitWrites(entries, {}, ())

    def keep(self, key: str, base: str, split: Any) -> None:
        """Do nothing: equal bytes have the same blob name."""

    def recall(self, key: str, entries: dict[str, Entry]) -> _AllBlobs:
        """Return all blobs."""
        return _AllBlobs([name for entry in entries.values() for name in blob_names(entry)])

    def apart(self) -> WholeValues:
        """Return self, since nothing is remembered."""
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
    """Return the `Values` implementation for a serializer."""
    codec = serde.plain_codec if type(serde) is SwarmStateSerializer else None
    return WholeValues(serde) if codec is None else SharedValues(codec, sharing, memory_budget)


def dump(serde: SerializerProtocol, value: Any, what: str) -> tuple[str, bytes]:
    """Serialize a value to a type and bytes.

    Raises:
        EncodeError: The serializer failed; the message begins with `what`.
    """
    try:
        type_, data = serde.dumps_typed(value)
    except Exception as error:
        raise EncodeError(f"{what} cannot be stored: {error}") from error
    return type_, bytes(data)


def load(serde: SerializerProtocol, type_: str, data: bytes, what: str) -> Any:
    """Deserialize a value from its type and bytes.

    Raises:
        DecodeError: The serializer does not know the type or cannot read the bytes; the
            message begins with `what`.
        TypeNotAllowedError: The bytes name a class that the serializer does not allow.
    """
    try:
        return serde.loads_typed((type_, data))
    except CodecError:
        raise
    except NotImplementedError as error:
        raise DecodeError(
            f"{what} was written as {type_!r}, which this serializer cannot read; open the "
            "thread with the serializer that wrote it"
        ) from error
    except (ValueError, TypeError, LookupError, AttributeError, EOFError) as error:
        raise DecodeError(f"{what} cannot be decoded: {error}") from error


def _hash_in(name: str) -> str:
    """Return a blob's name without its home."""
    return name[HOME_LENGTH:]


def _join(channel: str, entry: Entry, blobs: Mapping[str, bytes | None]) -> bytes:
    """Join the pieces of a serialized value, checking each blob against its hash.

    There may be many blobs, because `SharedValues` may have stored the value.
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

"""What the records of a thread hold: checkpoints and pending writes as bytes.

A checkpoint is a msgpack map

    v         format of the record, 1
    parent    id of the parent checkpoint, or nil
    body      [type, bytes] of [checkpoint without channel_values, metadata]
    channels  {channel: [type, piece, ...]}

and a pending write a msgpack array `[channel, task_path, type, piece, ...]`.
`type` and the joined pieces are what the saver's serializer made of the value.
A piece is bytes, or a string that names a blob of the thread. A blob is named by
the BLAKE2b hash (128 bits, base64url) of its bytes, so equal bytes are stored
once however many checkpoints hold them, and damage is noticed.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from langgraph.checkpoint.base import writes_sort_key

from swarmstate import dumps, loads
from swarmstate.errors import CheckpointError, CodecError, EncodeError

from .layout import BLOBS, Address, parse_write_key

if TYPE_CHECKING:
    from langgraph.checkpoint.base import Checkpoint, CheckpointMetadata, PendingWrite
    from langgraph.checkpoint.serde.base import SerializerProtocol

FORMAT = 1

# Bytes up to which a value is kept in its checkpoint's own record. A blob costs
# a row and a look-up; a small value copied into each record costs less.
INLINE_LIMIT = 2048

Entry = Sequence[Any]
"""`[type, piece, ...]`: a serialized value."""


class StoredCheckpoint(NamedTuple):
    """A checkpoint's record, its values still encoded."""

    address: Address
    parent: str | None
    body: tuple[str, bytes]
    channels: dict[str, Entry]

    def blobs(self, channels: Iterable[str] | None = None) -> list[str]:
        """Return the names of the blobs that the channels (default: all) refer to."""
        names = self.channels if channels is None else channels
        return [
            piece for name in names for piece in self.channels[name][1:] if isinstance(piece, str)
        ]


class StoredWrite(NamedTuple):
    """A pending write's record, its value still encoded."""

    task_id: str
    channel: str
    entry: Entry

    def decode(self, serde: SerializerProtocol) -> PendingWrite:
        """Return the write as LangGraph knows it."""
        value = serde.loads_typed((self.entry[0], _join(self.entry, {})))
        return self.task_id, self.channel, value


def encode_checkpoint(
    serde: SerializerProtocol,
    address: Address,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    parent: str | None,
) -> tuple[bytes, dict[str, bytes]]:
    """Return the record of a checkpoint, and the blobs it refers to by their keys.

    Raises:
        EncodeError: A value cannot be serialized; the message names its channel.
    """
    body: dict[str, Any] = dict(checkpoint)
    values = body.pop("channel_values")
    blobs: dict[str, bytes] = {}
    channels: dict[str, Entry] = {}
    for channel, value in values.items():
        type_, data = _dump(serde, value, f"channel {channel!r}", address)
        if len(data) > INLINE_LIMIT:
            name = blob_name(data)
            blobs[BLOBS + name] = data
            channels[channel] = (type_, name)
        else:
            channels[channel] = (type_, data)
    record = dumps(
        {
            "v": FORMAT,
            "parent": parent,
            "body": _dump(serde, [body, metadata], "the metadata", address),
            "channels": channels,
        }
    )
    return record, blobs


def decode_checkpoint(address: Address, record: bytes) -> StoredCheckpoint:
    """Return what a checkpoint's record holds.

    Raises:
        CheckpointError: The record is damaged or of a newer format.
    """
    try:
        fields = loads(record)
        version = fields["v"]
        if version == FORMAT:
            type_, body = fields["body"]
            return StoredCheckpoint(address, fields["parent"], (type_, body), fields["channels"])
    except (CodecError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{describe(address)} is damaged: {error}") from error
    raise CheckpointError(
        f"{describe(address)} has format {version!r}, but this release reads up to {FORMAT}; "
        "upgrade langgraph-checkpoint-swarmstate"
    )


def without_parent(record: bytes) -> bytes:
    """Return a checkpoint's record with its parent taken out."""
    return dumps({**loads(record), "parent": None})


def decode_body(
    serde: SerializerProtocol, stored: StoredCheckpoint
) -> tuple[dict[str, Any], CheckpointMetadata]:
    """Return `(checkpoint without channel_values, metadata)`."""
    body, metadata = serde.loads_typed(stored.body)
    return body, metadata


def decode_value(
    serde: SerializerProtocol,
    stored: StoredCheckpoint,
    channel: str,
    blobs: Mapping[str, bytes | None],
) -> Any:
    """Return the value of a channel.

    Args:
        serde: The serializer that wrote it.
        stored: The checkpoint.
        channel: One of its channels.
        blobs: The blobs it refers to, by name; None where the store has none.

    Raises:
        CheckpointError: A blob is missing or damaged.
    """
    entry = stored.channels[channel]
    try:
        data = _join(entry, blobs)
    except CheckpointError as error:
        raise CheckpointError(
            f"{describe(stored.address)} cannot be read: channel {channel!r} {error}"
        ) from None
    return serde.loads_typed((entry[0], data))


def encode_write(
    serde: SerializerProtocol, address: Address, channel: str, task_path: str, value: Any
) -> bytes:
    """Return the record of a pending write.

    Raises:
        EncodeError: The value cannot be serialized.
    """
    return dumps((channel, task_path, *_dump(serde, value, f"a write to {channel!r}", address)))


def decode_writes(address: Address, records: Iterable[tuple[str, bytes]]) -> list[StoredWrite]:
    """Return the pending writes of a checkpoint in the order LangGraph applies them.

    Raises:
        CheckpointError: A record is damaged.
    """
    ordered = []
    for key, record in records:
        task_id, idx = parse_write_key(key)
        try:
            channel, task_path, *entry = loads(record)
        except (CodecError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{describe(address)} cannot be read: its pending write {key!r} is damaged: {error}"
            ) from error
        ordered.append(
            (writes_sort_key(task_path, task_id, idx), StoredWrite(task_id, channel, entry))
        )
    if len(ordered) > 1:
        ordered.sort(key=lambda item: item[0])
    return [write for _, write in ordered]


def blob_name(data: bytes) -> str:
    """Return the name of a blob: what it is stored under, and checked against."""
    digest = blake2b(data, digest_size=16).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def describe(address: Address) -> str:
    """Return a checkpoint's name for messages."""
    return (
        f"checkpoint {address.checkpoint_id!r} of thread {address.thread_id!r} "
        f"(checkpoint_ns {address.checkpoint_ns!r})"
    )


def _dump(serde: SerializerProtocol, value: Any, what: str, address: Address) -> tuple[str, bytes]:
    try:
        type_, data = serde.dumps_typed(value)
    except Exception as error:
        raise EncodeError(
            f"{what} of thread {address.thread_id!r} cannot be stored: {error}"
        ) from error
    return type_, bytes(data)


def _join(entry: Entry, blobs: Mapping[str, bytes | None]) -> bytes:
    """Return the bytes of a serialized value, every blob checked against its name."""
    parts = []
    for piece in entry[1:]:
        if isinstance(piece, str):
            data = blobs.get(piece)
            if data is None:
                raise CheckpointError(f"refers to blob {piece!r}, which is missing")
            if blob_name(data) != piece:
                raise CheckpointError(f"refers to blob {piece!r}, whose bytes are damaged")
            parts.append(data)
        else:
            parts.append(piece)
    return parts[0] if len(parts) == 1 else b"".join(parts)

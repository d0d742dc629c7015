"""The records of a thread: checkpoints and pending writes as bytes.

In every format a record is the msgpack array `[content, check]` (`swarmstate.sharing.seal`);
the check is the CRC-32 of its content and its key. The content of a checkpoint is a map

    v         format of the record, 1
    parent    id of the parent checkpoint, or nil
    body      [type, bytes] of [checkpoint without id and channel_values, metadata]
    channels  {channel: [type, piece, ...]}

and that of a pending write is an array `[channel, task_path, type, piece, ...]`.
`type` and the joined pieces are the output of the saver's serializer.
A piece is bytes, or a list of one item: the concatenated hashes of blobs of the thread.
A blob is stored under the hash of its bytes (`swarmstate.sharing.blob_hash`), so equal
bytes are stored once however many checkpoints hold them, and damage is detected.
Blobs that pending writes share with the checkpoint after them carry, before the hash, the
home of the checkpoint that the writes belong to (`swarmstate.sharing.blob_home`), so they
can be read without knowing the writes.

Most of a body consists of versions in the form of LangGraph's savers, `{count:032}.{random}`.
They are stored as bytes without leading zeros; no other version is bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from langgraph.checkpoint.base import writes_sort_key

from swarmstate.errors import CheckpointError, CodecError, DecodeError
from swarmstate.sharing import blob_names, check_entries, check_entry, seal, unseal

from .layout import Address, checkpoint_key, parse_write_key
from .values import Entry, Values, dump, load

if TYPE_CHECKING:
    from langgraph.checkpoint.base import (
        ChannelVersions,
        Checkpoint,
        CheckpointMetadata,
        PendingWrite,
    )
    from langgraph.checkpoint.serde.base import SerializerProtocol

FORMAT = 1

# What parsing a malformed record may raise.
MISSHAPEN = (CodecError, AttributeError, KeyError, TypeError, ValueError)

# Before this version of its format, LangGraph kept pending sends outside the channels.
SENDS_ARE_CHANNEL = 4

# Number of digits of the count that begins a version of LangGraph's savers.
_COUNT_DIGITS = 32


class StoredCheckpoint(NamedTuple):
    """A checkpoint's record, its values still encoded."""

    address: Address
    parent: str | None
    body: tuple[str, bytes]
    channels: dict[str, Entry]

    def blobs(self, channels: Iterable[str] | None = None) -> list[str]:
        """Return the names of the blobs that the channels refer to; by default all channels."""
        names = self.channels if channels is None else channels
        return [blob for name in names for blob in blob_names(self.channels[name])]


class StoredWrite(NamedTuple):
    """A pending write's record, its value still encoded."""

    task_id: str
    channel: str
    entry: Entry

    def blobs(self) -> list[str]:
        """Return the names of the blobs that it refers to."""
        return [] if self._is_inline() else blob_names(self.entry)

    def decode(
        self,
        values: Values,
        serde: SerializerProtocol,
        address: Address,
        blobs: dict[str, bytes | None],
    ) -> PendingWrite:
        """Return the write in LangGraph's form.

        Args:
            values: Joins channel values.
            serde: The saver's serializer.
            address: The checkpoint that the write belongs to.
            blobs: The blobs that it refers to, and possibly others.

        Raises:
            CheckpointError: A blob is missing or damaged.
        """
        try:
            if self._is_inline():
                type_, data = self.entry
                value = load(serde, type_, data, f"channel {self.channel!r}")
                return self.task_id, self.channel, value
            entries = {self.channel: self.entry}
            value = values.join(None, str(address.checkpoint_id), entries, blobs)[self.channel]
        except (CheckpointError, DecodeError) as error:
            raise CheckpointError(
                f"{describe(address)} cannot be read: in a pending write of task "
                f"{self.task_id!r}, {error}"
            ) from error
        return self.task_id, self.channel, value

    def _is_inline(self) -> bool:
        return len(self.entry) == 2 and isinstance(self.entry[1], bytes)


def encode_body(
    serde: SerializerProtocol, checkpoint: Checkpoint, metadata: CheckpointMetadata
) -> tuple[str, bytes]:
    """Return the body of a checkpoint's record: everything except its values.

    Raises:
        EncodeError: The metadata cannot be serialized.
    """
    body: dict[str, Any] = dict(checkpoint)
    del body["channel_values"], body["id"]
    body["channel_versions"] = _packed(body["channel_versions"])
    body["versions_seen"] = {
        node: _packed(versions) for node, versions in body["versions_seen"].items()
    }
    return dump(serde, [body, metadata], "the metadata")


def encode_checkpoint(
    key: str, parent: str | None, body: tuple[str, bytes], channels: dict[str, Entry]
) -> bytes:
    """Return the record of a checkpoint that is stored under `key`."""
    return seal({"v": FORMAT, "parent": parent, "body": body, "channels": channels}, key)


def decode_checkpoint(address: Address, record: bytes) -> StoredCheckpoint:
    """Parse a checkpoint's record.

    Raises:
        CheckpointError: The record is damaged or of a newer format.
    """
    try:
        fields = unseal(record, checkpoint_key(address))
        version = fields["v"]
        if version == FORMAT:
            parent, body, channels = fields["parent"], fields["body"], fields["channels"]
            type_, data = body
            if not (isinstance(type_, str) and isinstance(data, bytes)):
                raise TypeError(f"expected its body to be a type and bytes, found {body!r:.80}")
            if not (parent is None or isinstance(parent, str)):
                raise TypeError(f"expected its parent to be an id, found {parent!r:.80}")
            check_entries(channels)
            return StoredCheckpoint(address, parent, (type_, data), channels)
    except (CheckpointError, *MISSHAPEN) as error:
        raise damaged(address, error) from error
    raise CheckpointError(
        f"{describe(address)} has format {version!r}, but this release reads up to {FORMAT}; "
        "upgrade langgraph-checkpoint-swarmstate"
    )


def without_parent(key: str, record: bytes) -> bytes:
    """Return the record of the checkpoint under `key`, without its parent."""
    return seal({**unseal(record, key), "parent": None}, key)


def decode_body(
    serde: SerializerProtocol, stored: StoredCheckpoint
) -> tuple[dict[str, Any], CheckpointMetadata]:
    """Return `(checkpoint without channel_values, metadata)`.

    Raises:
        CheckpointError: It is damaged, or was written by another kind of serializer.
    """
    try:
        content = load(serde, *stored.body, "it")
    except DecodeError as error:
        raise CheckpointError(f"{describe(stored.address)} cannot be read: {error}") from error
    try:
        body, metadata = content
        body["id"] = stored.address.checkpoint_id
        versions = body["channel_versions"]
        _unpack(versions)
        if not {*map(type, versions)} <= {str}:
            raise TypeError(f"expected channel versions, found {versions!r:.80}")
        for versions in body["versions_seen"].values():
            _unpack(versions)
        found: object = metadata
        if not isinstance(found, dict):
            raise TypeError(f"expected its metadata to be a dict, found {metadata!r:.80}")
    except MISSHAPEN as error:
        raise damaged(stored.address, error) from error
    return body, metadata


def sends_are_apart(address: Address, body: Mapping[str, Any]) -> bool:
    """Whether the checkpoint's pending sends are stored as writes of its parent.

    Old formats of LangGraph do that.

    Raises:
        CheckpointError: The checkpoint's format version is invalid.
    """
    version = body.get("v", SENDS_ARE_CHANNEL)
    try:
        return bool(version < SENDS_ARE_CHANNEL)
    except TypeError as error:
        raise damaged(address, error) from error


def _packed(versions: ChannelVersions) -> dict[str, Any]:
    """Return the versions, packed where they have the usual form."""
    return {
        channel: _packed_version(version) if type(version) is str else version
        for channel, version in versions.items()
    }


def _unpack(versions: dict[str, Any]) -> None:
    """Undo `_packed`, in place."""
    for channel, version in versions.items():
        if type(version) is bytes:
            versions[channel] = _unpacked_version(version)


# Most versions of a checkpoint are the same as in the previous one.
@lru_cache(maxsize=1024)
def _packed_version(version: str) -> str | bytes:
    is_usual = version.find(".") == _COUNT_DIGITS and version.isascii()
    return version.encode().lstrip(b"0") if is_usual else version


@lru_cache(maxsize=1024)
def _unpacked_version(version: bytes) -> str:
    missing = _COUNT_DIGITS - version.index(b".")
    return "0" * missing + version.decode()


def encode_write(key: str, channel: str, task_path: str, entry: Entry) -> bytes:
    """Return the record of a pending write to be stored under `key`."""
    return seal((channel, task_path, *entry), key)


def decode_writes(address: Address, records: Iterable[tuple[str, bytes]]) -> list[StoredWrite]:
    """Return the pending writes of a checkpoint, in the order in which LangGraph applies them.

    Raises:
        CheckpointError: A record is damaged.
    """
    ordered = []
    for key, record in records:
        try:
            task_id, idx = parse_write_key(key)
            channel, task_path, *entry = unseal(record, key)
            check_entry(channel, entry)
            if not isinstance(task_path, str):
                raise TypeError(f"expected its task path, found {task_path!r:.80}")
        except (CheckpointError, *MISSHAPEN) as error:
            raise CheckpointError(
                f"{describe(address)} cannot be read: its pending write {key!r} is damaged: {error}"
            ) from error
        ordered.append(((task_path, task_id, idx), StoredWrite(task_id, channel, entry)))
    if len(ordered) > 1:
        ordered.sort(key=lambda item: writes_sort_key(*item[0]))
    return [write for _, write in ordered]


def damaged(address: Address, error: Exception | str) -> CheckpointError:
    """Return the error for a malformed checkpoint."""
    reason = f"it has no {error}" if isinstance(error, KeyError) else error
    return CheckpointError(f"{describe(address)} is damaged: {reason}")


def describe(address: Address) -> str:
    """Return a description of a checkpoint for messages."""
    return (
        f"checkpoint {address.checkpoint_id!r} of thread {address.thread_id!r} "
        f"(checkpoint_ns {address.checkpoint_ns!r})"
    )

"""Encryption and key rotation."""

from __future__ import annotations

from typing import NamedTuple

from swarmstate.base import BaseStore, Batch, Query, Range
from swarmstate.errors import ConflictError
from swarmstate.layers._base import ValueLayer
from swarmstate.layers._keys import KeyRing
from swarmstate.operations import Namespaces, Operation, Read, Write, adrive, drive

__all__ = ["EncryptedStore", "Rotation"]

# How many namespaces and records a rotation handles per step.
NAMESPACES = 100
RECORDS = 64

# A page that changes at every attempt is being written under another key.
ATTEMPTS = 20


class Rotation(NamedTuple):
    """The result of `rotate`.

    Attributes:
        namespaces: The number of namespaces.
        records: The number of records.
        rotated: How many of the records were encrypted again.
    """

    namespaces: int
    records: int
    rotated: int


class EncryptedStore(ValueLayer):
    """Encrypts the values of the store below with AES-256-GCM.

    Each value is encrypted under a key derived just for it (XAES-256-GCM, see
    formats.md) and bound to its namespace and key. Reading a value that is not
    encrypted, was changed, or was moved to another address raises
    `EncryptionError`. Names are not encrypted, because the store below orders and
    finds records by them. Sizes and times of writes are visible, too. Putting an
    older value back at its own address, or deleting a value, cannot be detected.

    Args:
        store: The store below.
        keys: The keys; the active one encrypts.

    Raises:
        TypeError: `store` is not a store, or `keys` not a `KeyRing`.
    """

    def __init__(self, store: BaseStore, keys: KeyRing) -> None:
        super().__init__(store)
        if not isinstance(keys, KeyRing):
            raise TypeError(f"keys must be a KeyRing, not {type(keys).__name__}")
        self.key_ring = keys
        self._keys = keys._core

    def encode(self, namespace: str, keys: list[str], values: list[bytes]) -> list[bytes]:
        """Encrypt values."""
        return self._keys.encode(namespace, keys, values)

    def decode(self, namespace: str, keys: list[str], values: list[bytes]) -> list[bytes]:
        """Decrypt values.

        Raises:
            EncryptionError: A value is not encrypted, is not the one that was
                stored there, or its key is missing.
        """
        return self._keys.decode(namespace, keys, values)

    def rotate(self, prefix: str = "") -> Rotation:
        """Re-encrypt all values that are not encrypted under the active key.

        Safe beside readers and writers: a value is replaced only if it is still the one
        that was read. Expiry does not change. After an interruption, call it again to
        continue: values under the active key are only inspected. Beforehand, every process
        must have the active key in its ring and encrypt under it; otherwise new values need
        another call.

        Args:
            prefix: Only namespaces that start with this.

        Raises:
            EncryptionError: A value cannot be decrypted; it is left unchanged.
            ConflictError: Somebody keeps writing under another key.
        """
        return drive(self.store, self._rotate(prefix))

    async def arotate(self, prefix: str = "") -> Rotation:
        """Re-encrypt values as `rotate` does."""
        return await adrive(self.store, self._rotate(prefix))

    def _rotate(self, prefix: str) -> Operation[Rotation]:
        total = Rotation(0, 0, 0)
        names: list[str] = yield Namespaces(prefix, None, NAMESPACES)
        while names:
            for name in names:
                records, rotated = yield from self._rotate_namespace(name)
                namespaces = total.namespaces + bool(records)
                total = Rotation(namespaces, total.records + records, total.rotated + rotated)
            names = yield Namespaces(prefix, names[-1], NAMESPACES)
        return total

    def _rotate_namespace(self, name: str) -> Operation[tuple[int, int]]:
        records = rotated = attempts = 0
        start = ""
        while True:
            [found] = yield Read([Query(name, ranges=[Range(start, limit=RECORDS)])])
            [page] = found.ranges
            if not page:
                return records, rotated
            stale = {key: value for key, value in page if not self._keys.is_current(value)}
            if stale:
                query = Query(name, keys=list(stale))
                answer = found._replace(values=list(stale.values()), ranges=[])
                [plain] = yield from self._decoded([query], [answer])
                put = {
                    key: value
                    for key, value in zip(stale, plain.values, strict=True)
                    if value is not None
                }
                batch = yield from self._encoded(Batch(name, put=put))
                try:
                    yield Write([batch._replace(expect_values=stale)])
                except ConflictError:
                    attempts += 1
                    if attempts < ATTEMPTS:
                        continue
                    raise
            attempts = 0
            records += len(page)
            rotated += len(stale)
            # The least key above the last one.
            start = page[-1][0] + "\x01"

"""Encryption, and the rotation of its keys."""

from __future__ import annotations

from typing import NamedTuple

from swarmstate.base import BaseStore, Batch, Query, Range
from swarmstate.errors import ConflictError
from swarmstate.layers._base import ValueLayer
from swarmstate.layers._keys import KeyRing
from swarmstate.operations import Namespaces, Operation, Read, Write, adrive, drive

__all__ = ["EncryptedStore", "Rotation"]

# Per step of a rotation.
NAMESPACES = 100
RECORDS = 64

# A page that changes at each attempt is being written under another key.
ATTEMPTS = 20


class Rotation(NamedTuple):
    """What `rotate` did.

    Attributes:
        namespaces: How many namespaces there were.
        records: How many records there were.
        rotated: How many of them were re-encrypted.
    """

    namespaces: int
    records: int
    rotated: int


class EncryptedStore(ValueLayer):
    """Encrypts the values of the store below with AES-256-GCM.

    Each value is encrypted with a key derived for it alone (XAES-256-GCM, see
    formats.md) and bound to its namespace and key. Reading a value that is not
    encrypted, was changed, or was moved to another address raises an
    `EncryptionError`. Names stay in plaintext, because the store below
    orders and finds records by them; sizes and write times are visible too.
    An older value put back at its own address, and a deleted one,
    cannot be detected.

    Args:
        store: The store below.
        keys: The keys; the active one encrypts.

    Raises:
        TypeError: `store` is not a store, or `keys` is not a `KeyRing`.
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
            EncryptionError: A value is not encrypted, not the one that was
                stored there, or its key is missing.
        """
        return self._keys.decode(namespace, keys, values)

    def rotate(self, prefix: str = "") -> Rotation:
        """Re-encrypt all values that are not encrypted with the active key.

        Safe alongside readers and writers: a value is replaced only if it is still
        the one that was read. Expiry is unchanged. After an interruption, call it
        again to continue: values under the active key are only
        inspected. Beforehand, every process must have the active key in its ring
        and must encrypt with it; otherwise new values need another call.

        Args:
            prefix: Only namespaces that start with it.

        Raises:
            EncryptionError: A value cannot be decrypted; it is unchanged.
            ConflictError: Another writer keeps using another key.
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

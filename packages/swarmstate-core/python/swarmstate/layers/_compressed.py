"""Compression with zstd."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from swarmstate._core import Compression
from swarmstate.base import BaseStore
from swarmstate.layers._base import ValueLayer

__all__ = ["CompressedStore", "train_dictionary"]

LEVEL = 3
MIN_SIZE = 64
MAX_SIZE = 256 * 1024 * 1024
DICTIONARY_SIZE = 16 * 1024
# What zstd makes and reads on every platform.
DICTIONARY_SIZES = range(256, 1 << 31)


class CompressedStore(ValueLayer):
    """Compresses the values of the store below with zstd.

    Each value carries a mark that says how it is stored, and a check of its
    bytes (formats.md): what is damaged, or was not written through a
    `CompressedStore`, is a `StoreFormatError` when it is read, never a value.
    Records that are already there are copied in with `copy_store`.

    Encrypted bytes do not compress: compress above, encrypt below, as in
    `CompressedStore(EncryptedStore(store, keys))`.

    Args:
        store: The store below.
        level: zstd's level; higher is smaller and slower to write.
        min_size: Smaller values, in bytes, are stored as they are. So are those
            that compression would not make smaller.
        max_size: The largest value, in bytes, that is compressed, and that is
            decompressed: the bound on what a few bytes can make of the memory.
        dictionaries: What `train_dictionary` returned. The first one compresses;
            each decompresses what was compressed with it. Values that need a
            dictionary cannot be read without it.

    Raises:
        TypeError: `store` is no store, or another argument not of its kind.
        ValueError: The level does not exist, the sizes make no sense, or a dictionary is
            none.
    """

    portable: ClassVar[bool] = True

    def __init__(
        self,
        store: BaseStore,
        *,
        level: int = LEVEL,
        min_size: int = MIN_SIZE,
        max_size: int = MAX_SIZE,
        dictionaries: Sequence[bytes] = (),
    ) -> None:
        super().__init__(store)
        if min_size < 0 or max_size < min_size:
            raise ValueError(
                f"expected 0 <= min_size <= max_size, found {min_size!r} and {max_size!r}"
            )
        self._compression = Compression(level, min_size, max_size, list(dictionaries))

    @property
    def derived_folder(self) -> Path | None:
        """The folder of the store below: this layer hides nothing."""
        return self.store.derived_folder

    def encode(self, namespace: str, keys: list[str], values: list[bytes]) -> list[bytes]:
        """Compress values."""
        return self._compression.encode(namespace, keys, values)

    def decode(self, namespace: str, keys: list[str], values: list[bytes]) -> list[bytes]:
        """Decompress values.

        Raises:
            StoreFormatError: A value is damaged, was not written through such a
                store, needs a dictionary that was not given, or is too large.
        """
        return self._compression.decode(namespace, keys, values)


def train_dictionary(samples: Iterable[bytes], *, size: int = DICTIONARY_SIZE) -> bytes:
    """Return a zstd dictionary made of typical values, as a store holds them.

    Args:
        samples: Some hundred values or more, such as records of a store's
            `read`; a hundred times `size` bytes in all is plenty.
        size: At most this many bytes, from 256 to 2 GiB.

    Raises:
        ValueError: The samples are too few or too small, or no dictionary has that size.
    """
    if size not in DICTIONARY_SIZES:
        raise ValueError(
            f"expected size to be at least {DICTIONARY_SIZES.start} and below "
            f"{DICTIONARY_SIZES.stop} bytes, found {size!r}; {DICTIONARY_SIZE} suit most values"
        )
    return Compression.train([sample for sample in samples if sample], size)

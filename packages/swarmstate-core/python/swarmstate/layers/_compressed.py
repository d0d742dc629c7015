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
# The sizes that zstd can create and read on every platform.
DICTIONARY_SIZES = range(256, 1 << 31)


class CompressedStore(ValueLayer):
    """Compresses the values of the store below with zstd.

    Each value carries a marker for how it is stored, and a checksum (formats.md).
    Reading a value that is damaged, or was not written through a `CompressedStore`,
    raises `StoreFormatError`. To compress existing records, copy them in with
    `copy_store`.

    Encrypted bytes do not compress: compress above and encrypt below, as in
    `CompressedStore(EncryptedStore(store, keys))`.

    Args:
        store: The store below.
        level: zstd's level; higher is smaller and slower to write.
        min_size: Smaller values, in bytes, are stored uncompressed. So are values
            that compression would not make smaller.
        max_size: The size in bytes of the largest value to compress or decompress;
            it limits how much memory a few bytes can expand to.
        dictionaries: Results of `train_dictionary`. The first one compresses; each
            decompresses what was compressed with it. Values that need a dictionary
            cannot be read without it.

    Raises:
        TypeError: `store` is not a store, or another argument has the wrong type.
        ValueError: There is no such level, the sizes make no sense, or a dictionary is
            invalid.
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
            StoreFormatError: A value is damaged, was not written through a
                `CompressedStore`, needs a missing dictionary, or is too large.
        """
        return self._compression.decode(namespace, keys, values)


def train_dictionary(samples: Iterable[bytes], *, size: int = DICTIONARY_SIZE) -> bytes:
    """Return a zstd dictionary trained on typical values, as a store holds them.

    Args:
        samples: At least some hundred values, such as records that a store's `read`
            returns; a hundred times `size` bytes in total is plenty.
        size: The maximum size in bytes, at least 256 and below 2 GiB.

    Raises:
        ValueError: The samples are too few or too small, or `size` is out of range.
    """
    if size not in DICTIONARY_SIZES:
        raise ValueError(
            f"expected size to be at least {DICTIONARY_SIZES.start} and below "
            f"{DICTIONARY_SIZES.stop} bytes, found {size!r}; {DICTIONARY_SIZE} suits most values"
        )
    return Compression.train([sample for sample in samples if sample], size)

"""The keys of encrypted stores: where they come from, and which one encrypts."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from swarmstate import _core

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["KEY_BYTES", "KeyRing", "new_key"]

KEY_BYTES = 32
VARIABLE = "SWARMSTATE_KEYS"


def new_key() -> bytes:
    """Return a new random key."""
    return secrets.token_bytes(KEY_BYTES)


class KeyRing:
    """Keys by id: one encrypts, all decrypt.

        KeyRing({"2026-11": new, "2026-05": old}, active="2026-11")

    The text form, for environment variables and files, consists of `id:key` entries with
    the key in base64, one per line or separated by commas. The first key is active. Empty
    lines and whole lines that begin with `#` are skipped. Neither `repr` nor any message shows
    a key.

    Args:
        keys: Keys of 32 random bytes, by id. Ids are stored with the values, in the
            clear, and must never be reused for another key.
        active: The id of the key that encrypts; may be omitted if there is only one key.

    Raises:
        TypeError: A key is not bytes, or its id not a str.
        ValueError: A key has another size, or `active` is not among them.
    """

    def __init__(self, keys: Mapping[str, bytes], *, active: str | None = None) -> None:
        _check_types(keys)
        if active is None:
            if len(keys) != 1:
                raise ValueError(f"expected active to name one of the {len(keys)} keys, found None")
            [active] = keys
        self.active = active
        self._ids = sorted(keys)
        self._core = _core.KeyRing(dict(keys), active)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the ring described by a text.

        Raises:
            ValueError: The text does not have the form above.
        """
        keys: dict[str, bytes] = {}
        for number, line in enumerate(_entries(text), start=1):
            if not line or line.startswith("#"):
                continue
            key_id, _, encoded = line.partition(":")
            try:
                key = base64.b64decode(encoded.strip(), validate=True)
            except ValueError:
                key = b""
            if len(key) != KEY_BYTES:
                # The line is not shown, because it may hold a key.
                raise ValueError(
                    f"expected entry {number} of the keys to be 'id:key', with a key of "
                    f"{KEY_BYTES} bytes in base64"
                )
            if key_id.strip() in keys:
                raise ValueError(f"duplicate key id {key_id.strip()!r}")
            keys[key_id.strip()] = key
        if not keys:
            raise ValueError("expected at least one 'id:key' line, found none")
        return cls(keys, active=next(iter(keys)))

    @classmethod
    def from_env(cls, variable: str = VARIABLE) -> Self:
        """Return the ring in an environment variable.

        Raises:
            ValueError: The variable is not set, or not in the form above.
        """
        text = os.environ.get(variable)
        if text is None:
            raise ValueError(
                f"expected the environment variable {variable} to hold the keys, one 'id:key' per "
                "line, but it is not set"
            )
        return cls.parse(text)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Self:
        """Return the ring in a file.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is not in the form above.
        """
        # Some editors begin a file with a byte order mark, which must not become part of an id.
        return cls.parse(Path(path).read_text("utf-8-sig"))

    @staticmethod
    def line(key_id: str, key: bytes) -> str:
        """Return the line for a key in the text form.

        Raises:
            TypeError: The key is not bytes, or its id not a str.
            ValueError: The key has another size, or the text form cannot hold its id.
        """
        KeyRing({key_id: key})
        line = f"{key_id}:{base64.b64encode(key).decode()}"
        parts = line.replace(",", "\n").splitlines()
        held = key_id.strip() == key_id and ":" not in key_id and not key_id.startswith("#")
        if not held or parts != [line]:
            raise ValueError(
                "expected a key id without colons, commas, line breaks, a leading #, or leading or "
                f"trailing spaces, found {key_id!r}"
            )
        return line

    def __repr__(self) -> str:
        """Return the ids."""
        return f"KeyRing({', '.join(map(repr, self._ids))}; active: {self.active!r})"


def _entries(text: str) -> Iterator[str]:
    """Yield the entries of lines and between commas; a comment line is a single entry."""
    for line in map(str.strip, text.splitlines()):
        yield from [line] if line.startswith("#") else map(str.strip, line.split(","))


def _check_types(keys: object) -> None:
    """Check something passed as keys; no message may show what could be a key."""
    if not isinstance(keys, Mapping):
        raise TypeError(
            f"expected keys to be a dict {{id: 32 bytes}}, found {type(keys).__name__}; "
            "KeyRing.parse takes the text form"
        )
    for key_id, key in keys.items():
        if not isinstance(key_id, str):
            raise TypeError(f"expected a key id to be a str, found {type(key_id).__name__}")
        if not isinstance(key, bytes):
            raise TypeError(
                f"expected key {key_id!r} to be {KEY_BYTES} bytes, found {type(key).__name__}; "
                "KeyRing.parse takes the text form, new_key() makes a key"
            )

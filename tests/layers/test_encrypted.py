"""What an encrypted store keeps secret and refuses, and what can read it back."""

from __future__ import annotations

import base64
import os
import re
import traceback
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from swarmstate import Batch, Query, Range, Store, dumps
from swarmstate.base import BaseStore
from swarmstate.errors import DecodeError, EncryptionError, SwarmStateError
from swarmstate.layers import EncryptedStore, KeyRing, new_key

ROOT = Path(__file__).resolve().parents[2]
KEY = bytes(range(32))
RING = KeyRing({"2026": KEY})
ZEROS = base64.b64encode(bytes(32)).decode()

# The value from formats.md: b"\xa3Ada", the msgpack of "Ada", at ("user/ada", "name").
VECTOR = bytes.fromhex(
    "c732400104323032363d23485bc60dead2bb4e16f4c8aed94ac739b75eff0363"
    "87783e40ba9328ecbf2ef044d391b45cfcb1c5200b"
)


def raw(store: BaseStore, namespace: str, key: str) -> bytes:
    [result] = store.read([Query(namespace, keys=[key])])
    [value] = result.values
    assert value is not None
    return value


def decrypted_independently(data: bytes, namespace: str, key: str, secret: bytes) -> bytes:
    """Decrypt with another implementation, following formats.md."""
    assert data[0] in (0xC7, 0xC8, 0xC9)
    width = 1 << (data[0] - 0xC7)
    length, code, payload = data[1 : 1 + width], data[1 + width], data[2 + width :]
    assert int.from_bytes(length, "big") == len(payload)
    assert code == 64
    assert payload[0] == 1
    key_id, rest = payload[2 : 2 + payload[1]], payload[2 + payload[1] :]
    nonce, ciphertext = rest[:24], rest[24:]

    # XAES-256-GCM: a key for this value only, derived with CMAC's subkey.
    encryptor = Cipher(algorithms.AES(secret), modes.ECB()).encryptor()
    subkey = int.from_bytes(encryptor.update(bytes(16)), "big") << 1
    if subkey >> 128:
        subkey ^= (1 << 128) | 0b10000111
    derived = b"".join(
        encryptor.update(
            (int.from_bytes(bytes([0, counter]) + b"X\0" + nonce[:12], "big") ^ subkey).to_bytes(
                16, "big"
            )
        )
        for counter in (1, 2)
    )
    address = b"\0".join(
        [b"swarmstate encrypted value 1", key_id, namespace.encode(), key.encode()]
    )
    return AESGCM(derived).decrypt(nonce[12:], ciphertext, address)


@pytest.mark.parametrize("size", [0, 1, 200, 1_000, 100_000])
def test_another_implementation_reads_it(size: int) -> None:
    below = Store()
    value = os.urandom(size)
    EncryptedStore(below, RING).write([Batch("näme", put={"k/é": value})])
    data = raw(below, "näme", "k/é")
    assert decrypted_independently(data, "näme", "k/é", KEY) == value
    with pytest.raises(InvalidTag):
        decrypted_independently(data, "näme", "k/e", KEY)


def test_the_published_value_is_read() -> None:
    assert decrypted_independently(VECTOR, "user/ada", "name", KEY) == b"\xa3Ada"
    below = Store()
    below.write([Batch("user/ada", put={"name": VECTOR})])
    assert EncryptedStore(below, RING).get("user/ada", "name") == "Ada"
    assert VECTOR.hex() in (ROOT / "docs" / "formats.md").read_text("utf-8").replace("\n", "")


def test_no_value_is_stored_in_clear() -> None:
    below = Store()
    store = EncryptedStore(below, RING)
    store.set_many("n", {"a": "a secret", "b": "a secret"})
    store.write([Batch("n", put_if_absent={"c": b"a secret"})])
    store.copy("n", "m")
    found = [value for name in "nm" for value in below.read([Query(name, ranges=[Range()])])]
    values = [value for result in found for _, value in result.ranges[0]]
    assert len(set(values)) == 6
    assert not any(b"secret" in value for value in values)
    assert store.get("m", "b") == "a secret"


def test_plaintext_is_refused() -> None:
    below = Store()
    below.set("n", "plain", "anybody wrote this")
    below.write([Batch("n", put={"empty": b"", "like": dumps({"a": 1})})])
    store = EncryptedStore(below, RING)
    for key in ["plain", "empty", "like"]:
        with pytest.raises(EncryptionError, match=f"'{key}'|\"{key}\".*not encrypted"):
            store.get("n", key)
    with pytest.raises(EncryptionError):
        store.items("n")
    with pytest.raises(EncryptionError):
        store.copy("n", "m")
    assert below.namespaces() == ["n"]


def test_a_newer_format_says_what_to_do() -> None:
    below = Store()
    store = EncryptedStore(below, RING)
    store.set("n", "k", "v")
    extension, length, code, _, *rest = raw(below, "n", "k")
    below.write([Batch("n", put={"k": bytes([extension, length, code, 2, *rest])})])
    with pytest.raises(EncryptionError, match="newer format than this release reads; upgrade"):
        store.get("n", "k")


def test_a_row_that_was_moved_is_refused() -> None:
    below = Store()
    store = EncryptedStore(below, RING)
    store.set("ada", "balance", 10)
    store.set("grace", "balance", 1_000_000)
    below.write([Batch("ada", put={"balance": raw(below, "grace", "balance")})])
    with pytest.raises(EncryptionError, match="moved"):
        store.get("ada", "balance")
    below.copy("grace", "eve")
    with pytest.raises(EncryptionError, match="moved"):
        store.get("eve", "balance")
    assert store.get("grace", "balance") == 1_000_000


def test_values_stay_msgpack_and_say_what_they_are() -> None:
    below = Store()
    EncryptedStore(below, RING).set("n", "k", "v")
    with pytest.raises(DecodeError, match="encrypted"):
        below.get("n", "k")


def test_keys_are_shown_nowhere() -> None:
    secret = new_key()
    ring = KeyRing({"a": secret})
    store = EncryptedStore(Store(), ring)
    shown = [repr(ring), repr(store), repr(ring._core), str(vars(store))]
    for text in ["a:short", f"a:{base64.b64encode(secret[:31]).decode()}", f"x{secret.hex()}"]:
        with pytest.raises(ValueError, match="32 bytes") as raised:
            KeyRing.parse(text)
        shown += traceback.format_exception(raised.value)
    encoded = base64.b64encode(secret).decode()
    for text in shown:
        assert secret.hex() not in text
        assert encoded not in text
        assert repr(secret) not in text


def test_a_missing_key_is_named() -> None:
    below = Store()
    EncryptedStore(below, KeyRing({"old": KEY})).set("n", "k", "v")
    other = EncryptedStore(below, KeyRing({"new": KEY}))
    with pytest.raises(EncryptionError, match=re.escape('under key "old"')):
        other.get("n", "k")
    impostor = EncryptedStore(below, KeyRing({"old": bytes(32)}))
    with pytest.raises(EncryptionError, match="a different key with that id"):
        impostor.get("n", "k")


class TestKeyRing:
    def test_from_text(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        text = f"# keys\n\n{KeyRing.line('new', KEY)}\n old : {ZEROS}\n"
        path = tmp_path / "keys"
        path.write_text(text)
        monkeypatch.setenv("SWARMSTATE_KEYS", ",".join(text.splitlines()[2:]))
        for ring in [KeyRing.parse(text), KeyRing.from_file(path), KeyRing.from_env()]:
            assert repr(ring) == "KeyRing('new', 'old'; active: 'new')"
            below = Store()
            EncryptedStore(below, ring).set("n", "k", 1)
            assert EncryptedStore(below, KeyRing({"new": KEY})).get("n", "k") == 1

    def test_a_line_that_is_commented_out_is_skipped_whole(self) -> None:
        retired = ",".join(KeyRing.line(key_id, bytes(32)) for key_id in ("older", "oldest"))
        for comment in (f"#{retired}", f"  # {retired}", "# made in May, to be kept secret"):
            ring = KeyRing.parse(f"{comment}\n{KeyRing.line('new', KEY)}\n")
            assert repr(ring) == "KeyRing('new'; active: 'new')"
        with pytest.raises(ValueError, match="entry 2 of the keys"):
            KeyRing.parse(f"#{retired}\nold")

    def test_a_missing_variable_is_named(self) -> None:
        with pytest.raises(ValueError, match="NO_SUCH_VARIABLE"):
            KeyRing.from_env("NO_SUCH_VARIABLE")

    @pytest.mark.parametrize("text", ["", "# nothing", "a", "a:", "a:AAAA", "a:{}"])
    def test_text_of_another_form(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"id:key"):
            KeyRing.parse(text)

    def test_text_that_is_not_ascii_is_not_shown(self) -> None:
        with pytest.raises(ValueError, match=r"entry 2 .* 'id:key'") as caught:
            KeyRing.parse(f"a:{ZEROS}\nb:{ZEROS}é")
        assert ZEROS not in "".join(traceback.format_exception(caught.value))

    def test_a_file_of_an_editor_that_marks_its_beginning(self, tmp_path: Path) -> None:
        path = tmp_path / "keys"
        path.write_text(KeyRing.line("new", KEY), "utf-8-sig")
        assert KeyRing.from_file(path).active == "new"

    @pytest.mark.parametrize("key_id", ["a:b", "a,b", "#a", " a", "a\n", "a\u2028b"])
    def test_a_line_that_could_not_be_read_again_is_none(self, key_id: str) -> None:
        with pytest.raises(ValueError, match="expected a key id without colons"):
            KeyRing.line(key_id, KEY)
        assert KeyRing({key_id: KEY}).active == key_id, "bytes may have any"

    def test_a_line_of_another_size_or_type_is_none(self) -> None:
        key: Any
        for key, error in ((bytes(31), ValueError), ("x" * 32, TypeError)):
            with pytest.raises(error, match="32 bytes"):
                KeyRing.line("a", key)

    def test_what_is_mistaken_for_keys_is_named_and_not_shown(self) -> None:
        keys: Any
        for keys, message in (
            ({"a": ZEROS}, "key 'a' to be 32 bytes, found str; KeyRing.parse takes the text form"),
            ({"a": bytearray(32)}, "key 'a' to be 32 bytes, found bytearray"),
            ({1: KEY}, "a key id to be a str, found int"),
            (f"a:{ZEROS}", "keys to be a dict .* found str; KeyRing.parse"),
            (bytes(32), "keys to be a dict .* found bytes"),
            (None, "keys to be a dict .* found NoneType"),
        ):
            with pytest.raises(TypeError, match=message) as caught:
                KeyRing(keys)
            assert ZEROS not in str(caught.value)

    def test_an_id_stands_for_one_key(self) -> None:
        with pytest.raises(ValueError, match="duplicate key id"):
            KeyRing.parse(f"{KeyRing.line('a', KEY)},{KeyRing.line('a', bytes(32))}")

    @pytest.mark.parametrize("size", [0, 16, 31, 33, 64])
    def test_keys_of_another_size(self, size: int) -> None:
        with pytest.raises(ValueError, match=f"must have 32 bytes, not {size}"):
            KeyRing({"a": bytes(size)})

    @pytest.mark.parametrize("key_id", ["", "a\0b", "x" * 65])
    def test_ids_that_cannot_be(self, key_id: str) -> None:
        with pytest.raises(ValueError, match="key id"):
            KeyRing({key_id: KEY})

    def test_the_longest_id(self) -> None:
        store = EncryptedStore(Store(), KeyRing({"x" * 64: KEY}))
        store.set("n", "k", "v")
        assert store.get("n", "k") == "v"

    def test_the_active_key_must_be_there(self) -> None:
        with pytest.raises(ValueError, match="active"):
            KeyRing({"a": KEY}, active="b")
        with pytest.raises(ValueError, match="active"):
            KeyRing({"a": KEY, "b": KEY})

    def test_it_must_be_a_key_ring(self) -> None:
        with pytest.raises(TypeError, match="KeyRing"):
            EncryptedStore(Store(), {"a": KEY})  # type: ignore[arg-type]  # invalid on purpose


def test_errors_are_of_the_tree() -> None:
    assert issubclass(EncryptionError, SwarmStateError)

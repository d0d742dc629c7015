"""Values in older formats, from encrypting serializers, and of missing classes."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.swarmstate import SwarmStateSaver, SwarmStateSerializer
from langgraph.checkpoint.swarmstate.importing import import_sqlite
from langgraph.checkpoint.swarmstate.testing import graphs
from langgraph.checkpoint.swarmstate.testing.checkpoints import at, make_checkpoint, make_metadata
from pydantic import BaseModel
from swarmstate import Store

from tests.importing import stock
from tests.importing.sources import everything, sqlite_source


def test_databases_before_task_paths(tmp_path: Path) -> None:
    source = sqlite_source(tmp_path)
    with source.saver() as saver:
        stock.old_format(saver)
    source.execute("ALTER TABLE writes DROP COLUMN task_path")
    store = Store()
    report = source.importer(source.url, store)
    assert report.failures == ()
    assert report.writes == 15


class AesGcm:
    """A cipher for LangGraph's EncryptedSerializer."""

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        nonce = os.urandom(12)
        return "gcm", nonce + AESGCM(bytes(32)).encrypt(nonce, plaintext, None)

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        assert ciphername == "gcm"
        return AESGCM(bytes(32)).decrypt(ciphertext[:12], ciphertext[12:], None)


def test_values_that_a_serializer_encrypted(tmp_path: Path) -> None:
    path = str(tmp_path / "stock.sqlite")
    serde = EncryptedSerializer(AesGcm())
    with closing(sqlite3.connect(path, check_same_thread=False)) as connection:
        saver = SqliteSaver(connection, serde=serde)
        graphs.agent(saver).invoke(stock.say(1), stock.at("agent"))
        expected = everything(saver)
    [failure] = import_sqlite(path, Store()).failures
    assert "agent" in failure
    store = Store()
    assert import_sqlite(path, store, serde=serde).failures == ()
    found = everything(SwarmStateSaver(store))
    assert found.keys() == expected.keys()
    assert [each.checkpoint for each in found.values()] == [
        expected[key].checkpoint for key in found
    ]


@dataclass
class OwnData:
    """State defined by the user's program."""

    x: int


class OwnModel(BaseModel):
    """State defined by the user's program, as a model."""

    x: int


@pytest.mark.parametrize("own", [OwnData, OwnModel])
@pytest.mark.parametrize(
    "serde", [None, JsonPlusSerializer(), SwarmStateSerializer(), EncryptedSerializer(AesGcm())]
)
def test_no_object_whose_class_is_missing_becomes_plain_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serde: Any, own: Any
) -> None:
    path = str(tmp_path / "stock.sqlite")
    with closing(sqlite3.connect(path, check_same_thread=False)) as connection:
        saver = SqliteSaver(connection, serde=serde)
        checkpoint = make_checkpoint({"own": own(x=1)})
        saver.put(at("thread"), checkpoint, make_metadata(), {"own": 1})
    store = Store()
    with monkeypatch.context() as without:
        without.delattr(f"{__name__}.{own.__name__}")
        [failure] = import_sqlite(path, store, serde=serde).failures
    assert own.__name__ in failure
    assert "PYTHONPATH" in failure
    assert SwarmStateSaver(store).threads() == []
    assert import_sqlite(path, store, serde=serde).failures == ()

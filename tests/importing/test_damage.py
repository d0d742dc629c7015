"""Damaged and foreign threads do not keep other threads from being imported."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from swarmstate import Store

from tests.importing import stock
from tests.importing.sources import everything, sqlite_source


@pytest.mark.parametrize(
    "damage",
    ["value", "metadata", "class", "no checkpoint", "no channels", "no metadata"],
)
def test_damage_is_named_and_keeps_nobody_else(tmp_path: Path, damage: str) -> None:
    source = sqlite_source(tmp_path)
    with source.saver() as saver:
        stock.fill(saver)
    new = {
        "value": "checkpoint = substr(checkpoint, 1, 40)",
        "metadata": "metadata = '{'",
        "no checkpoint": "checkpoint = x'01'",
        "no channels": "checkpoint = x'80'",
        "no metadata": "metadata = '[]'",
        # An ext of a class that does not exist.
        "class": "checkpoint = x'"
        + (b"\x81\xa1v\xc7\x0e\x01\x93\xa6nosuch\xa4Gone\x90").hex()
        + "'",
    }[damage]
    source.execute(f"UPDATE checkpoints SET {new} WHERE thread_id = 'delta' AND rowid % 20 = 3")
    store = Store()
    report = source.importer(source.url, store)
    [failure] = report.failures
    assert "'delta'" in failure
    assert "checkpoint '1f" in failure
    if damage == "class":
        assert "nosuch.Gone" in failure
        assert "PYTHONPATH" in failure
    threads = {thread for thread, _, _ in everything(SwarmStateSaver(store))}
    assert threads >= {"agent", "fan", "nested", "old"}
    # A partial import would have an older state as its newest.
    assert "delta" not in threads
    assert str(report).endswith("0 already present; 1 thread failed")
    assert 0 < report.added < report.checkpoints


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE checkpoints SET thread_id = CAST(x'ff' AS TEXT)",
        "UPDATE checkpoints SET thread_id = x'ff'",
        "UPDATE checkpoints SET checkpoint_ns = CAST(x'ff' AS TEXT)",
        "UPDATE checkpoints SET metadata = CAST(x'ff' AS TEXT)",
        "UPDATE writes SET channel = CAST(x'ff' AS TEXT)",
        "UPDATE writes SET task_id = CAST(task_id AS BLOB)",
    ],
)
def test_what_is_no_text_keeps_no_other_thread_from_coming_over(
    tmp_path: Path, damage: str
) -> None:
    source = sqlite_source(tmp_path)
    with source.saver() as saver:
        stock.fill(saver)
        others = {thread for thread, _, _ in everything(saver)} - {"fan"}
    source.execute(f"{damage} WHERE thread_id = 'fan'")
    store = Store()
    [failure] = source.importer(source.url, store).failures
    assert failure.startswith(r"thread '\udcff'" if "thread_id" in damage else "thread 'fan'")
    threads = {thread for thread, _, _ in everything(SwarmStateSaver(store))}
    assert threads == others
    [failure] = source.importer(source.url, store, only=["delta", "\udcff"]).failures
    assert "not UTF-8" in failure


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("writes SET task_path = x'00'", r"task path and channel of a pending write .* b'\\x00'"),
        ("writes SET idx = 'first'", r"index of a pending write .* to be an int, found 'first'"),
        ("writes SET idx = 0.5", r"index of a pending write .* to be an int, found 0\.5"),
        ("writes SET checkpoint_id = x'00'", r"ids and namespaces to be strings, found b'\\x00'"),
        (
            "checkpoints SET checkpoint_id = x'00'",
            r"ids and namespaces to be strings, found b'\\x00'",
        ),
        (
            "checkpoints SET parent_checkpoint_id = x'00'",
            r"expected its parent's id, found b'\\x00'",
        ),
    ],
)
def test_a_row_of_other_types_leaves_nothing_and_keeps_no_thread_from_coming_over(
    tmp_path: Path, damage: str, said: str
) -> None:
    source = sqlite_source(tmp_path)
    with source.saver() as saver:
        stock.fill(saver)
        others = {thread for thread, _, _ in everything(saver)} - {"fan"}
    last = f"SELECT max(rowid) FROM {damage.partition(' ')[0]} WHERE thread_id = 'fan'"
    source.execute(f"UPDATE {damage} WHERE rowid = ({last})")
    store = Store()
    [failure] = source.importer(source.url, store).failures
    assert failure.startswith("thread 'fan'")
    assert re.search(said, failure)
    assert {thread for thread, _, _ in everything(SwarmStateSaver(store))} == others

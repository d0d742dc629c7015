"""Threads of LangGraph's savers come over whole, and go on as if nothing had happened."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import ERROR
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.swarmstate import SwarmStateSaver, SwarmStateSerializer
from langgraph.checkpoint.swarmstate.importing import (
    ImportReport,
    import_postgres,
    import_sqlite,
)
from langgraph.checkpoint.swarmstate.testing import graphs
from langgraph.checkpoint.swarmstate.testing.checkpoints import at, make_checkpoint, make_metadata
from pydantic import BaseModel
from swarmstate import Batch, DiskStore, Store
from swarmstate.errors import StoreFormatError, StoreUnavailableError
from swarmstate.layers import Operation, StoreLayer
from swarmstate.moving import Progress

from tests.importing import stock
from tests.servers.postgres import PostgresServer

Saver = BaseCheckpointSaver[Any]


class Source(NamedTuple):
    """A database of one of LangGraph's savers."""

    url: str
    saver: Callable[[], AbstractContextManager[Saver]]
    importer: Callable[..., ImportReport]
    execute: Callable[[str], None]
    kind: str


def sqlite_source(tmp_path: Path) -> Source:
    path = str(tmp_path / "stock.sqlite")

    def execute(sql: str) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(sql)

    return Source(
        path, lambda: SqliteSaver.from_conn_string(path), import_sqlite, execute, "langgraph-sqlite"
    )


def postgres_source(server: PostgresServer) -> Source:
    url = server.new_database()

    @contextmanager
    def saver() -> Iterator[Saver]:
        with PostgresSaver.from_conn_string(url) as opened:
            opened.setup()
            yield opened

    def execute(sql: str) -> None:
        with psycopg.connect(url) as connection:
            connection.execute(sql.encode())

    return Source(url, saver, import_postgres, execute, "langgraph-postgres")


@pytest.fixture(params=["sqlite", "postgres"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    if request.param == "sqlite":
        return sqlite_source(tmp_path)
    return postgres_source(request.getfixturevalue("postgres_server"))


@pytest.fixture
def filled(source: Source) -> Source:
    with source.saver() as saver:
        stock.fill(saver)
    return source


def everything(saver: Saver) -> dict[tuple[str, str, str], CheckpointTuple]:
    found = {}
    threads = {each.config["configurable"]["thread_id"] for each in saver.list(None)}
    for thread in threads:
        for each in saver.list({"configurable": {"thread_id": thread}}):
            where = each.config["configurable"]
            found[where["thread_id"], where["checkpoint_ns"], where["checkpoint_id"]] = each
    return found


def test_every_checkpoint_comes_over(filled: Source) -> None:
    store = Store()
    seen: list[Progress] = []
    report = filled.importer(filled.url, store, progress=seen.append)
    assert report.failures == ()
    ours = everything(SwarmStateSaver(store))
    with filled.saver() as saver:
        theirs = everything(saver)
    assert ours.keys() == theirs.keys()
    assert len({thread for thread, _, _ in ours}) == 7
    assert {ns.partition(":")[0] for _, ns, _ in ours} == {"", "inner"}
    assert (report.threads, report.checkpoints, report.added) == (7, len(ours), len(ours))
    assert report.writes > 60
    assert [each.done for each in seen] == [1, 2, 3, 4, 5, 6, 7]
    for key, theirs_found in theirs.items():
        found = ours[key]
        assert found.metadata == theirs_found.metadata
        assert found.parent_config == theirs_found.parent_config
        assert found.pending_writes == theirs_found.pending_writes
        if key[0] != "old":
            assert found.checkpoint == theirs_found.checkpoint


def test_old_formats_get_their_sends(filled: Source) -> None:
    store = Store()
    filled.importer(filled.url, store, only=["old"])
    newest = SwarmStateSaver(store).get_tuple({"configurable": {"thread_id": "old"}})
    assert newest is not None
    assert [send.arg for send in newest.checkpoint["channel_values"]["__pregel_tasks"]] == [
        {"item": 1},
        {"item": 2},
    ]
    assert newest.checkpoint["channel_versions"]["__pregel_tasks"] == "2"
    parents = list(SwarmStateSaver(store).list({"configurable": {"thread_id": "old"}}))
    writes = parents[-1].pending_writes
    assert writes is not None
    # By task path, then in the order in which they were written.
    assert [channel for _, channel, _ in writes] == [
        "n",
        *(f"c{n}" for n in range(12)),
        "__pregel_tasks",
        "__pregel_tasks",
    ]


def test_graphs_go_on_with_equal_results(filled: Source) -> None:
    store = Store()
    filled.importer(filled.url, store)
    with filled.saver() as saver:
        paused = saver.get_tuple(stock.at("fan"))
        theirs = stock.resume(saver)
    ours = stock.resume(SwarmStateSaver(store))
    for name, result in theirs.items():
        assert ours[name] == result, name
    # Workers that had finished did not run again. Which of those behind the one
    # that failed had finished is up to the threads.
    assert paused is not None
    assert paused.pending_writes
    results = [value for _, channel, value in paused.pending_writes if channel == "results"]
    finished = {int(entry.partition(":")[0]) for result in results for entry in result}
    assert finished >= {0, 1, 2}
    again = {call for call in ours["calls"] if call.startswith("work ")}
    assert again == {f"work {item}" for item in set(range(24)) - finished}


def test_what_did_not_change_is_stored_once(source: Source, tmp_path: Path) -> None:
    with source.saver() as saver:
        agent = graphs.agent(saver)
        for turn in range(1, 26):
            agent.invoke(stock.say(turn), stock.at("agent"))
    with DiskStore(tmp_path / "ours.db") as store:
        source.importer(source.url, store)
        stats = SwarmStateSaver(store).stats()
        assert stats.stored_bytes < stats.unshared_bytes / 5


def test_a_thread_whose_oldest_checkpoints_were_deleted_is_among_the_newest(
    source: Source,
) -> None:
    with source.saver() as saver:
        graphs.counter(saver, 3).invoke({"n": 0}, stock.at("cut"))
        newest = saver.get_tuple(stock.at("cut"))
        assert newest is not None
    source.execute(f"DELETE FROM checkpoints WHERE checkpoint_id < '{newest.checkpoint['id']}'")
    with Store() as store, SwarmStateSaver(store) as saver:
        # More than a page of the index over threads.
        for n in range(1_100):
            checkpoint = make_checkpoint(checkpoint_id=f"1{n:07}-0000-6000-8000-000000000000")
            saver.put(at(f"older {n}"), checkpoint, make_metadata(), {})
        source.importer(source.url, store)
        assert saver.threads(limit=1) == ["cut"]


def test_importing_again_adds_what_is_new(filled: Source) -> None:
    store = Store()
    first = filled.importer(filled.url, store)
    before = store.snapshot()
    again = filled.importer(filled.url, store)
    assert (again.added, again.failures) == (0, ())
    assert store.snapshot().diff(before)["changed"] == []
    with filled.saver() as saver:
        graphs.agent(saver).invoke(stock.say(200), stock.at("agent"))
        with suppress(ValueError):
            graphs.fan_out(saver, [], asks=frozenset({12}), fails={7}).invoke(None, stock.at("fan"))
    newer = filled.importer(filled.url, store)
    assert newer.failures == ()
    assert newer.added == newer.checkpoints - first.checkpoints > 0


def test_importing_again_brings_the_error_of_another_attempt(filled: Source) -> None:
    store = Store()
    for error in ("the first", "the second"):
        with filled.saver() as saver:
            paused = saver.get_tuple(stock.at("agent"))
            assert paused is not None
            saver.put_writes(paused.config, [(ERROR, error)], "attempted")
        assert filled.importer(filled.url, store).failures == ()
    imported = SwarmStateSaver(store).get_tuple(stock.at("agent"))
    assert imported is not None
    assert ("attempted", ERROR, "the second") in (imported.pending_writes or [])


class Failing(StoreLayer):
    """Fails after some writes."""

    def __init__(self, store: Store, writes: int) -> None:
        super().__init__(store)
        self.left = writes

    def writing(self, batches: Any) -> Operation[None]:
        if not self.left:
            raise StoreUnavailableError("the server went away")
        self.left -= 1
        yield from super().writing(batches)


@pytest.mark.parametrize("writes", [0, 1, 100, 250])
def test_an_interrupted_import_goes_on(tmp_path: Path, writes: int) -> None:
    source = sqlite_source(tmp_path)
    with source.saver() as saver:
        stock.fill(saver)
    store, whole = Store(), Store()
    with pytest.raises(StoreUnavailableError):
        source.importer(source.url, Failing(store, writes))
    report = source.importer(source.url, store)
    assert report.failures == ()
    assert report.added < report.checkpoints or writes < 100
    source.importer(source.url, whole)
    ours, theirs = everything(SwarmStateSaver(store)), everything(SwarmStateSaver(whole))
    assert ours == theirs


def test_a_thread_that_is_another_one_is_left_alone(filled: Source) -> None:
    store = Store()
    saver = SwarmStateSaver(store)
    graphs.agent(saver).invoke(stock.say(1), stock.at("agent"))
    before = everything(saver)
    report = filled.importer(filled.url, store)
    [failure] = report.failures
    assert "'agent'" in failure
    assert {key: each for key, each in everything(saver).items() if key[0] == "agent"} == before
    assert len(saver.threads()) == 7


def test_a_thread_that_went_on_here_stays(filled: Source) -> None:
    store = Store()
    filled.importer(filled.url, store)
    saver = SwarmStateSaver(store)
    stock.resume(saver)
    before = everything(saver)
    assert filled.importer(filled.url, store).failures == ()
    assert everything(saver) == before


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
    # A part of it would have an older state for its newest.
    assert "delta" not in threads
    assert str(report).endswith("0 were there; 1 threads failed")
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
        ("writes SET task_path = x'00'", r"the path of that, .* b'\\x00'"),
        ("writes SET idx = 'first'", r"index of a pending write .* to be an int, found 'first'"),
        ("writes SET idx = 0.5", r"index of a pending write .* to be an int, found 0\.5"),
        ("writes SET checkpoint_id = x'00'", r"named by texts, found b'\\x00'"),
        ("checkpoints SET checkpoint_id = x'00'", r"named by texts, found b'\\x00'"),
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


def test_only_reading(tmp_path: Path) -> None:
    source = sqlite_source(tmp_path)
    with source.saver() as saver:
        stock.old_format(saver)
    before = Path(source.url).read_bytes()
    Path(source.url).chmod(0o444)
    assert source.importer(f"sqlite:///{source.url}", Store()).failures == ()
    assert Path(source.url).read_bytes() == before


# Run as a user whom permissions stop, whoever runs the tests.
DROP = """
import os, sys
from langgraph.checkpoint.swarmstate.importing import import_sqlite
from swarmstate import Store
from swarmstate.errors import StoreUnavailableError

if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)

def failure():
    try:
        import_sqlite(sys.argv[1], Store())
    except StoreUnavailableError as error:
        return str(error)
"""


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that other users can enter, unlike those of pytest."""
    directory = Path(tempfile.mkdtemp())
    yield directory
    directory.chmod(0o755)
    shutil.rmtree(directory)


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are those of POSIX")
@pytest.mark.parametrize(
    ("state", "check"),
    [
        ("closed", "assert import_sqlite(sys.argv[1], Store()).added == 5"),
        ("killed", "assert '-wal file' in failure()"),
        ("secret", "assert 'cannot be read' in failure()"),
    ],
)
def test_a_folder_without_write_permission(public: Path, state: str, check: str) -> None:
    source = sqlite_source(public)
    with source.saver() as saver:
        graphs.counter(saver).invoke({"n": 0}, {"configurable": {"thread_id": "t"}})
        log = Path(f"{source.url}-wal").read_bytes()
    if state == "killed":
        Path(f"{source.url}-wal").write_bytes(log)
    Path(source.url).chmod(0o000 if state == "secret" else 0o444)
    public.chmod(0o555)
    before = sorted(os.listdir(public))
    done = subprocess.run(
        [sys.executable, "-c", DROP + check, source.url], capture_output=True, text=True
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert sorted(os.listdir(public)) == before


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
    """State that its program defines."""

    x: int


class OwnModel(BaseModel):
    """State that its program defines."""

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


def test_writes_without_a_checkpoint_come_over(source: Source) -> None:
    with source.saver() as saver:
        config: Any = {
            "configurable": {"thread_id": "early", "checkpoint_ns": "", "checkpoint_id": "1f"}
        }
        saver.put_writes(config, [("n", 1)], "task")
    store = Store()
    report = source.importer(source.url, store)
    assert (report.threads, report.checkpoints, report.writes, report.failures) == (1, 0, 1, ())
    assert store.keys("langgraph:early") == ["write//1f/task/0"]


def test_a_database_of_something_else(tmp_path: Path, postgres_server: PostgresServer) -> None:
    path = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE checkpoints (a)")
    with pytest.raises(StoreFormatError, match="no database of SqliteSaver"):
        import_sqlite(str(path), Store())
    with pytest.raises(StoreFormatError, match="no database of PostgresSaver"):
        import_postgres(postgres_server.new_database(), Store())


def test_a_thread_that_does_not_exist_is_reported(filled: Source) -> None:
    report = filled.importer(filled.url, Store(), only=["agent", "nobody"])
    [failure] = report.failures
    assert "'nobody'" in failure
    assert report.threads == 2


def test_what_is_mistaken_for_a_list_or_a_store_is_refused(filled: Source) -> None:
    store = Store()
    wrong: Any = "agents.db"
    with pytest.raises(TypeError, match=r"did you mean \['agent'\]"):
        filled.importer(filled.url, store, only="agent")
    with pytest.raises(TypeError, match=r"expected a store, .* found str"):
        filled.importer(filled.url, wrong)
    assert store.namespaces() == []


def test_the_comparison_finds_what_went_wrong(tmp_path: Path) -> None:
    class Changing(StoreLayer):
        def writing(self, batches: Any) -> Operation[None]:
            kept = [batch for batch in batches if not batch.put_if_absent]
            yield from super().writing(kept or [Batch("none")])

    source = sqlite_source(tmp_path)
    with source.saver() as saver:
        stock.old_format(saver)
    [failure] = source.importer(source.url, Changing(Store())).failures
    assert "another list of pending writes" in failure


def test_the_command(filled: Source, tmp_path: Path) -> None:
    target = tmp_path / "ours.db"
    command = str(Path(sys.executable).with_name("swarmstate"))
    done = subprocess.run(
        [command, "import", filled.kind, filled.url, str(target), "--only", "agent"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "1 threads" in done.stdout
    assert "everything is the same" in done.stdout
    with SwarmStateSaver(target) as saver:
        assert saver.threads() == ["agent"]

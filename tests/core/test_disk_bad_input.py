"""Files, paths and disks that a disk store cannot use: one clear error, nothing touched."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from swarmstate.base import Batch, Query, Range, Result
from swarmstate.disk import DiskStore
from swarmstate.errors import StoreFormatError, StoreUnavailableError

FORMAT_1 = Path(__file__).parent / "data" / "format-1.sqlite"


def other_database(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE mine (value)")
    connection.commit()
    connection.close()


def other_database_with_a_log(path: Path) -> None:
    other_database(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = wal")
    connection.close()


def newer_format(path: Path) -> None:
    DiskStore(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def truncated(path: Path) -> None:
    path.write_bytes(FORMAT_1.read_bytes()[:99])


FOREIGN = {
    "text": lambda path: path.write_text("Dear diary,\n" * 1000),
    "one byte": lambda path: path.write_bytes(b"S"),
    "zeros": lambda path: path.write_bytes(bytes(8192)),
    "a header alone": lambda path: path.write_bytes(b"SQLite format 3\0"),
    "truncated": truncated,
    "another database": other_database,
    "another database with a log": other_database_with_a_log,
    "a newer format": newer_format,
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_files_are_refused_and_left_as_they_are(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "state.db"
    FOREIGN[kind](path)
    content, changed = path.read_bytes(), path.stat().st_mtime_ns
    for _ in range(2):
        with pytest.raises(StoreFormatError) as raised:
            DiskStore(path)
        assert str(path) in str(raised.value)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (content, changed)
    assert os.listdir(tmp_path) == ["state.db"]


def test_a_newer_format_says_what_to_do(tmp_path: Path) -> None:
    newer_format(tmp_path / "state.db")
    with pytest.raises(StoreFormatError, match=r"format 99.*up to 1; upgrade swarmstate-core"):
        DiskStore(tmp_path / "state.db")


def test_a_damaged_file_is_an_error_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with DiskStore(path) as store:
        store.write([Batch("n", put={f"{index:04}": bytes(500) for index in range(1000)})])
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    with pytest.raises(StoreFormatError, match="damaged"), DiskStore(path) as store:
        store.items("n")


def test_a_file_that_was_cut_is_damaged_where_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with DiskStore(path) as store:
        store.write([Batch("n", put={f"{index}": bytes(300_000) for index in range(6)})])
        # Now all is in the file, and none of it in the log; then the index of it in both.
        store.vacuum()
        store.write([Batch("n", put={"small": bytes(1000)})])
        os.truncate(path, path.stat().st_size // 10 * 9)
        for index in range(5):
            assert store.read([Query("n", keys=[f"{index}"])])[0].values == [bytes(300_000)]
        with pytest.raises(StoreFormatError, match="damaged"):
            store.read([Query("n", keys=["5"])])


def contents(store: DiskStore) -> list[Result]:
    return store.read([Query(name, ranges=[Range()]) for name in store.namespaces()])


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE record SET value = 'text'",
        "UPDATE record SET value = 1.5",
        "UPDATE record SET key = CAST(x'ff' AS TEXT)",
        "UPDATE record SET value = 12345",
        "UPDATE namespace SET name = CAST(x'ff' AS TEXT)",
    ],
)
def test_what_no_store_writes_is_damage(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "state.db"
    with DiskStore(path) as store:
        store.write([Batch("n", put={"k": b"v"}, ttl=60)])
    connection = sqlite3.connect(path)
    connection.execute(damage)
    connection.commit()
    connection.close()
    with DiskStore(path) as store, pytest.raises(StoreFormatError, match="damaged"):
        contents(store)


def test_ids_that_are_used_up_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with DiskStore(path) as store:
        store.write([Batch("n", put={"k": bytes(1000)})])
    connection = sqlite3.connect(path)
    for table, column in (("large_value", "id"), ("record", "value")):
        connection.execute(f"UPDATE {table} SET {column} = {2**63 - 1}")
    connection.commit()
    connection.close()
    with DiskStore(path) as store:
        for key in ("first", "second"):
            with pytest.raises(StoreFormatError, match="damaged"):
                store.write([Batch("n", put={key: bytes(1000)})])
            with pytest.raises(StoreFormatError, match="damaged"):
                store.copy("n", key)
        assert store.read([Query("n", keys=["k"])])[0].values == [bytes(1000)]


@pytest.fixture
def with_a_lost_value(tmp_path: Path) -> Path:
    """A store of three large values, of which the second is not in the file any more."""
    path = tmp_path / "state.db"
    with DiskStore(path) as store:
        store.write([Batch("n", put={key: key.encode() * 1000 for key in "abc"})])
    connection = sqlite3.connect(path)
    connection.execute(
        "DELETE FROM large_value WHERE id = (SELECT value FROM record WHERE key = 'b')"
    )
    connection.commit()
    connection.close()
    return path


def test_no_value_takes_the_place_of_a_lost_one_in_a_copy(with_a_lost_value: Path) -> None:
    with DiskStore(with_a_lost_value) as store:
        store.set("target", "k", "before")
        with pytest.raises(StoreFormatError, match="damaged"):
            store.copy("n", "target")
        assert store.items("target") == [("k", "before")]


def test_a_lost_value_can_be_replaced(with_a_lost_value: Path) -> None:
    with DiskStore(with_a_lost_value) as store:
        store.write([Batch("n", put={"b": b"B" * 1000})])
        expected = [b"a" * 1000, b"B" * 1000, b"c" * 1000]
        assert store.read([Query("n", keys=[*"abc"])])[0].values == expected


KEY = b"key 0255"
DAMAGED_KEYS = {"no UTF-8": b"key \xff255", "out of order": b"\x02ey 0255"}


@pytest.mark.parametrize("damage", DAMAGED_KEYS)
@pytest.mark.parametrize("gone", ["deleted", "expired"])
def test_damage_in_what_is_gone_keeps_nobody_from_writing(
    tmp_path: Path, gone: str, damage: str
) -> None:
    path, now = tmp_path / "state.db", 1000.0
    with DiskStore(path, clock=lambda: now) as store:
        store.set("n", "k", "before")
        for name, ttl in (("key", 60), ("other", 90)):
            put = {f"{name} {index:04}": bytes(1000) for index in range(600)}
            store.write([Batch(name, put=put, ttl=ttl)])
    path.write_bytes(path.read_bytes().replace(KEY, DAMAGED_KEYS[damage]))
    with DiskStore(path, clock=lambda: now) as store:
        if gone == "deleted":
            store.clear("key")
            store.clear("other")
        else:
            now = 2000.0
        for index in range(10):
            store.set("n", "k", index)
        size = path.stat().st_size
        with pytest.raises(StoreFormatError, match=r"deleted or expired.*swarmstate copy"):
            store.vacuum()
        assert path.stat().st_size < size - 500_000
        assert store.namespaces() == ["n"]
        assert store.items("n") == [("k", 9)]


def test_a_file_of_format_1_is_read_and_written(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    shutil.copy(FORMAT_1, path)
    with DiskStore(path, clock=lambda: 1_700_000_000.0) as store:
        assert store.namespaces() == ["expiring", "langgraph:1", "ünï/cödé"]
        assert store.items("langgraph:1") == [("a", "first"), ("b", [1, 2.5, None])]
        assert store.items("ünï/cödé") == [("é", "é" * 5000)]
        store.set("langgraph:1", "c", 3)
    with DiskStore(path, clock=lambda: 2_000_000_000.0) as store:
        assert store.namespaces() == ["langgraph:1", "ünï/cödé"]
        assert store.keys("langgraph:1") == ["a", "b", "c"]


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.touch()
    with DiskStore(path) as store:
        store.set("n", "k", 1)
    with DiskStore(path) as store:
        assert store.get("n", "k") == 1


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "empty"),
        (":memory:", r"use Store\(\)"),
        ("missing/state.db", "create it first"),
        ("~/state.db", r"os\.path\.expanduser"),
        ("disk://state.db", r"swarmstate\.open\(\) for a URL"),
        (".", "is a directory"),
        ("file/state.db", "file"),
        ("pipe", "not a regular file"),
        ("n" * 300, "cannot open"),
        ("nul\0.db", "cannot open"),
        ("\ud800.db", "no file can have this name"),
    ],
)
def test_unusable_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("text")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StoreUnavailableError, match=message):
        DiskStore(path)
    assert sorted(os.listdir(tmp_path)) == ["file", "pipe"]


def test_a_url_that_is_taken_for_a_path_keeps_its_password() -> None:
    with pytest.raises(StoreUnavailableError, match="postgresql://; use") as caught:
        DiskStore("postgresql://ada:s3cret@localhost/agents")
    assert "s3cret" not in str(caught.value)


# Makes the script that follows run as a user whom permissions stop, whoever runs the tests.
DROP = """
import asyncio, os, sys
from swarmstate import DiskStore, Query
from swarmstate.errors import StoreReadOnlyError, StoreUnavailableError

if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)

def fails(error, call):
    try:
        call()
    except error as raised:
        return str(raised)
    raise AssertionError(f"no {error.__name__}")
"""


def run(script: str, *arguments: object) -> None:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stderr, done.returncode) == ("", 0)


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that other users can enter, unlike those of pytest."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    with DiskStore(directory / "state.db") as store:
        store.set("n", "k", "v")
    yield directory
    directory.chmod(0o755)
    shutil.rmtree(directory)


READ_ONLY = """
with DiskStore(sys.argv[1]) as store:
    for _ in range(3):
        assert store.get("n", "k") == "v"
    assert asyncio.run(store.aget("n", "k")) == "v"
    assert store.namespaces() == ["n"]
    for call in (
        lambda: store.set("n", "k", 1),
        lambda: asyncio.run(store.aset("n", "k", 1)),
        lambda: store.copy("n", "m"),
        lambda: store.vacuum(),
        lambda: store.read([Query("n", ttl=5)]),
    ):
        assert "write permission" in fails(StoreReadOnlyError, call)
    assert store.items("n") == [("k", "v")]
"""


def test_a_read_only_file_can_be_read(public: Path) -> None:
    path = public / "state.db"
    public.chmod(0o777)
    path.chmod(0o444)
    content = path.read_bytes()
    run(DROP + READ_ONLY, path)
    assert path.read_bytes() == content
    assert os.listdir(public) == ["state.db"]


def test_a_file_in_a_read_only_directory_can_be_read(public: Path) -> None:
    path = public / "state.db"
    path.chmod(0o666)
    public.chmod(0o555)
    content = path.read_bytes()
    run(DROP + READ_ONLY, path)
    assert path.read_bytes() == content


def test_a_reader_without_permission_sees_what_others_write(public: Path) -> None:
    path = public / "state.db"
    reader = """
with DiskStore(sys.argv[1]) as store:
    for line in sys.stdin:
        print(store.get("n", "k"), flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", DROP + reader, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def seen() -> str:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        assert seen() == "v"
        with DiskStore(path) as store:
            for number in range(5):
                store.set("n", "k", number)
                assert seen() == str(number)
        assert seen() == "4"
        with DiskStore(path) as store:
            store.set("n", "k", "last")
        assert seen() == "last"
        process.communicate()
    assert process.returncode == 0


@pytest.mark.parametrize("with_index", [True, False])
def test_a_log_left_by_a_killed_writer_in_a_read_only_directory(
    public: Path, with_index: bool
) -> None:
    path = public / "state.db"
    killed = """
import os, sys
from swarmstate import DiskStore

store = DiskStore(sys.argv[1])
store.set("n", "k", "newest")
os._exit(0)
"""
    run(killed, path)
    if not with_index:
        (public / "state.db-shm").unlink()
    public.chmod(0o555)
    if with_index:
        run(DROP + 'assert DiskStore(sys.argv[1]).get("n", "k") == "newest"', path)
    else:
        refused = "fails(StoreUnavailableError, lambda: DiskStore(sys.argv[1]))"
        run(f'{DROP}assert "not closed cleanly" in {refused}', path)
    public.chmod(0o755)
    DiskStore(path).close()
    public.chmod(0o555)
    run(DROP + 'assert DiskStore(sys.argv[1]).get("n", "k") == "newest"', path)


def test_places_without_permission(public: Path) -> None:
    (public / "secret.db").touch(mode=0o000)
    run(
        DROP
        + """
directory = sys.argv[1]
assert "permission" in fails(StoreUnavailableError, lambda: DiskStore(directory + "/secret.db"))
assert "permission" in fails(StoreUnavailableError, lambda: DiskStore(directory + "/new.db"))
""",
        public,
    )
    assert sorted(os.listdir(public)) == ["secret.db", "state.db"]


def test_a_full_disk_is_an_error_that_passes(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="file size limits are a matter of POSIX")
    path = tmp_path / "state.db"
    script = """
import resource, sys
from swarmstate import Batch, DiskStore
from swarmstate.errors import StoreUnavailableError

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

with DiskStore(sys.argv[1]) as store:
    store.set("n", "before", 1)
    limit(300_000)
    written = 0
    try:
        while True:
            store.write([Batch("n", put={f"{written:04}": bytes(1000), f"b{written:04}": b""})])
            written += 1
    except StoreUnavailableError as error:
        assert sys.argv[1] in str(error), error
    assert 0 < written < 300
    assert len(store) == 1 + 2 * written
    limit(resource.RLIM_INFINITY)
    store.set("n", "after", bytes(1_000_000))
    assert len(store) == 2 + 2 * written
"""
    run(script, path)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    with DiskStore(path) as store:
        assert store.get("n", "after") == bytes(1_000_000)


def test_what_is_deleted_is_reclaimed_later_where_there_is_little_room(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="file size limits are a matter of POSIX")
    script = """
import os, resource, sys
from swarmstate import Batch, DiskStore

path = sys.argv[1]
with DiskStore(path) as store:
    store.write([Batch("n", put={f"{index:03}": bytes(1000) for index in range(900)})])
    log = os.path.getsize(path + "-wal")
    resource.setrlimit(resource.RLIMIT_FSIZE, (log + 80_000, resource.RLIM_INFINITY))
    store.clear("n")
    assert store.namespaces() == []
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert store.vacuum() > 500_000
"""
    run(script, tmp_path / "state.db")


def test_without_room_to_open_a_file_the_message_says_so(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="file size limits are a matter of POSIX")
    script = """
import resource, sys
from swarmstate import DiskStore
from swarmstate.errors import StoreUnavailableError

resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
try:
    DiskStore(sys.argv[1])
except StoreUnavailableError as error:
    assert "32 kB beside it" in str(error), error
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
with DiskStore(sys.argv[1]) as store:
    assert store.get("n", "k") == 1
"""
    with DiskStore(tmp_path / "state.db") as store:
        store.set("n", "k", 1)
    run(script, tmp_path / "state.db")


# The bytes of the file that SQLite keeps locked while a store is open.
IS_LOCKED = """
import fcntl, sys

with open(sys.argv[1], "r+b") as file:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 510, 0x40000002)
    except BlockingIOError:
        sys.exit(0)
sys.exit("the file is not locked")
"""


@pytest.mark.parametrize("name", ["state.db", "a link", "a link that was there before the file"])
def test_a_second_store_of_a_path_keeps_the_locks_of_the_first(tmp_path: Path, name: str) -> None:
    """Closing any handle on a file gives up the locks of the whole process, as POSIX has it."""
    pytest.importorskip("fcntl", reason="locks of this kind are a matter of POSIX")
    path, first = tmp_path / "state.db", tmp_path / "state.db"
    second = tmp_path / name
    if name != "state.db":
        second.symlink_to("state.db")
    if name == "a link that was there before the file":
        first = second
    with DiskStore(first) as store:
        assert store.path == path.resolve()
        store.set("n", "k", 1)
        run(IS_LOCKED, path)
        with DiskStore(second) as other:
            assert other.get("n", "k") == 1
        run(IS_LOCKED, path)


def test_a_file_is_not_opened_under_a_second_name_meanwhile(tmp_path: Path) -> None:
    """Under each name it has another log, which the other store would not see."""
    pytest.importorskip("fcntl", reason="locks of this kind are a matter of POSIX")
    path, second = tmp_path / "state.db", tmp_path / "second.db"
    with DiskStore(path) as store:
        store.set("n", "k", 1)
        os.link(path, second)
        with pytest.raises(StoreUnavailableError, match=r"same file as .*state\.db"):
            DiskStore(second)
        run(IS_LOCKED, path)
        store.set("n", "k", 2)
    with DiskStore(second) as store:
        assert store.get("n", "k") == 2


def remove(path: Path) -> None:
    path.unlink()


def replace(path: Path) -> None:
    with DiskStore(path.with_name("other.db")) as other:
        other.set("n", "k", "another file's")
    path.with_name("other.db").replace(path)


def rename_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows lets nobody move open files")
@pytest.mark.parametrize("move", [remove, replace, rename_folder])
def test_a_file_that_was_moved_takes_no_more_writes(
    tmp_path: Path, move: Callable[[Path], None]
) -> None:
    path = tmp_path / "folder" / "state.db"
    path.parent.mkdir()
    with DiskStore(path) as store:
        store.set("n", "k", "first")
        move(path)
        # It is noticed after a moment.
        with suppress(StoreUnavailableError):
            while True:
                store.set("n", "lost", 1)
        for call in (
            lambda: store.set("n", "k", "lost"),
            lambda: asyncio.run(store.aset("n", "k", "lost")),
            lambda: store.vacuum(),
        ):
            with pytest.raises(StoreUnavailableError, match="removed, renamed or replaced"):
                call()
        assert store.get("n", "k") == "first"
        if move is rename_folder:
            path.parent.with_name("elsewhere").rename(path.parent)
            store.set("n", "k", "second")
    if move is replace:
        for suffix in ("-wal", "-shm"):
            path.with_name(f"{path.name}{suffix}").unlink()
    expected: dict[Callable[[Path], None], str | None] = {
        remove: None,
        replace: "another file's",
        rename_folder: "second",
    }
    with DiskStore(path) as store:
        assert store.get("n", "k") == expected[move]


@pytest.mark.skipif(sys.platform == "win32", reason="alarms are a matter of POSIX")
def test_a_signal_while_a_lock_is_waited_for_is_raised_before_the_error(tmp_path: Path) -> None:
    script = """
import signal, sys
from swarmstate import DiskStore

signal.signal(signal.SIGALRM, signal.default_int_handler)
with DiskStore(sys.argv[1], timeout=1) as store:
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        store.set("n", "k", 1)
    except KeyboardInterrupt:
        sys.exit()
"""
    path = tmp_path / "state.db"
    DiskStore(path).close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    run(script, path)
    connection.close()

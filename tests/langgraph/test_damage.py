"""Errors name damaged and missing records; nothing else suffers, and nothing is repaired."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.swarmstate import SwarmStateSaver, SwarmStateSerializer
from langgraph.checkpoint.swarmstate.records import encode_checkpoint
from langgraph.checkpoint.swarmstate.testing import Driver, graphs
from langgraph.checkpoint.swarmstate.testing.checkpoints import Branch, at
from swarmstate import Store, dumps
from swarmstate.errors import CheckpointError, StoreFormatError
from swarmstate.sharing import blob_hash, blob_names, seal, unseal

from tests.langgraph.helpers import raw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from swarmstate.base import BaseStore

COUNT = 6


@pytest.fixture(params=["memory", "file"])
def saver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SwarmStateSaver]:
    saver = SwarmStateSaver(tmp_path / "agents.db" if request.param == "file" else None)
    yield saver
    saver.close()


def fresh(driver: Driver) -> Driver:
    """Return a driver whose saver has nothing in memory."""
    assert isinstance(driver.saver, SwarmStateSaver)
    return driver.over(SwarmStateSaver(driver.saver.store))


def store_of(driver: Driver) -> BaseStore:
    assert isinstance(driver.saver, SwarmStateSaver)
    return driver.saver.store


def fill(driver: Driver, thread: str = "t") -> list[Any]:
    """Put checkpoints that share some blobs and own others; oldest first."""
    branch = Branch(driver, thread)
    log: list[str] = []
    for n in range(COUNT):
        log = [*log, f"{thread} {n} " * 3000]
        branch.put(n=n, log=log, page=f"{thread} page {n} " * 300)
        driver.put_writes(branch.config, [("n", n), ("log", ["written " * 20])], f"task {n}")
    return [driver.load(item.config) for item in reversed(driver.list(at(thread)))]


def id_of(item: Any) -> str:
    checkpoint_id: str = item.checkpoint["id"]
    return checkpoint_id


def blob_key(store: BaseStore, value: str) -> str:
    """Return the key of the blob for a large value, or for a large item of a list."""
    [name] = blob_names(("msgpack", (blob_hash(dumps(value)),)))
    [key] = [key for key in raw.keys(store, "t", "blob") if key.endswith(name[4:])]
    return key


def flip_a_bit(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0x10]) + data[middle + 1 :]


DAMAGES: dict[str, Callable[[BaseStore, str], None]] = {
    "flipped": lambda store, key: raw.replace(
        store, "t", key, flip_a_bit(raw.read(store, "t", key))
    ),
    "truncated": lambda store, key: raw.replace(store, "t", key, raw.read(store, "t", key)[:-1]),
    "extended": lambda store, key: raw.replace(store, "t", key, raw.read(store, "t", key) + b"\0"),
    "emptied": lambda store, key: raw.replace(store, "t", key, b""),
}
damages = pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))


def swap(store: BaseStore, key: str) -> None:
    raw.replace(store, "t", key, raw.read(store, "u", raw.keys(store, "u", "blob")[0]))


def delete(store: BaseStore, key: str) -> None:
    raw.delete(store, "t", key)


losses = pytest.mark.parametrize(
    "damage",
    [*DAMAGES.values(), swap, delete],
    ids=[*DAMAGES, "another thread's", "deleted"],
)


@losses
def test_a_damaged_blob_is_named_and_the_rest_is_readable(
    driver: Driver, damage: Callable[[BaseStore, str], None]
) -> None:
    items, others = fill(driver), fill(driver, "u")
    store = store_of(driver)
    key = blob_key(store_of(driver), items[3].checkpoint["channel_values"]["page"])
    damage(store, key)
    before = raw.everything(store)
    for reader in (driver, fresh(driver)):
        for _ in range(2):
            with pytest.raises(CheckpointError) as caught:
                reader.get_tuple(items[3].config)
            for part in ("thread 't'", id_of(items[3]), "'page'", key.removeprefix("blob/")):
                assert part in str(caught.value).replace('"', "'")
        assert [reader.load(each.config) for each in items if each is not items[3]] == [
            each for each in items if each is not items[3]
        ]
        assert reader.list(at("u")) == others[::-1]
        assert reader.load(at()) == items[-1]
    assert raw.everything(store) == before


@losses
def test_a_damaged_segment_of_a_list_is_named_by_all_that_share_it(
    driver: Driver, damage: Callable[[BaseStore, str], None]
) -> None:
    items = fill(driver)
    fill(driver, "u")
    key = blob_key(store_of(driver), items[2].checkpoint["channel_values"]["log"][2])
    damage(store_of(driver), key)
    for reader in (driver, fresh(driver)):
        for item in items[:2]:
            assert reader.load(item.config) == item
        for item in items[2:]:
            with pytest.raises(CheckpointError, match="log") as caught:
                reader.get_tuple(item.config)
            assert id_of(item) in str(caught.value)
            assert key.removeprefix("blob/") in str(caught.value)


@damages
def test_a_damaged_record_is_named_and_the_rest_is_readable(
    driver: Driver, damage: Callable[[BaseStore, str], None]
) -> None:
    items = fill(driver)
    fill(driver, "u")
    store = store_of(driver)
    damage(store, raw.keys(store, "t", "checkpoint")[-1])
    before = raw.everything(store)
    for reader in (driver, fresh(driver)):
        # The latest must not silently become an older one.
        for config in (items[-1].config, at()):
            with pytest.raises(CheckpointError, match=r"thread 't'.*damaged") as caught:
                reader.get_tuple(config)
            assert id_of(items[-1]) in str(caught.value)
        assert [reader.load(item.config) for item in items[:-1]] == items[:-1]
        assert len(reader.list(at("u"))) == COUNT
    assert raw.everything(store) == before


@damages
def test_a_damaged_write_is_named_and_the_rest_is_readable(
    driver: Driver, damage: Callable[[BaseStore, str], None]
) -> None:
    items = fill(driver)
    fill(driver, "u")
    store = store_of(driver)
    key = f"write//{id_of(items[2])}/task 2/1"
    assert key in raw.keys(store, "t", "write")
    damage(store, key)
    for reader in (driver, fresh(driver)):
        with pytest.raises(CheckpointError, match=r"thread 't'.*pending write.*task 2/1") as caught:
            reader.get_tuple(items[2].config)
        assert id_of(items[2]) in str(caught.value)
        for item in (*items[:2], *items[3:]):
            assert reader.load(item.config) == item


@pytest.mark.parametrize("kind", ["checkpoint", "write"])
def test_a_record_under_the_key_of_another_is_damaged(driver: Driver, kind: str) -> None:
    fill(driver)
    store = store_of(driver)
    *_, source, target = raw.keys(store, "t", kind)
    raw.replace(store, "t", target, raw.read(store, "t", source))
    for reader in (driver, fresh(driver)):
        with pytest.raises(CheckpointError, match=r"thread 't'.*damaged"):
            reader.get_tuple(at())


@pytest.mark.parametrize("kind", ["checkpoint", "write", "blob"])
def test_every_bit_of_every_record_counts(kind: str) -> None:
    driver = Driver(SwarmStateSaver(), "sync")
    branch = Branch(driver)
    config = branch.put(n=1, text="small", page="x" * 2100)
    driver.put_writes(config, [("n", 2)], "task")
    store = store_of(driver)
    driver = fresh(driver)
    [key] = raw.keys(store, "t", kind)
    intact = raw.read(store, "t", key)
    for position in range(len(intact)):
        for bit in (0, 3, 7):
            flipped = bytearray(intact)
            flipped[position] ^= 1 << bit
            raw.replace(store, "t", key, bytes(flipped))
            with pytest.raises(CheckpointError, match="damaged"):
                driver.get_tuple(config)
    raw.replace(store, "t", key, intact)
    assert driver.load(config).checkpoint["channel_values"] == branch.values


@pytest.mark.parametrize("kind", ["checkpoint", "write"])
def test_every_bit_of_what_a_delta_channel_is_rebuilt_from_counts(kind: str) -> None:
    driver = Driver(SwarmStateSaver(), "sync")
    branch = Branch(driver)
    branch.put(d=["seed"])
    branch.drop("d")
    driver.put_writes(branch.put(n=1), [("d", 1), ("n", 2)], "task")
    config = branch.put(n=2)
    store = store_of(driver)
    history = driver.delta_history(config, ["d"])
    assert history == {"d": {"seed": ["seed"], "writes": [("task", "d", 1)]}}
    for key in raw.keys(store, "t", kind):
        intact = raw.read(store, "t", key)
        for position in range(len(intact)):
            flipped = bytearray(intact)
            flipped[position] ^= 1 << position % 8
            raw.replace(store, "t", key, bytes(flipped))
            with pytest.raises(CheckpointError, match="damaged"):
                driver.delta_history(config, ["d"])
        raw.replace(store, "t", key, intact)
    assert driver.delta_history(config, ["d"]) == history


def damaged_keys(key: str) -> list[str]:
    """Return the keys that differ from `key` in one bit."""
    flipped = (
        key[:at] + chr(ord(key[at]) ^ 1 << bit) + key[at + 1 :]
        for at in range(len(key))
        for bit in range(7)
    )
    return [found for found in flipped if "\0" not in found]


THREAD_CALLS: list[Callable[[SwarmStateSaver], object]] = [
    lambda saver: list(saver.list(at())),
    lambda saver: list(saver.list(None)),
    lambda saver: saver.threads(),
    lambda saver: saver.stats(),
    lambda saver: saver.copy_thread("t", "copy"),
    lambda saver: saver.prune(["t", "copy"], keep_last=2),
    lambda saver: saver.get_tuple(at()),
]


@pytest.mark.parametrize("kind", ["checkpoint", "write"])
def test_a_bit_of_a_key_does_no_more_than_damage_its_thread(kind: str) -> None:
    memory = SwarmStateSaver()
    whole = Driver(memory, "sync")
    fill(whole)
    items = fill(whole, "u")
    [key, *_] = raw.keys(memory.store, "t", kind)
    record, before = raw.read(memory.store, "t", key), memory.store.snapshot()
    for name in damaged_keys(key):
        memory.store.restore(before)
        raw.delete(memory.store, "t", key)
        raw.replace(memory.store, "t", name, record)
        saver = SwarmStateSaver(memory.store)
        for call in THREAD_CALLS:
            with suppress(CheckpointError):
                call(saver)
        for thread in ("t", "copy"):
            saver.delete_thread(thread)
        assert list(saver.list(None)) == items[::-1]


def test_a_deleted_checkpoint_is_as_if_it_had_been_pruned(driver: Driver) -> None:
    items = fill(driver)
    raw.delete(store_of(driver), "t", raw.keys(store_of(driver), "t", "checkpoint")[3])
    assert driver.get_tuple(items[3].config) is None
    left = [*items[:3], *items[4:]]
    assert driver.list(at()) == left[::-1]
    assert [driver.load(item.config) for item in left] == left


def test_a_listing_ends_at_the_damage_and_can_go_on_behind_it(driver: Driver) -> None:
    items = fill(driver)
    key = blob_key(store_of(driver), items[3].checkpoint["channel_values"]["page"])
    raw.replace(store_of(driver), "t", key, b"\xff")
    saver = driver.saver
    reached: list[Any] = []

    def exhaust() -> None:
        for item in saver.list(at()):
            reached.append(item)

    async def aexhaust() -> None:
        async for item in saver.alist(at()):
            reached.append(item)

    with pytest.raises(CheckpointError, match=r"channel .page.") as caught:
        exhaust() if driver.mode == "sync" else driver.run(aexhaust())
    assert reached == items[:3:-1]
    assert id_of(items[3]) in str(caught.value)
    assert driver.list(at(), limit=2) == items[:3:-1]
    assert driver.list(at(), before=items[3].config) == items[2::-1]
    history = driver._collect(saver, "history", at())
    assert [entry.config for entry in history] == [item.config for item in items[::-1]]


def test_a_history_ends_at_a_damaged_record(driver: Driver) -> None:
    items = fill(driver)
    store = store_of(driver)
    raw.replace(store, "t", raw.keys(store, "t", "checkpoint")[3], b"\xff")
    for name in ("list", "history"):
        with pytest.raises(CheckpointError, match=id_of(items[3])):
            driver._collect(driver.saver, name, at())
        found = driver._collect(driver.saver, name, at(), before=items[3].config)
        assert [each.config for each in found] == [item.config for item in items[2::-1]]


@losses
def test_a_put_after_damage_neither_hides_nor_spreads_it(
    driver: Driver, damage: Callable[[BaseStore, str], None]
) -> None:
    branch = Branch(driver)
    log = [f"{n} " * 3000 for n in range(5)]
    before = branch.put(log=log)
    fill(driver, "u")
    store = store_of(driver)
    key = blob_key(store, log[0])
    damage(store, key)
    damaged = raw.everything(store).get(("langgraph:t", key))
    # The saver knows that the segment is stored and does not send it again.
    after = branch.put(log=[*log, "more " * 300])
    intact = branch.put(log=log[1:])
    assert raw.everything(store).get(("langgraph:t", key)) == damaged
    reader = fresh(driver)
    for config in (before, after):
        with pytest.raises(CheckpointError, match="log") as caught:
            reader.get_tuple(config)
        assert key.removeprefix("blob/") in str(caught.value)
    assert reader.load(intact).checkpoint["channel_values"] == {"log": log[1:]}
    # A saver that has just stored it need not ask the store.
    assert driver.load(before).checkpoint["channel_values"] == {"log": log}
    assert driver.load(intact).checkpoint["channel_values"] == {"log": log[1:]}


def test_a_record_of_a_newer_format_says_what_to_do(driver: Driver) -> None:
    items = fill(driver)
    store = store_of(driver)
    key = raw.keys(store, "t", "checkpoint")[-1]
    content = unseal(raw.read(store, "t", key), key)
    raw.replace(store, "t", key, seal({"v": 2, "something": "else"}, key))
    with pytest.raises(CheckpointError, match=r"format 2.*upgrade") as caught:
        driver.get_tuple(at())
    assert id_of(items[-1]) in str(caught.value)
    assert driver.list(at(), before=items[-1].config) == items[-2::-1]
    parent, body = content["parent"], tuple(content["body"])
    raw.replace(store, "t", key, encode_checkpoint(key, parent, body, content["channels"]))
    assert driver.load(at()) == items[-1]


class Mirror:
    """Encrypts nothing, and claims that it did."""

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        return "mirror", plaintext[::-1]

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        return ciphertext[::-1]


def test_a_thread_of_another_serializer_says_what_to_do() -> None:
    config: RunnableConfig = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    with Store() as store:
        encrypted = SwarmStateSaver(store, serde=EncryptedSerializer(Mirror()))
        stored = encrypted.put(config, empty_checkpoint(), {"source": "input"}, {})
        assert encrypted.get_tuple(config) is not None
        plain = SwarmStateSaver(store)
        for attempt in (
            lambda: plain.get_tuple(config),
            lambda: list(plain.list(config)),
            lambda: list(plain.list(config, filter={"source": "input"})),
            lambda: list(plain.history(config)),
        ):
            with pytest.raises(CheckpointError, match=r"'t' .*mirror.* the serializer that wrote"):
                attempt()
        plain.delete_thread("t")

        stored = plain.put(config, empty_checkpoint(), {}, {})
        pickling = SwarmStateSaver(store, serde=SwarmStateSerializer(pickle_fallback=True))
        pickling.put_writes(stored, [("kind", object)], "task")
        assert pickling.get_tuple(config) is not None
        with pytest.raises(CheckpointError, match=r"task 'task', channel \W+kind\W+ .*pickle"):
            plain.get_tuple(config)
        # The saver may also be one that knows none of our codecs.
        stock = SwarmStateSaver(store, serde=JsonPlusSerializer())
        with pytest.raises(CheckpointError, match=r"task 'task', channel \W+kind\W+ .*pickle"):
            stock.get_tuple(config)


def test_a_missing_ancestor_of_a_delta_channel_is_an_error(driver: Driver) -> None:
    graph: Any = graphs.delta_log(driver.saver)
    for turn in range(5):
        driver.invoke(graph, {"n": turn}, at())
    items = driver.list(at())
    raw.delete(store_of(driver), "t", f"checkpoint//{id_of(items[1])}")
    with pytest.raises(CheckpointError, match=rf"parent '{id_of(items[1])}' is missing"):
        driver.delta_history(items[0].config, ["log"])


def test_a_damaged_sibling_does_not_disturb_a_delta_channel(driver: Driver) -> None:
    graph: Any = graphs.delta_log(driver.saver)
    driver.invoke(graph, {"n": 0}, at())
    fork = driver.load(at()).config
    driver.invoke(graph, {"n": 1}, at())
    sibling = driver.load(at()).config["configurable"]["checkpoint_id"]
    driver.invoke(graph, {"n": 2}, fork)
    newest = driver.load(at())
    before = driver.delta_history(newest.config, ["log"])
    raw.replace(store_of(driver), "t", f"checkpoint//{sibling}", b"\xff")
    assert driver.delta_history(newest.config, ["log"]) == before


def make_unreadable(path: Path, namespace: str) -> None:
    """Damage the keys of a namespace so that the store cannot read any of them."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "UPDATE record SET key = CAST(CAST(key AS BLOB) || x'ff' AS TEXT) "
            "WHERE namespace_id = (SELECT id FROM namespace WHERE name = ?)",
            (namespace,),
        )


@pytest.mark.parametrize("call", ["delete_thread", "prune"])
def test_a_thread_whose_keys_cannot_be_read_can_be_deleted(tmp_path: Path, call: str) -> None:
    path = tmp_path / "agents.db"
    with SwarmStateSaver(path) as saver:
        fill(Driver(saver, "sync"), "t")
        fill(Driver(saver, "sync"), "u")
    make_unreadable(path, "langgraph:t")
    with SwarmStateSaver(path) as saver:
        with pytest.raises(StoreFormatError, match="damaged"):
            saver.get_tuple(at("t"))
        if call == "prune":
            saver.prune(["t"], strategy="delete")
        else:
            saver.delete_thread("t")
        assert saver.threads() == ["u"]
        assert saver.get_tuple(at("t")) is None
        assert len(fill(Driver(saver, "sync"), "t")) == COUNT


def test_an_index_over_threads_that_cannot_be_read_is_done_without(tmp_path: Path) -> None:
    path = tmp_path / "agents.db"
    with SwarmStateSaver(path) as saver:
        for thread in ("t", "u"):
            fill(Driver(saver, "sync"), thread)
    make_unreadable(path, "langgraph-index")
    with SwarmStateSaver(path) as saver:
        assert saver.threads() == ["u", "t"]
        assert len(list(saver.list(None))) == 2 * COUNT
        saver.delete_thread("t")
        assert saver.threads() == ["u"]


def test_a_bit_that_flips_in_the_file_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "agents.db"
    saver = SwarmStateSaver(path)
    items = fill(Driver(saver, "sync"))
    saver.close()
    content = bytearray(path.read_bytes())
    content[content.index(b"t page 3 ") + 1000] ^= 1
    path.write_bytes(content)
    with SwarmStateSaver(path) as saver:
        with pytest.raises(CheckpointError, match="page"):
            saver.get_tuple(items[3].config)
        for item in (*items[:3], *items[4:]):
            assert saver.get_tuple(item.config) == item

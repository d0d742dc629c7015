"""Long-term memory in graphs and next to other data, and what it costs."""

from __future__ import annotations

import asyncio
import itertools
import pickle
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import swarmstate
from langgraph.checkpoint.swarmstate import SwarmStateSerializer
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from langgraph.store.base import GetOp, IndexConfig, ListNamespacesOp, PutOp, SearchOp
from langgraph.store.swarmstate import SwarmStateStore
from swarmstate import Store
from swarmstate.errors import (
    DimensionError,
    EncodeError,
    EncryptionError,
    ItemError,
    StoreReadOnlyError,
)
from swarmstate.layers import EncryptedStore, KeyRing, new_key
from typing_extensions import TypedDict

from tests.langgraph.helpers import crash
from tests.langgraph.helpers.counting import CountingStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


PROCESSES = 4
PUTS = 50


class State(TypedDict):
    said: str
    known: list[str]


def remember(state: State, runtime: Runtime[None]) -> dict[str, Any]:
    assert runtime.store is not None
    runtime.store.put(("users", "ada"), state["said"], {"text": state["said"]})
    found = runtime.store.search(("users", "ada"))
    return {"known": [item.value["text"] for item in found]}


async def aremember(state: State, runtime: Runtime[None]) -> dict[str, Any]:
    assert runtime.store is not None
    await runtime.store.aput(("users", "ada"), state["said"], {"text": state["said"]})
    found = await runtime.store.asearch(("users", "ada"))
    return {"known": [item.value["text"] for item in found]}


def count_letters(texts: Sequence[str]) -> list[list[float]]:
    return [[float(text.count(letter)) for letter in "tea"] for text in texts]


LETTERS: IndexConfig = {"dims": 3, "embed": count_letters}


def graph_with(store: SwarmStateStore, node: Any) -> Any:
    builder = StateGraph(State)
    builder.add_node("remember", node)
    builder.add_edge(START, "remember")
    return builder.compile(store=store)


def test_nodes_remember_across_runs_and_openings(tmp_path: Path) -> None:
    with SwarmStateStore(tmp_path / "memories.db") as store:
        graph = graph_with(store, remember)
        assert graph.invoke({"said": "tea", "known": []})["known"] == ["tea"]
    with SwarmStateStore.from_conn_string(f"disk://{tmp_path / 'memories.db'}") as store:
        store.setup()
        graph = graph_with(store, remember)
        assert graph.invoke({"said": "milk", "known": []})["known"] == ["milk", "tea"]


def test_async_nodes_remember(tmp_path: Path) -> None:
    async def run() -> None:
        async with SwarmStateStore(tmp_path / "memories.db") as store:
            graph = graph_with(store, aremember)
            assert (await graph.ainvoke({"said": "tea", "known": []}))["known"] == ["tea"]
            # Sync calls also work inside a running event loop.
            assert store.get(("users", "ada"), "tea") is not None

    asyncio.run(run())


def add_items(path: Path, number: int, barrier: Any, connection: crash.Connection) -> None:
    barrier.wait()
    with SwarmStateStore(path) as store:
        for n in range(PUTS):
            store.put(("team", f"p{number}"), str(n), {"n": n})
            store.put(("team", "shared"), str(n), {"n": n, "by": number})
    connection.send(number)
    connection.close()


def test_processes_share_one_file(tmp_path: Path) -> None:
    path = tmp_path / "memories.db"
    crash.compete(PROCESSES, add_items, path)
    with SwarmStateStore(path) as store:
        assert store.list_namespaces(prefix=("team",)) == [
            *(("team", f"p{number}") for number in range(PROCESSES)),
            ("team", "shared"),
        ]
        for number in range(PROCESSES):
            found = store.search(("team", f"p{number}"), limit=1000)
            assert sorted(item.value["n"] for item in found) == list(range(PUTS))
        assert len(store.search(("team", "shared"), limit=1000)) == PUTS


def test_a_batch_takes_as_few_round_trips_as_can_be() -> None:
    counting = CountingStore(swarmstate.Store())
    clock = itertools.count()
    store = SwarmStateStore(counting, clock=lambda: float(next(clock)))
    puts = [PutOp(("a", str(n)), "k", {"n": n}) for n in range(5)]
    store.batch(puts)
    assert counting.trips == ["write"]
    counting.reset()
    store.batch([GetOp(("a", str(n)), "k") for n in range(5)])
    assert counting.trips == ["read"]
    counting.reset()
    store.batch(
        [
            SearchOp(("a",)),
            SearchOp(("a",), {"n": 1}),
            SearchOp(("a", "1")),
            GetOp(("a", "2"), "k"),
            ListNamespacesOp(),
            *puts,
        ]
    )
    assert sorted(counting.trips) == ["namespaces"] * 3 + ["read"] * 2 + ["write"]
    counting.reset()
    store.put(("a", "0"), "expires", {"n": 0}, ttl=5)
    assert store.get(("a", "0"), "expires") is not None
    assert counting.trips == ["write", "read", "write"]


def test_a_search_reads_only_what_is_below_its_prefix() -> None:
    class Watching(CountingStore):
        def read(self, queries: Any) -> Any:
            self.trips += [query.namespace for query in queries]
            return super().read(queries)

    watching = Watching(swarmstate.Store())
    store = SwarmStateStore(watching)
    for labels in (("acme",), ("acme", "x"), ("acme-corp",), ("b", "acme")):
        store.put(labels, "k", {})
    watching.reset()
    store.search(("acme",))
    assert set(watching.trips) == {
        "namespaces",
        "read",
        "langgraph-store:acme",
        "langgraph-store:acme.x",
    }


def test_a_store_that_cannot_be_made_leaves_no_file_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []
    close = swarmstate.DiskStore.close

    def closing(store: swarmstate.DiskStore) -> None:
        closed.append(store)
        close(store)

    monkeypatch.setattr(swarmstate.DiskStore, "close", closing)
    index: Any = {"dims": 2}
    with pytest.raises(ValueError, match="embed"):
        SwarmStateStore(tmp_path / "x.db", index=index)
    assert len(closed) == 1
    with swarmstate.DiskStore(tmp_path / "y.db") as mine, pytest.raises(ValueError, match="embed"):
        SwarmStateStore(mine, index=index)
    assert closed[1:] == [mine], "by its owner"


class ReadOnly(CountingStore):
    """Like a standby server, or a file that may not be written."""

    def write(self, batches: Any) -> None:
        raise StoreReadOnlyError("read-only")


def test_a_read_only_store_is_searched_though_what_is_left_over_stays() -> None:
    inner = swarmstate.Store()
    memory = SwarmStateStore(inner, index=LETTERS)
    for key in ("changed", "kept"):
        memory.put(("a",), key, {"text": "tea"})
    SwarmStateStore(inner).put(("a",), "changed", {"text": "milk"})  # without embeddings
    found = SwarmStateStore(ReadOnly(inner), index=LETTERS).search(("a",), query="tea")
    assert [(item.key, item.score is None) for item in found] == [
        ("kept", False),
        ("changed", True),
    ]


def test_items_of_a_read_only_store_are_read_though_they_cannot_be_renewed() -> None:
    inner = swarmstate.Store()
    SwarmStateStore(inner).put(("a",), "k", {"n": 1}, ttl=5)
    found = SwarmStateStore(ReadOnly(inner)).get(("a",), "k")
    assert found is not None
    assert found.value == {"n": 1}


@pytest.mark.parametrize("area", ["created/", "item/", "expiry/"])
def test_damage_is_noticed_and_named(area: str) -> None:
    inner = swarmstate.Store()
    store = SwarmStateStore(inner)
    store.put(("a",), "k", {"n": 1}, ttl=5)
    [name] = inner.keys("langgraph-store:a", area)
    [result] = inner.read([swarmstate.Query("langgraph-store:a", keys=[name])])
    record = result.values[0]
    assert record is not None
    for bit in range(len(record) * 8):
        damaged = bytearray(record)
        damaged[bit // 8] ^= 1 << bit % 8
        inner.write([swarmstate.Batch("langgraph-store:a", put={name: bytes(damaged)})])
        for read in (lambda: store.get(("a",), "k"), lambda: store.search(("a",))):
            with pytest.raises(ItemError, match=r"item 'k' of namespace \('a',\)"):
                read()
    if area == "created/":
        inner.delete("langgraph-store:a", name)
        with pytest.raises(ItemError, match="incomplete"):
            store.get(("a",), "k")


@pytest.mark.parametrize("wanted", [None, {"n": 1}], ids=["all", "filtered"])
def test_a_damaged_item_is_named_among_many_namespaces(wanted: dict[str, Any] | None) -> None:
    inner = swarmstate.Store()
    store = SwarmStateStore(inner)
    for user in range(20):
        for key in ("k", "l"):
            store.put(("users", f"u{user:02}"), key, {"n": 1})
    damaged = swarmstate.Batch("langgraph-store:users.u11", put={"item/k": b"damage"})
    inner.write([damaged, damaged._replace(namespace="langgraph-store:users.u15")])
    for path in ((), ("users",), ("users", "u11")):
        with pytest.raises(ItemError, match=r"item 'k' of namespace \('users', 'u11'\)"):
            store.search(path, filter=wanted, limit=1)
    assert len(store.search(("users", "u12"), filter=wanted)) == 2


def test_a_cancelled_call_leaves_the_store_usable(tmp_path: Path) -> None:
    async def run() -> None:
        async with SwarmStateStore(tmp_path / "memories.db") as store:
            calls = [asyncio.create_task(store.aput(("a",), str(n), {"n": n})) for n in range(50)]
            await asyncio.sleep(0)
            for call in calls[::2]:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            await store.aput(("a",), "last", {"n": -1})
            keys = {item.key for item in await store.asearch(("a",), limit=100)}
            assert {"last", *map(str, range(1, 50, 2))} <= keys

    asyncio.run(run())


def test_arguments_that_are_mistaken_for_others() -> None:
    config: Any
    for config, error in ((60, TypeError), ({"default": 60}, ValueError)):
        with pytest.raises(error, match="default_ttl"):
            SwarmStateStore(ttl=config)
    store = SwarmStateStore()
    text: Any = "text"
    with pytest.raises(TypeError, match="to be a dict, found str"):
        store.put(("a",), "k", text)
    calls: list[Callable[[], object]] = [
        lambda: store.put(text, "k", {}),
        lambda: store.get(text, "k"),
        lambda: store.delete(text, "k"),
        lambda: store.search(text),
        lambda: store.list_namespaces(prefix=text),
        lambda: store.list_namespaces(suffix=text),
    ]
    for call in calls:
        with pytest.raises(TypeError, match="did you mean \\('text',\\)"):
            call()
    assert store.list_namespaces() == []


@pytest.mark.parametrize("wrong", [None, "3", 1.5, [3]], ids=str)
def test_numbers_that_are_none_are_named(wrong: Any) -> None:
    store = SwarmStateStore()
    store.put(("a",), "k", {})
    calls: dict[str, list[Callable[..., object]]] = {
        "limit": [partial(store.search, ()), store.list_namespaces],
        "offset": [partial(store.search, ()), store.list_namespaces],
        "max_depth": [store.list_namespaces] if wrong is not None else [],
    }
    for name, several in calls.items():
        for call in several:
            with pytest.raises(TypeError, match=f"expected {name} to be an integer, found"):
                call(**{name: wrong})


@pytest.mark.parametrize("wrong", [3, None, b"k"], ids=str)
def test_the_key_of_an_operation_must_be_a_string(wrong: Any) -> None:
    store = SwarmStateStore()
    # LangGraph's methods convert keys; an operation has the key that it was made with.
    for op in (GetOp(("a",), wrong), PutOp(("a",), wrong, {}), PutOp(("a",), wrong, None)):
        with pytest.raises(TypeError, match="expected the key of an item to be a string, found"):
            store.batch([PutOp(("a",), "k", {}), op])
    assert store.list_namespaces() == []


@pytest.mark.parametrize("wrong", [3, "kind", ["kind"]], ids=str)
def test_a_filter_must_be_a_dict(wrong: Any) -> None:
    with pytest.raises(TypeError, match="expected filter to be a dict of fields, found"):
        SwarmStateStore().search((), filter=wrong)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("openai:text-embedding-3-small", "index to be a dict .* found str"),
        ({"dims": "3", "embed": count_letters}, "`dims` of index to be a number .* found '3'"),
        ({"dims": 3, "embed": 3}, "`embed` of index to be .* a function .* found int"),
    ],
)
def test_an_index_that_is_none(index: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        SwarmStateStore(index=index)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"text_fields": ["text"]}, "`fields`, found `text_fields`"),
        ({"distance_type": "l2"}, "'cosine', .* found 'l2'"),
        ({"distance_type": "inner_product"}, "'cosine', .* found 'inner_product'"),
    ],
)
def test_an_index_of_another_store_that_would_mean_something_else(other: Any, message: str) -> None:
    index: Any = {**LETTERS, **other}
    with pytest.raises(ValueError, match=message):
        SwarmStateStore(index=index)


def test_an_index_of_another_store_that_means_the_same() -> None:
    index: Any = {**LETTERS, "fields": ["text"], "text_fields": ["text"], "distance_type": "cosine"}
    with SwarmStateStore(index=index) as memory:
        memory.put(("a",), "k", {"text": "tea", "other": "milk"})
        assert memory.search(("a",), query="tea")[0].score == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([1.0, 2.0, 3.0], "one list of numbers for each text, found a list of float"),
        (None, "a list of embeddings, .* found NoneType"),
    ],
)
def test_a_function_that_embeds_otherwise_than_it_should(answer: Any, message: str) -> None:
    with Store() as below:
        right = SwarmStateStore(below, index=LETTERS)
        right.put(("a",), "k", {"text": "tea"})
        config: IndexConfig = {"dims": 3, "embed": lambda texts: answer}
        wrong = SwarmStateStore(below, index=config)
        with pytest.raises(TypeError, match=message):
            wrong.put(("a",), "k", {"text": "milk"})
        assert right.search(("a",), query="tea")[0].value == {"text": "tea"}
        if answer is not None:
            with pytest.raises(TypeError, match=message):
                wrong.search(("a",), query="milk")


def test_items_whose_encryption_key_is_lost_can_be_deleted_and_swept() -> None:
    now = 0.0
    with Store() as below:
        lost, kept = (
            SwarmStateStore(
                EncryptedStore(below, KeyRing({name: new_key()})),
                index=LETTERS,
                clock=lambda: now,
            )
            for name in ("lost", "kept")
        )
        for key in "abc":
            lost.put(("a",), key, {"text": "tea"}, ttl=1)
        with pytest.raises(EncryptionError):
            kept.get(("a",), "a")
        kept.delete(("a",), "a")
        now = 60.0
        assert kept.sweep_ttl() == 2
        assert below.namespaces() == ["langgraph-vectors"]


def test_items_of_another_serializer_are_named() -> None:
    with Store() as below:
        pickling = SwarmStateStore(below, serde=SwarmStateSerializer(pickle_fallback=True))
        with pytest.raises(EncodeError):
            SwarmStateStore(below).put(("a",), "k", {"it": object})
        pickling.put(("a",), "k", {"it": object})
        assert pickling.search(("a",))[0].value == {"it": object}
        for attempt in (
            lambda: SwarmStateStore(below).get(("a",), "k"),
            lambda: SwarmStateStore(below).search(("a",), filter={"it": 1}),
        ):
            with pytest.raises(ItemError, match=r"item 'k' .* another kind.*: pickle\); use the"):
                attempt()


def test_another_model_is_refused_with_advice_that_can_be_followed() -> None:
    with Store() as below:
        SwarmStateStore(below, index=LETTERS).put(("a",), "k", {"text": "tea"})
        config: IndexConfig = {"dims": 1, "embed": lambda texts: [[1.0]]}
        other = SwarmStateStore(below, index=config)
        for attempt in (
            lambda: other.put(("a",), "k", {"text": "milk"}),
            lambda: other.search(("a",), query="milk"),
        ):
            with pytest.raises(DimensionError, match="items in another store") as caught:
                attempt()
            assert (caught.value.stored, caught.value.given) == (3, 1)
            again = pickle.loads(pickle.dumps(caught.value))
            assert str(again) == str(caught.value)

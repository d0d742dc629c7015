"""A history without state: what `list` yields, except large values."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import swarmstate
from langgraph.checkpoint.swarmstate import HistoryEntry, SwarmStateSaver, SwarmStateSerializer
from langgraph.checkpoint.swarmstate.testing import Driver, graphs
from langgraph.checkpoint.swarmstate.testing.checkpoints import Branch, at, thread_of

from tests.langgraph.helpers.counting import CountingStore


@pytest.fixture
def store() -> CountingStore:
    return CountingStore(swarmstate.Store())


def history(driver: Driver, config: Any, **options: Any) -> list[HistoryEntry]:
    return driver._collect(driver.saver, "history", config, **options)


def fill(driver: Driver) -> None:
    for thread in ("t", "u"):
        for ns in ("", "child:1"):
            branch = Branch(driver, thread, ns)
            for n in range(40):
                config = branch.put({"even": n % 2 == 0}, n=n, log=["x" * 3000] * (n % 4))
                driver.put_writes(config, [("n", n)], "task")


def test_it_yields_what_list_yields_whatever_is_selected(driver: Driver) -> None:
    fill(driver)
    middle = driver.list(at("t"))[20].config
    for config in (at("t"), at("t", None), at("t", "child:1"), at("x"), middle, None):
        for options in (
            {},
            {"limit": 7},
            {"limit": 0},
            {"filter": {"even": True}},
            {"filter": {"even": False, "step": 3}},
            {"before": middle},
            {"before": middle, "filter": {"even": True}, "limit": 5},
        ):
            listed = driver.list(config, **options)
            assert history(driver, config, **options) == [
                HistoryEntry(item.config, item.parent_config, item.metadata, item.checkpoint["ts"])
                for item in listed
            ]


def test_the_newest_are_found_in_subgraphs_of_any_name(driver: Driver) -> None:
    spaces = ["", "-inner:1", "inner:1", "été:1"]
    for ns in spaces:
        Branch(driver, ns=ns).put(n=0)
    for limit in range(1, len(spaces) + 1):
        found = driver.list(at("t", None), limit=limit)
        assert [thread_of(item.config)[1] for item in found] == spaces[::-1][:limit]


def test_it_reads_neither_blobs_nor_writes(driver: Driver, store: CountingStore) -> None:
    fill(driver)
    store.reset()
    entries = history(driver, at("t"), limit=20)
    assert store.kinds == {"checkpoint"}
    assert store.trips == ["read", "read"]
    assert [entry.step for entry in entries] == list(range(39, 19, -1))
    driver.list(at("t"), limit=1)
    assert store.kinds == {"checkpoint", "blob", "write"}


def test_a_listing_reads_each_shared_blob_once(driver: Driver, store: CountingStore) -> None:
    branch = Branch(driver)
    for n in range(30):
        branch.put(log=[*branch.values.get("log", ()), f"{n} " * 900])
    store.reset()
    items = driver.list(at(), limit=20)
    assert [len(item.checkpoint["channel_values"]["log"]) for item in items] == [*range(30, 10, -1)]
    blobs = [key for key in store.looked_up if key.startswith("blob/")]
    assert len(blobs) == len(set(blobs)) == 30
    # The keys, then the records, then what these refer to.
    assert store.trips == ["read", "read", "read"]


@pytest.mark.parametrize("is_enabled", [True, False])
def test_a_listing_leaves_the_collector_as_it_was(driver: Driver, is_enabled: bool) -> None:
    fill(driver)
    runs = []

    def note(phase: str, info: dict[str, int]) -> None:
        runs.append(phase)

    gc.collect()
    if not is_enabled:
        gc.disable()
    gc.callbacks.append(note)
    try:
        assert len(driver.list(at("t"))) == 40
        assert gc.isenabled() is is_enabled
        assert runs == [] or is_enabled
    finally:
        gc.callbacks.remove(note)
        gc.enable()


def test_it_decodes_no_channel_value(driver: Driver) -> None:
    class Secret(SwarmStateSerializer):
        def loads_typed(self, data: tuple[str, bytes]) -> Any:
            assert b"secret" not in data[1], "a channel value was decoded"
            return super().loads_typed(data)

    driver.saver.serde = Secret()
    Branch(driver).put(a="secret", b=["secret" * 1000])
    assert len(history(driver, at())) == 1
    with pytest.raises(AssertionError, match="decoded"):
        driver.get_tuple(at())


def test_its_entries_lead_back_to_the_checkpoints(driver: Driver) -> None:
    graph = graphs.agent(driver.saver)
    driver.invoke(graph, {"messages": [("user", "hello")]}, at())
    entries = history(driver, at())
    assert entries[-1].step == -1
    assert entries[-1].source == "input"
    assert entries[-1].parent_config is None
    for entry in entries:
        state = driver.state(graph, entry.config)
        assert (state.created_at, state.metadata) == (entry.ts, entry.metadata)
        assert driver.load(entry.config).checkpoint["id"] == entry.checkpoint_id


def test_it_can_pause_while_others_write(driver: Driver) -> None:
    branch = Branch(driver)
    for n in range(100):
        branch.put(n=n)
    saver = driver.saver
    assert isinstance(saver, SwarmStateSaver)
    entries = saver.history(at())
    assert next(entries).step == 99
    branch.put(n=100)
    driver.delete_thread("u")
    assert [entry.step for entry in entries] == list(range(98, -1, -1))

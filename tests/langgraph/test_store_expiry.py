"""Expiring items of long-term memory: renewed when read, and swept."""

from __future__ import annotations

import asyncio
import math
import re
import threading
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import swarmstate
from langgraph.store.base import IndexConfig
from langgraph.store.swarmstate import SwarmStateStore
from swarmstate.errors import ItemError, StoreUnavailableError

from tests.langgraph.helpers.racing import RacingStore


def test_default_ttl_and_refresh_come_from_the_config() -> None:
    now = [0.0]
    store = SwarmStateStore(ttl={"default_ttl": 1, "refresh_on_read": False}, clock=lambda: now[0])
    store.put(("a",), "default", {})
    store.put(("a",), "own", {}, ttl=10)
    store.put(("a",), "never", {}, ttl=None)
    now[0] = 59.0
    assert store.get(("a",), "default") is not None
    now[0] = 60.0
    assert {item.key for item in store.search(("a",))} == {"own", "never"}
    now[0] = 599.0
    assert store.get(("a",), "own", refresh_ttl=True) is not None
    now[0] = 1000.0
    assert store.get(("a",), "own") is not None


def test_a_namespace_is_listed_as_long_as_any_of_its_items_lives() -> None:
    now = [0.0]
    store = SwarmStateStore(clock=lambda: now[0])
    lives: dict[str, list[float | None]] = {
        "first": [9, 1, 1],
        "last": [1, 1, 9],
        "for ever": [1, None, 1],
        "none": [1, 1, 1],
        "unlimited": [None],
    }
    for label, minutes in lives.items():
        for number, ttl in enumerate(minutes):
            # A slash is escaped in the key of an expiry, so these come in another order there.
            store.put((label,), f"{number}/k", {}, ttl=ttl)
    assert len(store.list_namespaces()) == len(lives)
    now[0] = 60.0
    assert store.list_namespaces() == [("first",), ("for ever",), ("last",), ("unlimited",)]
    now[0] = 540.0
    assert store.list_namespaces() == [("for ever",), ("unlimited",)]


@pytest.mark.parametrize("winner", ["put", "put for ever", "delete"])
def test_reading_never_undoes_what_others_wrote_meanwhile(winner: str) -> None:
    now = [0.0]
    racing = RacingStore(swarmstate.Store())
    store = SwarmStateStore(racing, clock=lambda: now[0])
    other = SwarmStateStore(racing.inner, clock=lambda: now[0])
    for key in ("before", "raced", "zuletzt"):
        store.put(("a",), key, {"by": "us"}, ttl=10)
    now[0] = 60.0

    def race() -> None:
        if winner == "delete":
            other.delete(("a",), "raced")
        else:
            other.put(("a",), "raced", {"by": "them"}, ttl=1 if winner == "put" else None)

    racing.before_write = race
    assert len(store.search(("a",))) == 3
    now[0] = 659.0
    # The others were renewed; the raced one is unchanged.
    found = {item.key: item.value["by"] for item in other.search(("a",), refresh_ttl=False)}
    expected = {"before": "us", "zuletzt": "us"}
    if winner == "put for ever":
        expected["raced"] = "them"
    assert found == expected
    now[0] = 660.0
    assert "raced" not in {item.key for item in other.search(("a",))} or winner == "put for ever"


def test_reading_by_a_slower_clock_takes_no_time_from_an_item() -> None:
    now = [100.0]
    inner = swarmstate.Store()
    store = SwarmStateStore(inner, clock=lambda: now[0])
    slower = SwarmStateStore(inner, clock=lambda: now[0] - 30)
    store.put(("a",), "k", {}, ttl=1)
    assert slower.get(("a",), "k") is not None
    now[0] = 159.0
    assert store.get(("a",), "k") is not None


@pytest.mark.parametrize("use", ["put", "read"])
def test_a_sweep_never_removes_what_others_use_meanwhile(use: str) -> None:
    now = [0.0]
    racing = RacingStore(swarmstate.Store())
    store = SwarmStateStore(racing, clock=lambda: now[0])
    # The other's clock is slightly behind, so to it the item is still alive.
    other = SwarmStateStore(racing.inner, clock=lambda: now[0] - 1)
    for key in ("before", "raced", "zuletzt"):
        store.put(("a",), key, {"by": "us"}, ttl=1)
    now[0] = 60.0

    def race() -> None:
        if use == "put":
            other.put(("a",), "raced", {"by": "them"}, ttl=1)
        else:
            assert other.get(("a",), "raced") is not None

    racing.before_write = race
    store.sweep_ttl()
    assert [item.key for item in store.search(("a",))] == ["raced"]


def test_a_sweep_keeps_the_embeddings_of_what_others_renew_meanwhile() -> None:
    now = [0.0]
    racing = RacingStore(swarmstate.Store())
    index: IndexConfig = {"dims": 2, "embed": lambda texts: [[1.0, float(len(t))] for t in texts]}
    store = SwarmStateStore(racing, index=index, clock=lambda: now[0])
    # The other's clock is slightly behind, so to it the item is still alive.
    other = SwarmStateStore(racing.inner, index=index, clock=lambda: now[0] - 1)
    for key in ("gone", "renewed"):
        store.put(("a",), key, {"text": key}, ttl=1)
    now[0] = 60.0

    def renew() -> None:
        assert other.get(("a",), "renewed") is not None

    racing.before_write = renew
    store.sweep_ttl()
    found = store.search(("a",), query="renewed", refresh_ttl=False)
    assert [(item.key, item.score is None) for item in found] == [("renewed", False)]


def test_the_sweeper_runs_until_it_is_stopped() -> None:
    now = [0.0]
    inner = swarmstate.Store()
    store = SwarmStateStore(inner, clock=lambda: now[0])
    swept = threading.Event()

    class Watching(RacingStore):
        def write(self, batches: Any) -> None:
            super().write(batches)
            swept.set()

    watched = SwarmStateStore(Watching(inner), clock=lambda: now[0])
    store.put(("a",), "k", {}, ttl=1)
    now[0] = 60.0
    ended = watched.start_ttl_sweeper(0.001)
    assert watched.start_ttl_sweeper(1) is ended
    assert swept.wait(60)
    assert inner.namespaces() == []
    assert watched.stop_ttl_sweeper(60)
    assert ended.cancelled()
    assert watched.stop_ttl_sweeper()
    again = watched.start_ttl_sweeper(0.001)
    assert not again.done(), "it has been started anew"
    watched.close()
    assert again.done()
    assert not [each for each in threading.enumerate() if each.name == "swarmstate-sweeper"]


def test_the_sweeper_ends_with_an_async_close_though_its_store_stays_open() -> None:
    inner = swarmstate.Store()
    store = SwarmStateStore(inner)
    ended = store.start_ttl_sweeper()
    asyncio.run(store.aclose())
    assert ended.done()
    assert store.stop_ttl_sweeper(60)
    inner.set("n", "k", 1)


def test_the_sweeper_goes_on_after_a_sweep_that_failed(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    racing = RacingStore(swarmstate.Store())
    store = SwarmStateStore(racing, clock=lambda: now[0])
    store.put(("a",), "k", {}, ttl=1)
    now[0] = 60.0
    swept = threading.Event()

    def fail() -> None:
        racing.before_write = swept.set
        raise StoreUnavailableError("the server restarts")

    racing.before_write = fail
    store.start_ttl_sweeper(0.001)
    assert swept.wait(60)
    assert store.stop_ttl_sweeper(60)
    assert racing.inner.namespaces() == []
    [failure] = [record for record in caplog.records if record.exc_info]
    assert "retrying in" in failure.getMessage()


@pytest.mark.parametrize("minutes", [0, -1, math.nan, math.inf])
def test_an_interval_of_the_sweeper_that_makes_no_sense(minutes: float) -> None:
    ttl: Any = {"sweep_interval_minutes": minutes}
    for store, said in ((SwarmStateStore(), minutes), (SwarmStateStore(ttl=ttl), None)):
        with pytest.raises(ValueError, match="interval"):
            store.start_ttl_sweeper(said)
        assert store.stop_ttl_sweeper()


@pytest.mark.parametrize("minutes", [0, -1, math.nan])
def test_a_default_that_keeps_nothing_is_refused(minutes: float) -> None:
    with pytest.raises(ValueError, match="expected default_ttl to be a positive number"):
        SwarmStateStore(ttl={"default_ttl": minutes})


@pytest.mark.parametrize("wrong", ["60", [60], timedelta(hours=1)], ids=["text", "list", "time"])
def test_minutes_that_are_no_number_are_named(wrong: Any) -> None:
    found = f"to be a number of minutes, found {re.escape(repr(wrong))}"
    for name in ("default_ttl", "sweep_interval_minutes"):
        config: Any = {name: wrong}
        with pytest.raises(TypeError, match=f"expected {name} {found}"):
            SwarmStateStore(ttl=config)
    store = SwarmStateStore()
    with pytest.raises(TypeError, match=f"expected ttl {found}"):
        store.put(("a",), "k", {}, ttl=wrong)
    assert store.list_namespaces() == []
    with pytest.raises(TypeError, match=f"expected sweep_interval_minutes {found}"):
        store.start_ttl_sweeper(wrong)
    assert store.stop_ttl_sweeper()


def test_minutes_may_be_a_number_of_any_kind() -> None:
    now = [0.0]
    store = SwarmStateStore(clock=lambda: now[0])
    kinds: list[Any] = [2, 2.0, Decimal(2), Fraction(2), np.float32(2)]
    for number, minutes in enumerate(kinds):
        store.put(("a",), str(number), {}, ttl=minutes)
    now[0] = 119.0
    assert len(store.search(("a",), refresh_ttl=False)) == len(kinds)
    now[0] = 120.0
    assert store.search(("a",)) == []


def test_minutes_may_be_more_than_any_clock_knows() -> None:
    store = SwarmStateStore(clock=lambda: 0.0)
    endless: Any = Fraction(10**5000)
    store.put(("a",), "kept", {}, ttl=endless)
    store.put(("a",), "gone", {}, ttl=-endless)
    assert [item.key for item in store.search(("a",))] == ["kept"]
    ended = store.start_ttl_sweeper(10**9)
    assert store.stop_ttl_sweeper()
    assert ended.cancelled()


def test_the_sweeper_ends_with_a_store_that_others_close() -> None:
    inner = swarmstate.Store()
    store = SwarmStateStore(inner)
    ended = store.start_ttl_sweeper(0.001)
    inner.close()
    ended.result(60)
    assert store.stop_ttl_sweeper(60)


@pytest.mark.parametrize("name", ["expiry/k", "expiry/k/soon", "expiry/k/1/2"])
def test_the_damaged_key_of_an_expiry_is_named(name: str) -> None:
    inner = swarmstate.Store()
    store = SwarmStateStore(inner)
    store.put(("a",), "k", {"n": 1}, ttl=5)
    [key] = inner.keys("langgraph-store:a", "expiry/")
    inner.set("langgraph-store:a", name, inner.get("langgraph-store:a", key))
    for call in (store.sweep_ttl, lambda: store.search(("a",))):
        with pytest.raises(ItemError, match=rf"'langgraph-store:a'.*damaged key '{name}'"):
            call()

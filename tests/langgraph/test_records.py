"""The records that the saver leaves in its store, and how many requests it makes."""

from __future__ import annotations

from typing import Any

import pytest
import swarmstate
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from langgraph.checkpoint.swarmstate.testing import Driver, graphs
from langgraph.checkpoint.swarmstate.testing.checkpoints import (
    Branch,
    at,
    make_checkpoint,
    make_metadata,
)
from swarmstate.errors import SwarmStateError

from tests.langgraph.helpers.counting import CountingStore
from tests.langgraph.helpers.raw import everything


@pytest.fixture
def store() -> CountingStore:
    return CountingStore(swarmstate.Store())


def fill(driver: Driver, thread: str) -> None:
    """Put checkpoints with writes, runs, forks and subgraphs into a thread."""
    for ns in ("", "child:1"):
        branch = Branch(driver, thread, ns)
        for n in range(4):
            config = branch.put({"run_id": f"{thread}/r%{n}"}, n=n, log=[f"{n}" * 3000] * 3)
            driver.put_writes(config, [("n", n), ("log", ["w" * 3000])], f"task{n}")
        branch.fork().put(n=-1)
    driver.put_writes(at(thread, "", "not put yet"), [("n", 1)], "task")


def test_delete_thread_leaves_no_record(driver: Driver, store: CountingStore) -> None:
    fill(driver, "t")
    before = everything(store)
    fill(driver, "u")
    assert len(everything(store)) > len(before)
    driver.delete_thread("u")
    assert everything(store) == before
    driver.delete_thread("t")
    assert everything(store) == {}
    driver.delete_thread("t")
    assert everything(store) == {}


def test_pruning_all_leaves_no_record(driver: Driver, store: CountingStore) -> None:
    fill(driver, "t")
    fill(driver, "u")
    driver.prune(["t", "u"], strategy="delete")
    assert everything(store) == {}


def test_pruning_frees_what_is_no_longer_reached(driver: Driver, store: CountingStore) -> None:
    branch = Branch(driver)
    for n in range(30):
        config = branch.put(kept=["kept" * 3000], n=n, changing=f"{n:04}" * 5000)
        driver.put_writes(config, [("changing", f"{n:04}" * 5000)], "task")
    before = sum(map(len, everything(store).values()))
    driver.prune(["t"])
    after = sum(map(len, everything(store).values()))
    assert after < before / 10
    assert b"0003" * 100 not in b"".join(everything(store).values())
    assert driver.load(at()).checkpoint["channel_values"] == branch.values


def test_deleted_runs_free_what_is_no_longer_reached(driver: Driver, store: CountingStore) -> None:
    branch = Branch(driver)
    for n in range(10):
        config = branch.put({"run_id": f"r{n}"}, kept=["kept" * 3000], changing=f"{n:04}" * 5000)
        driver.put_writes(config, [("changing", f"{n:04}" * 5000)], "task")
    driver.delete_for_runs([f"r{n}" for n in range(9)])
    assert b"0003" * 100 not in b"".join(everything(store).values())
    assert driver.load(at()).checkpoint["channel_values"] == branch.values
    driver.delete_for_runs(["r9"])
    assert everything(store) == {}


def test_unchanged_values_are_stored_once(driver: Driver, store: CountingStore) -> None:
    branch = Branch(driver)
    branch.put(document="0123456789" * 100_000, n=0)
    once = sum(map(len, everything(store).values()))
    for n in range(20):
        branch.put(n=n)
    assert sum(map(len, everything(store).values())) < once * 1.5


def test_a_failed_put_leaves_no_record(driver: Driver, store: CountingStore) -> None:
    with pytest.raises(SwarmStateError, match="object"):
        driver.put(at(), make_checkpoint({"a": "x" * 9999, "b": object()}), make_metadata(), {})
    with pytest.raises(SwarmStateError, match="object"):
        driver.put_writes(at("t", "", "id"), [("a", 1), ("b", object())], "task")
    assert everything(store) == {}


def test_an_assigned_cipher_leaves_no_plain_value(driver: Driver, store: CountingStore) -> None:
    class Mirror:
        def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
            return "mirror", bytes(255 - byte for byte in plaintext)

        def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
            return bytes(255 - byte for byte in ciphertext)

    driver.saver.serde = EncryptedSerializer(Mirror(), JsonPlusSerializer())
    branch = Branch(driver)
    branch.put(secret="SECRET", more=["SECRET" * 1000], deep={"a": ["SECRET"]})
    driver.put_writes(branch.config, [("secret", "SECRET"), ("more", ["SECRET" * 999])], "task")
    assert driver.load(at()).checkpoint["channel_values"] == branch.values
    assert b"SECRET" not in b"".join(everything(store).values())


class TestRoundTrips:
    """Each call makes one or two requests to the store, however much it holds."""

    def test_put_and_put_writes_cost_one(self, driver: Driver, store: CountingStore) -> None:
        branch = Branch(driver)
        branch.put(n=0, log=["x" * 5000] * 5)
        for n in range(1, 4):
            store.reset()
            branch.put(n=n, log=[*branch.values["log"], "y" * 5000])
            assert store.trips == ["write"]
            store.reset()
            driver.put_writes(branch.config, [("n", n), ("log", ["z" * 5000])], "task")
            assert store.trips == ["write"]

    def test_get_tuple_costs_at_most_two(self, driver: Driver, store: CountingStore) -> None:
        fill(driver, "t")
        fresh = driver.over(SwarmStateSaver(store))
        for reader in (driver, fresh):
            for config in (at("t"), reader.load(at("t", "child:1")).config):
                store.reset()
                reader.load(config)
                assert 1 <= len(store.trips) <= 2
                assert set(store.trips) == {"read"}

    @pytest.mark.parametrize("turns", [5, 60])
    def test_delta_history_costs_at_most_two(
        self, driver: Driver, store: CountingStore, turns: int
    ) -> None:
        graph: Any = graphs.delta_log(driver.saver)
        for turn in range(turns):
            driver.invoke(graph, {"n": turn}, at())
        config = driver.load(at()).config
        fresh = driver.over(SwarmStateSaver(store))
        for reader in (driver, fresh):
            store.reset()
            history = reader.delta_history(config, ["log", "n"])
            assert 1 <= len(store.trips) <= 2
            assert history["log"]["writes"]

    def test_delta_history_without_a_seed_costs_at_most_two(
        self, driver: Driver, store: CountingStore
    ) -> None:
        branch = Branch(driver)
        for n in range(200):
            driver.put_writes(branch.put(n=n), [("d", n)], "task")
        store.reset()
        found = driver.delta_history(branch.config, ["d"])
        assert [value for _, _, value in found["d"]["writes"]] == list(range(199))
        assert len(store.trips) <= 2

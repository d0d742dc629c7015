"""LangGraph's checkpointer on Redis: its contract and the conformance suite."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from langgraph.checkpoint.swarmstate.testing import Driver, Mode, SaverContract, graphs
from langgraph.checkpoint.swarmstate.testing.checkpoints import Branch, at
from swarmstate import Query, Result
from swarmstate.errors import StoreIncompleteError
from swarmstate_redis import RedisStore

from tests.langgraph.helpers.conformance import assert_full_conformance
from tests.redis.test_contract import prefix_of
from tests.servers.redis import RedisServer


class TestSaver(SaverContract):
    """Savers by URL; a second one opens it again."""

    @pytest.fixture(autouse=True)
    def _server(self, redis_server: RedisServer) -> None:
        self.server = redis_server

    def make_saver(self, tmp_path: Path) -> BaseCheckpointSaver[Any]:
        return SwarmStateSaver(f"{self.server.url()}?prefix={prefix_of(tmp_path)}")

    def reopen(self, saver: BaseCheckpointSaver[Any], tmp_path: Path) -> BaseCheckpointSaver[Any]:
        return self.make_saver(tmp_path)

    def close_saver(self, saver: BaseCheckpointSaver[Any]) -> None:
        assert isinstance(saver, SwarmStateSaver)
        saver.close()


def evict(server: RedisServer, data: str, part: str) -> None:
    """Make a server lose the hash of a namespace, or the index of its keys."""
    assert server.execute("DEL", data if part == "data" else f"{{{data}}}:keys") == 1


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("part", ["data", "index"])
def test_a_thread_of_which_a_part_was_evicted_can_be_deleted(
    redis_server: RedisServer, tmp_path: Path, part: str, mode: str
) -> None:
    prefix = prefix_of(tmp_path)
    with SwarmStateSaver(f"{redis_server.url()}?prefix={prefix}") as saver:
        graph = graphs.counter(saver)
        for thread in ("other", "evicted"):
            graph.invoke({"n": 0}, at(thread))
        evict(redis_server, f"{prefix}:langgraph:evicted", part)
        with pytest.raises(StoreIncompleteError):
            saver.get_tuple(at("evicted"))
        if mode == "sync":
            saver.delete_thread("evicted")
        else:
            asyncio.run(saver.adelete_thread("evicted"))
        assert saver.get_tuple(at("evicted")) is None
        assert saver.threads() == ["other"]
        assert {found.config["configurable"]["thread_id"] for found in saver.list(None)} == {
            "other"
        }
        graph.invoke({"n": 0}, at("evicted"))
        assert graph.get_state(at("evicted")).values == graph.get_state(at("other")).values
        assert saver.threads() == ["evicted", "other"]


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("part", ["data", "index"])
def test_a_saver_goes_on_when_a_part_of_the_index_over_threads_was_evicted(
    redis_server: RedisServer, tmp_path: Path, part: str, mode: Mode
) -> None:
    prefix = prefix_of(tmp_path)
    with (
        SwarmStateSaver(f"{redis_server.url()}?prefix={prefix}") as saver,
        closing(Driver(saver, mode)) as driver,
    ):
        branches = {name: Branch(driver, name) for name in ("a", "b", "c")}
        for name, branch in branches.items():
            branch.put({"run_id": f"first of {name}"}, n=0)

        evict(redis_server, f"{prefix}:langgraph-index", part)
        branches["b"].put({"run_id": "second of b"}, n=1)
        assert saver.threads() == ["b", "c", "a"]
        assert driver.load(at("b")).checkpoint["channel_values"] == {"n": 1}
        assert len(driver.list(None)) == 4
        # Runs that only the lost part knew are found, too.
        driver.delete_for_runs(["first of a", "first of b"])
        assert saver.threads() == ["b", "c"]
        assert len(driver.list(None)) == 2

        evict(redis_server, f"{prefix}:langgraph-index", part)
        assert saver.threads() == ["b", "c"]
        driver.delete_for_runs(["first of c"])
        driver.copy_thread("b", "d")
        evict(redis_server, f"{prefix}:langgraph-index", part)
        driver.delete_thread("b")
        assert saver.threads() == ["d"]
        branches["d"] = Branch(driver, "d")
        branches["d"].put(n=2)
        evict(redis_server, f"{prefix}:langgraph-index", part)
        assert saver.prune(["d"]).checkpoints == 1
        assert saver.threads() == ["d"]


@pytest.mark.parametrize("part", ["data", "index"])
def test_a_thread_of_which_a_part_was_evicted_is_named_among_all(
    redis_server: RedisServer, tmp_path: Path, part: str
) -> None:
    prefix = prefix_of(tmp_path)
    with SwarmStateSaver(f"{redis_server.url()}?prefix={prefix}") as saver:
        driver = Driver(saver, "sync")
        for name in ("a", "evicted", "c"):
            Branch(driver, name).put(n=0)
        evict(redis_server, f"{prefix}:langgraph:evicted", part)
        assert saver.threads() == ["c", "a", "evicted"]
        assert saver.threads(limit=2) == ["c", "a"]
        with pytest.raises(StoreIncompleteError, match="langgraph:evicted"):
            list(saver.list(None))
        saver.prune(["evicted"], strategy="delete")
        assert saver.threads() == ["c", "a"]


def test_many_threads_that_the_index_lacks_are_asked_for_in_parts(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    url = f"{redis_server.url()}?prefix={prefix_of(tmp_path)}"
    asked: list[int] = []

    class Observed(RedisStore):
        def read(self, queries: Sequence[Query]) -> list[Result]:
            asked.append(len(queries))
            return super().read(queries)

    with Observed(url) as store, SwarmStateSaver(store) as saver:
        driver = Driver(saver, "sync")
        for number in range(200):
            Branch(driver, f"{number}").put(n=number)
        store.clear("langgraph-index")
        asked.clear()
        assert saver.threads(limit=2) == ["199", "198"]
        assert max(asked) <= 64


@pytest.mark.parametrize("kind", ["standalone", "cluster"])
def test_all_capabilities_pass(
    kind: str, redis_server: RedisServer, redis_cluster: list[RedisServer], tmp_path: Path
) -> None:
    urls = {
        "standalone": f"{redis_server.url()}?",
        "cluster": f"{redis_cluster[1].url()}?cluster=true&",
    }

    def make(name: str) -> SwarmStateSaver:
        return SwarmStateSaver(f"{urls[kind]}prefix={prefix_of(tmp_path)}-{name}")

    assert_full_conformance(f"SwarmStateSaver, Redis, {kind}", make)

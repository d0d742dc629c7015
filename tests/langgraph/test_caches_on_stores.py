"""Caches of nodes and of language models on every kind of store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.globals import get_llm_cache, set_llm_cache
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.cache.memory import InMemoryCache
from langgraph.cache.swarmstate import SwarmStateCache, SwarmStateLLMCache
from swarmstate import Store
from swarmstate.layers import EncryptedStore, KeyRing, new_key

from tests.langgraph.test_cache import CACHE_OPERATIONS, graph_with
from tests.servers.stores import Stores


@pytest.fixture
def _llm_cache_is_restored() -> Iterator[None]:
    before = get_llm_cache()
    yield
    set_llm_cache(before)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_generated_operations_do_what_they_do_in_memory(stores: Stores, mode: str) -> None:
    loop = asyncio.new_event_loop()
    store = stores.open()

    # All examples share the store, which is cleared before each.
    @settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(CACHE_OPERATIONS, max_size=12))
    def compare(operations: list[tuple[str, Any]]) -> None:
        ours, theirs = SwarmStateCache[int](store), InMemoryCache[int]()
        for name, argument in [("clear", None), *operations]:
            expected = getattr(theirs, name)(argument)
            if mode == "sync":
                assert getattr(ours, name)(argument) == expected
            else:
                assert loop.run_until_complete(getattr(ours, f"a{name}")(argument)) == expected

    try:
        compare()
        loop.run_until_complete(store.aclose())
    finally:
        loop.close()


def test_graphs_share_what_their_nodes_returned(stores: Stores) -> None:
    calls: list[int] = []
    graphs = [graph_with(SwarmStateCache[Any](stores.open()), calls) for _ in range(2)]
    for graph in graphs:
        assert graph.invoke({"n": 3})["square"] == 9
    assert calls == [3]
    graphs[1].clear_cache(nodes=["square"])
    assert graphs[0].invoke({"n": 3})["square"] == 9
    assert calls == [3, 3]

    async def run() -> None:
        store = stores.open()
        graph = graph_with(SwarmStateCache[Any](store), calls)
        assert (await graph.ainvoke({"n": 3}))["square"] == 9
        assert (await graph.ainvoke({"n": 4}))["square"] == 16
        await graph.aclear_cache()
        assert (await graph.ainvoke({"n": 4}))["square"] == 16
        await store.aclose()

    asyncio.run(run())
    assert calls == [3, 3, 4, 4]


def test_what_nodes_returned_expires(stores: Stores) -> None:
    cache = SwarmStateCache[int](stores.open())
    key = (("ns",), "k")
    cache.set({key: (1, 3600), (("ns",), "l"): (2, None)})
    assert cache.get([key]) == {key: 1}
    cache.clear([("ns",)])
    calls: list[int] = []
    graph = graph_with(SwarmStateCache[Any](stores.open()), calls, ttl=1)
    graph.invoke({"n": 3})
    stores.let_expire()
    graph.invoke({"n": 3})
    assert calls == [3, 3]


@pytest.mark.usefixtures("_llm_cache_is_restored")
def test_models_are_asked_once(stores: Stores) -> None:
    answers = iter(AIMessage(text, response_metadata={"n": {"x": 1}}) for text in "abcdef")
    model = GenericFakeChatModel(messages=answers)
    set_llm_cache(SwarmStateLLMCache(stores.open()))
    assert model.invoke("hello").content == "a"
    cache = SwarmStateLLMCache(stores.open(), ttl=0.2)
    set_llm_cache(cache)
    again = model.invoke("hello")
    assert (again.content, again.response_metadata) == ("a", {"n": {"x": 1}})
    assert model.invoke("other").content == "b"
    cache.clear()
    assert model.invoke("hello").content == "c"
    stores.let_expire()
    assert model.invoke("hello").content == "d"

    async def run() -> None:
        store = stores.open()
        set_llm_cache(SwarmStateLLMCache(store))
        assert (await model.ainvoke("later")).content == "e"
        assert (await model.ainvoke("later")).content == "e"
        await store.aclose()

    asyncio.run(run())


def test_what_a_layer_cannot_read_is_missing(caplog: pytest.LogCaptureFixture) -> None:
    inner = Store()
    SwarmStateCache[int](inner).set({(("n",), "plain"): (1, None)})
    cache = SwarmStateCache[int](EncryptedStore(inner, KeyRing({"new": new_key()})))
    cache.set({(("n",), "encrypted"): (2, None)})
    wanted = [(("n",), "plain"), (("n",), "encrypted"), (("n",), "absent")]
    assert cache.get(wanted) == {wanted[1]: 2}
    assert "plain" in caplog.text
    cache.set({wanted[0]: (3, None)})
    assert cache.get(wanted) == {wanted[0]: 3, wanted[1]: 2}

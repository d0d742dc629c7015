"""Caches of nodes and of language models: in graphs, across processes, over time."""

from __future__ import annotations

import asyncio
import pickle
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import swarmstate
from hypothesis import example, given
from hypothesis import strategies as st
from langchain_core.globals import get_llm_cache, set_llm_cache
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import (
    ChatGeneration,
    ChatGenerationChunk,
    Generation,
    GenerationChunk,
)
from langgraph.cache.memory import InMemoryCache
from langgraph.cache.swarmstate import SwarmStateCache, SwarmStateLLMCache
from langgraph.checkpoint.swarmstate import SwarmStateSerializer
from langgraph.graph import START, StateGraph
from langgraph.types import CachePolicy
from swarmstate.errors import EncodeError, StoreUnavailableError
from typing_extensions import TypedDict

from tests.langgraph.helpers import crash
from tests.langgraph.helpers.counting import CountingStore
from tests.servers.away import Away

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class State(TypedDict):
    n: int
    square: int


def graph_with(cache: Any, calls: list[int], ttl: int | None = None) -> Any:
    def square(state: State) -> dict[str, Any]:
        calls.append(state["n"])
        return {"square": state["n"] ** 2}

    builder = StateGraph(State)
    builder.add_node("square", square, cache_policy=CachePolicy(ttl=ttl))
    builder.add_edge(START, "square")
    return builder.compile(cache=cache)


def test_a_graph_finds_what_its_nodes_returned(tmp_path: Path) -> None:
    calls: list[int] = []
    for _ in range(2):
        with SwarmStateCache[Any](tmp_path / "cache.db") as cache:
            graph = graph_with(cache, calls)
            assert graph.invoke({"n": 3})["square"] == 9
            assert asyncio.run(graph.ainvoke({"n": 3}))["square"] == 9
            assert graph.invoke({"n": 4})["square"] == 16
    assert calls == [3, 4]
    with SwarmStateCache[Any](tmp_path / "cache.db") as cache:
        graph = graph_with(cache, calls)
        graph.clear_cache(nodes=["square"])
        assert graph.invoke({"n": 3})["square"] == 9
        assert calls == [3, 4, 3]
        asyncio.run(graph.aclear_cache())
        assert graph.invoke({"n": 3})["square"] == 9
    assert calls == [3, 4, 3, 3]


def test_what_a_node_returned_expires() -> None:
    now = [0.0]
    calls: list[int] = []
    cache = SwarmStateCache[Any](swarmstate.Store(clock=lambda: now[0]))
    graph = graph_with(cache, calls, ttl=10)
    for time in (0.0, 9.0, 10.0, 19.0):
        now[0] = time
        graph.invoke({"n": 3})
    assert calls == [3, 3]


_parts = st.sampled_from(["a", "b", "a/b", "%", "é"])
_names = st.tuples(st.lists(_parts, max_size=2).map(tuple), _parts)
CACHE_OPERATIONS = st.one_of(
    st.tuples(st.just("set"), st.dictionaries(_names, st.tuples(st.integers(0, 9), st.none()))),
    st.tuples(st.just("get"), st.lists(_names)),
    st.tuples(
        st.just("clear"), st.none() | st.lists(st.lists(_parts, max_size=2).map(tuple), max_size=2)
    ),
)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_generated_operations_do_what_they_do_in_memory(mode: str) -> None:
    @given(st.lists(CACHE_OPERATIONS, max_size=12))
    # Namespaces that differ only in where their parts end.
    @example([("set", {(("a", "b"), "a"): (1, None)}), ("get", [(("a/b",), "a")])])
    def compare(operations: list[tuple[str, Any]]) -> None:
        ours, theirs = SwarmStateCache[int](), InMemoryCache[int]()
        for name, argument in operations:
            expected = getattr(theirs, name)(argument)
            if mode == "sync":
                assert getattr(ours, name)(argument) == expected
            else:
                assert asyncio.run(getattr(ours, f"a{name}")(argument)) == expected

    compare()


def test_each_call_is_one_round_trip() -> None:
    counting = CountingStore(swarmstate.Store())
    cache = SwarmStateCache[int](counting)
    keys = [(("ns",), str(n)) for n in range(5)]
    cache.set(dict.fromkeys(keys, (1, 60)))
    assert len(cache.get(keys)) == 5
    assert cache.get([]) == {}
    assert counting.trips == ["write", "read"]


def test_times_to_live_that_are_over_store_nothing() -> None:
    cache = SwarmStateCache[int]()
    cache.set({(("ns",), "k"): (1, None)})
    cache.set({(("ns",), "k"): (2, 0)})
    assert cache.get([(("ns",), "k")]) == {}
    assert cache.store.namespaces() == []


def test_a_later_value_has_its_own_time_to_live() -> None:
    now = [0.0]
    cache = SwarmStateCache[int](swarmstate.Store(clock=lambda: now[0]))
    lasting, brief = (("ns",), "lasting"), (("ns",), "brief")
    cache.set({lasting: (1, 10), brief: (1, None)})
    cache.set({lasting: (2, None), brief: (2, 10)})
    now[0] = 10.0
    assert cache.get([lasting, brief]) == {lasting: 2}


def test_the_labels_of_a_namespace_are_no_namespaces() -> None:
    cache = SwarmStateCache[int]()
    keys = [(("a",), "k"), (("b",), "k"), (("a", "b"), "k")]
    cache.set(dict.fromkeys(keys, (1, None)))
    labels: Any
    for labels in (("a", "b"), "ab", [("a",), "b"]):
        with pytest.raises(TypeError, match=r"each namespace to be a tuple .* found '[ab]'"):
            cache.clear(labels)
    wrong: Any
    for wrong in ("ab", ("a", 1)):
        with pytest.raises(TypeError, match=f"a tuple of strings.* found {re.escape(repr(wrong))}"):
            cache.get([(wrong, "k")])
    key: Any = 5
    with pytest.raises(TypeError, match="each key to be a string, found 5"):
        cache.set({(("a",), key): (1, None)})
    assert set(cache.get(keys)) == set(keys)


def test_a_value_that_cannot_be_stored_is_an_error() -> None:
    cache = SwarmStateCache[Any]()
    with pytest.raises(EncodeError, match="cache entry"):
        cache.set({(("ns",), "good"): (1, None), (("ns",), "bad"): (lambda: None, None)})
    assert cache.store.namespaces() == []


def test_an_entry_that_cannot_be_read_is_missing(caplog: pytest.LogCaptureFixture) -> None:
    cache = SwarmStateCache[int]()
    key = (("ns",), "k")
    for damaged in (b"", b"\x91", pickle.dumps(1), swarmstate.dumps([["msgpack", b"\xc1"], 0])):
        cache.set({key: (1, None)})
        [name] = cache.store.namespaces()
        cache.store.write([swarmstate.Batch(name, put={"value": damaged})])
        caplog.clear()
        assert cache.get([key]) == {}
        assert "cannot be read" in caplog.text
    cache.set({key: (2, None)})
    assert cache.get([key]) == {key: 2}


def model_of(answers: list[str]) -> GenericFakeChatModel:
    return GenericFakeChatModel(
        messages=iter(AIMessage(text, response_metadata={"n": {"x": 1}}) for text in answers)
    )


@pytest.fixture
def use_cache() -> Iterator[Callable[[Any], None]]:
    before = get_llm_cache()
    yield set_llm_cache
    set_llm_cache(before)


def test_a_chat_model_is_asked_once(tmp_path: Path, use_cache: Callable[[Any], None]) -> None:
    with SwarmStateLLMCache(tmp_path / "cache.db") as cache:
        use_cache(cache)
        model = model_of(["first", "second", "third"])
        first = model.invoke("hello")
        assert first.content == "first"
        again = model.invoke("hello")
        assert (again.content, again.response_metadata) == ("first", first.response_metadata)
        assert asyncio.run(model.ainvoke("hello")).content == "first"
        assert asyncio.run(model.ainvoke("other")).content == "second"
        assert model.invoke("other").content == "second"
    with SwarmStateLLMCache(tmp_path / "cache.db") as cache:
        use_cache(cache)
        model = model_of(["new", "newer"])
        assert model.invoke("hello").content == "first"
        cache.clear()
        assert model.invoke("hello").content == "new"
        asyncio.run(cache.aclear())
        assert model.invoke("hello").content == "newer"


def test_answers_expire_and_differ_by_prompt_and_model() -> None:
    now = [0.0]
    cache = SwarmStateLLMCache(swarmstate.Store(clock=lambda: now[0]), ttl=10)
    call = {"name": "tool", "args": {"x": 1}, "id": "1"}
    answers = [
        Generation(text="a", generation_info={"reason": "stop"}),
        GenerationChunk(text="a"),
        ChatGeneration(
            message=AIMessage("b", tool_calls=[call]), generation_info={"logprobs": [-0.5]}
        ),
        ChatGenerationChunk(message=AIMessageChunk(content="c")),
    ]
    cache.update("p", "m", answers)
    found = cache.lookup("p", "m")
    assert found == answers
    assert [type(each) for each in found] == [type(each) for each in answers]
    assert cache.lookup("pm", "") is None
    assert cache.lookup("p", "other") is None
    now[0] = 10.0
    assert cache.lookup("p", "m") is None
    with pytest.raises(ValueError, match="ttl"):
        SwarmStateLLMCache(ttl=0)


@pytest.mark.parametrize("wrong", ["60", timedelta(minutes=1), [60]], ids=["text", "time", "list"])
def test_seconds_that_are_no_number_are_named(wrong: Any) -> None:
    with SwarmStateCache[int]() as cache:
        good, bad = (("a",), "good"), (("a",), "bad")
        message = f"ttl to be a number of seconds, found {re.escape(repr(wrong))}"
        with pytest.raises(TypeError, match=message):
            cache.set({good: (1, None), bad: (2, wrong)})
        assert cache.get([good, bad]) == {}
        with pytest.raises(TypeError, match=message):
            graph_with(cache, [], ttl=wrong).invoke({"n": 2})


def test_answers_of_other_kinds_are_refused() -> None:
    """Such an answer would load as another class, even if its own class has the expected name."""

    class Scored(Generation):
        score: float = 0.0

    cache = SwarmStateLLMCache()
    namesake: type[Generation] = type("Generation", (Scored,), {})
    for kind in (Scored, namesake):
        with pytest.raises(EncodeError, match=rf"ChatGeneration.*found .*{kind.__qualname__}"):
            cache.update("p", "m", [Generation(text="a"), kind(text="b")])
    assert cache.store.namespaces() == []


def test_any_number_of_values_is_forgotten() -> None:
    cache = SwarmStateCache[int]()
    cache.set({(("ns",), str(n)): (n, None) for n in range(1_200)})
    cache.clear()
    assert cache.store.namespaces() == []


def test_caches_that_share_a_store_forget_nothing_of_each_other() -> None:
    store = swarmstate.Store()
    nodes, models = SwarmStateCache[Any](store), SwarmStateLLMCache(store)
    key, answer = (("ns",), "k"), [Generation(text="a")]
    nodes.set({key: (1, None)})
    models.update("p", "m", answer)
    nodes.clear()
    assert models.lookup("p", "m") == answer
    nodes.set({key: (1, None)})
    models.clear()
    assert nodes.get([key]) == {key: 1}


class Reversed(SwarmStateSerializer):
    """Writes values that others cannot read."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        type_, data = super().dumps_typed(obj)
        return type_, data[::-1]

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        return super().loads_typed((data[0], data[1][::-1]))


def test_a_serializer_that_was_given_is_the_one_that_is_used() -> None:
    store = swarmstate.Store()
    nodes = SwarmStateCache[Any](store, serde=Reversed())
    models = SwarmStateLLMCache(store, serde=Reversed())
    key, answer = (("ns",), "k"), [Generation(text="a")]
    nodes.set({key: ("value", None)})
    models.update("p", "m", answer)
    assert (nodes.get([key]), models.lookup("p", "m")) == ({key: "value"}, answer)
    assert SwarmStateCache[Any](store).get([key]) == {}
    assert SwarmStateLLMCache(store).lookup("p", "m") is None


class OwnMessage(AIMessage):
    """A message class from a package that may be uninstalled."""


def test_an_answer_whose_class_is_gone_is_missing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache = SwarmStateLLMCache(
        serde=SwarmStateSerializer(allowed_msgpack_modules=[(__name__, "OwnMessage")])
    )
    answer = [ChatGeneration(message=OwnMessage(content="hello"))]
    cache.update("p", "m", answer)
    assert cache.lookup("p", "m") == answer
    monkeypatch.delattr(f"{__name__}.OwnMessage")
    assert cache.lookup("p", "m") is None
    assert "cannot be read: expected a message, found dict" in caplog.text


def answer_in_a_process(path: Path, number: int, barrier: Any, connection: Any) -> None:
    barrier.wait()
    with SwarmStateLLMCache(path) as llm, SwarmStateCache[Any](path) as nodes:
        for n in range(30):
            llm.update(f"{number} {n}", "m", [Generation(text=f"{number} {n}")])
            nodes.set({(("ns", str(number)), str(n)): (n, 3600)})
    connection.send(number)
    connection.close()


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_graph_runs_without_its_cache(mode: str, caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []
    cache = SwarmStateCache[Any](Away(swarmstate.Store()))
    graph = graph_with(cache, calls)
    for _ in range(2):
        start: Any = {"n": 3}
        found = graph.invoke(start) if mode == "sync" else asyncio.run(graph.ainvoke(start))
        assert found["square"] == 9
    assert calls == [3, 3]
    assert "cannot be read now: the server is away" in caplog.text
    assert "cannot be written now: the server is away" in caplog.text
    with pytest.raises(EncodeError):
        cache.set({(("ns",), "bad"): (lambda: None, None)})
    with pytest.raises(StoreUnavailableError):
        cache.clear()


def test_a_chat_model_answers_without_its_cache(
    use_cache: Callable[[Any], None], caplog: pytest.LogCaptureFixture
) -> None:
    use_cache(SwarmStateLLMCache(Away(swarmstate.Store())))
    model = model_of(["one", "two"])
    assert [model.invoke("hi").content, model.invoke("hi").content] == ["one", "two"]
    assert "cannot be written now: the server is away" in caplog.text


def test_processes_share_one_file(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    crash.compete(3, answer_in_a_process, path)
    with SwarmStateLLMCache(path) as llm, SwarmStateCache[Any](path) as nodes:
        for number in range(3):
            for n in range(30):
                assert llm.lookup(f"{number} {n}", "m") == [Generation(text=f"{number} {n}")]
            keys = [(("ns", str(number)), str(n)) for n in range(30)]
            assert nodes.get(keys) == {key: n for n, key in enumerate(keys)}
